"""`create_engine`: SQLAlchemy's engine on the lean connection."""

from __future__ import annotations

import weakref
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool

from dal.settings import Settings, settings_of
from dal.wire.connecting import connect
from dal.wire.network.tls import context_for

registry.register("mysql.dal", "dal.engine.dialect", "Dialect")


def create_engine(url: str | URL | Settings, **settings: Any) -> Engine:
    """Return a SQLAlchemy engine on NullPool and READ COMMITTED; opens nothing.

    With `pool="warm"` it keeps one session of a scope for the next; `dispose()` closes that.

    A connection costs two round trips after TCP, greeting and TLS: the login and one SET. Errors
    that have a name arrive as `dal.errors`, the others as SQLAlchemy's. Statement parameters are
    hidden in errors and logs.

    Args:
        url: The address as a URL, or ready `Settings`.
        settings: Any other field of `Settings`, such as `statement_timeout=2.5` (seconds).

    Raises:
        ConfigurationError: a setting is wrong.
    """
    checked = settings_of(url, **settings)
    context_for(checked)  # a wrong tls_ca fails here, and a cold start builds its context in init
    keeper = None
    if checked.pool == "warm":
        from dal.wire.kept import Keeper  # noqa: PLC0415  # for those who ask

        keeper = Keeper(checked)
    engine = sqlalchemy.create_engine(
        checked.url(),
        poolclass=NullPool,
        creator=keeper.connect if keeper else lambda: connect(checked),
        pool_reset_on_return=None,  # NullPool closes instead: nothing is left to roll back
        json_serializer=checked.json_serializer,
        json_deserializer=checked.json_deserializer,
    )
    engine.dialect.page_token_key = checked.page_token_key  # type: ignore[attr-defined]
    if checked.slow_statement is not None:
        from dal.engine.slow import tell_of_slow_statements  # noqa: PLC0415  # for those who ask

        tell_of_slow_statements(engine, checked.slow_statement)
    if keeper:
        event.listen(engine, "engine_disposed", lambda _: keeper.close())
        weakref.finalize(engine, keeper.close)  # with the engine, or with the process
    return engine
