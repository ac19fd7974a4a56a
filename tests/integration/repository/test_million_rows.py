"""What a million rows cost: a page far away, and a stream of all of them."""

import contextlib
import secrets
import subprocess
import sys
import textwrap

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from dal import Database, Repository
from dal.repository.reading.cursor import Cursor
from dal.repository.reading.keyset import Keyset


class Base(orm.DeclarativeBase):
    """Of its own, so that no other test has these tables."""


class Line(Base):
    __tablename__ = "line"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    place: orm.Mapped[int]
    note: orm.Mapped[str] = orm.mapped_column(sa.String(20))


class Lines(Repository[Line]):
    pass


@pytest.fixture(scope="module")
def environment(server):
    """A database with a million lines, ten on each place."""
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    with contextlib.closing(server.connect(name)) as admin, admin.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE line (id INT PRIMARY KEY, place INT NOT NULL, note VARCHAR(20) NOT NULL)"
        )
        cursor.execute(
            "INSERT INTO line WITH RECURSIVE n (n) AS "
            "(SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999) "
            "SELECT x.n * 1000 + y.n, (x.n * 1000 + y.n) MOD 100000, 'x' "
            "FROM n x STRAIGHT_JOIN n y"
        )
        cursor.execute("CREATE INDEX by_place ON line (place)")
        cursor.execute("ANALYZE TABLE line")
    yield server.environment(name)
    server.drop_database(name)


def rows_read(session, call):
    """Return what `call` gives and how many rows the server touched for it, by its own count."""

    def counted():
        counters = session.execute(sa.text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
        return sum(int(value) for _, value in counters)

    idle = counted()
    before = counted()
    result = call()
    return result, counted() - before - (before - idle)


@pytest.mark.parametrize(
    ("order_by", "position"),
    [
        ([Line.place], [99_989, 999_989]),
        ([Line.place.desc()], [10, 10]),
        ([], [999_899]),
        ([Line.id.desc()], [100]),
    ],
    ids=["column", "column descending", "key", "key descending"],
)
def test_page_10_000_reads_as_many_rows_as_page_1(environment, order_by, position):
    """A page of 100 reads 101, and up to three more to find its ranges."""
    db = Database.from_env(environment)
    lines = Lines(db)
    keyset = Keyset(Line, order_by)
    far, middle = Cursor(position).token(keyset), [50_000, 5][: len(keyset.terms)]
    with db.scope(read_only=True) as session:
        lines.page(order_by=order_by, limit=100)  # the server reads its statistics, once
        first, cost = rows_read(session, lambda: lines.page(order_by=order_by, limit=100))
        assert len(first.items) == 100
        assert 100 <= cost <= 102
        for token in (far, Cursor(middle).token(keyset)):
            for side in ("after", "before"):
                page, found = rows_read(
                    session,
                    lambda side=side, token=token: lines.page(
                        order_by=order_by, limit=100, **{side: token}
                    ),
                )
                assert found <= cost + 3, side
                assert len(page.items) == 100


STREAM = """
    import sys
    import sqlalchemy as sa
    from sqlalchemy import orm
    from dal import Database, Repository

    class Base(orm.DeclarativeBase):
        pass

    class Line(Base):
        __tablename__ = "line"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        place: orm.Mapped[int]
        note: orm.Mapped[str] = orm.mapped_column(sa.String(20))

    class Lines(Repository[Line]):
        pass

    db = Database.from_env()
    with db.scope(read_only=True):
        seen = sum(1 for line in Lines(db).stream(Line.id < int(sys.argv[1])))
    # Not getrusage(): that begins with the peak of the process that started this one.
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(seen, peak)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_stream_of_a_million_rows_needs_hardly_more_memory_than_one_of_a_thousand(environment):
    def peak(rows):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(STREAM), str(rows)],
            env={**environment, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        )
        seen, kilobytes = map(int, done.stdout.split())
        assert seen == rows
        return kilobytes / 1024

    small, large = peak(1_000), peak(1_000_000)
    assert large - small < 30
