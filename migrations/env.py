"""What Alembic runs for each of its commands: the revisions, over dal's profile for migrations."""

import logging

from alembic import context
from alembic.util import CommandError

from dal import Base, ConfigurationError, ConnectError
from dal.engine import Settings, create_engine

# Imported for what it does: the models describe themselves in Base.metadata.
from examples.users import models  # noqa: F401


def run_offline() -> None:
    """Write the SQL to stdout: no server is asked, and no address is needed."""
    context.configure(dialect_name="mysql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run against the server that the environment names."""
    # No limit on statements: a client that gives up leaves its ALTER running, and not recorded.
    engine = create_engine(Settings.from_env().for_migrations())
    # connect(), not begin(): MySQL commits at each DDL, so a transaction around all revisions would
    # undo nothing but the record of those that are done. Alembic has one for each revision, unless
    # a statement has begun one before configure().
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=Base.metadata, compare_server_default=True
        )
        with context.begin_transaction():
            context.run_migrations()


# Which revision runs, and nothing of SQLAlchemy, which would show data.
logging.basicConfig(format="%(levelname)-5s [%(name)s] %(message)s")
logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)

if context.is_offline_mode():
    run_offline()
else:
    try:
        run_online()
    except (ConfigurationError, ConnectError) as error:
        raise CommandError(str(error)) from error  # nothing began: a line says more than a trace
