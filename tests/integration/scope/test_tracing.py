"""OpenTelemetry's own instrumentation of SQLAlchemy, on this engine and dialect."""

import json

import pytest
from accounts import Account
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from sqlalchemy import select

from dal import Database, DuplicateKey

SECRET = "Pa55w0rd"


@pytest.fixture
def reporting(db, environment):
    return Database.from_env(environment, report="log")


@pytest.fixture
def spans(reporting):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = SQLAlchemyInstrumentor()
    instrumentor.instrument(engine=reporting.engine, tracer_provider=provider, skip_dep_check=True)
    yield exporter.get_finished_spans
    instrumentor.uninstrument()


def test_there_is_a_span_for_the_connection_and_for_each_statement(
    reporting, database, spans, admin
):
    with reporting.scope() as session:
        session.add(Account(owner=SECRET, balance=5))
        session.flush()
        session.scalars(select(Account).where(Account.owner == SECRET)).one()

    assert [span.name for span in spans()] == [
        "connect",
        f"INSERT {database}",
        f"SELECT {database}",
    ]
    assert {span.attributes["db.system"] for span in spans()} == {"mysql"}
    assert {span.status.status_code for span in spans()} == {StatusCode.UNSET}
    with admin.cursor() as cursor:
        cursor.execute("SELECT owner, balance FROM account")
        assert cursor.fetchall() == ((SECRET, 5),)


def test_no_span_holds_a_parameter(reporting, spans):
    with reporting.scope() as session:
        session.add(Account(owner=SECRET, balance=5))
    with pytest.raises(DuplicateKey), reporting.scope() as session:
        session.add(Account(owner=SECRET, balance=5))

    told = json.dumps([dict(span.attributes) for span in spans()])
    assert SECRET not in told
    assert "INSERT INTO account" in told


def test_a_statement_that_fails_has_a_span_that_failed(reporting, spans):
    with reporting.scope() as session:
        session.add(Account(owner="a", balance=5))
    with pytest.raises(DuplicateKey), reporting.scope() as session:
        session.add(Account(owner="a", balance=5))

    assert spans()[-1].status.status_code is StatusCode.ERROR


def test_it_adds_no_round_trip(reporting, spans, caplog):
    for _ in range(2):  # SQLAlchemy asks a new engine's first connection most
        with reporting.scope(read_only=True) as session:
            session.scalars(select(Account)).all()

    assert [record.msg["round_trips"] for record in caplog.records] == [3, 3]
    assert len(spans()) == 4
