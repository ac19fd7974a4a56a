"""The tables come into the user's metadata, where Alembic sees them."""

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dal import tables
from dal.engine import Settings, create_engine

NAMES = {"dal_idempotency", "dal_outbox", "dal_outbox_shard"}


def differences(environment, metadata):
    """What autogenerate finds of these tables; the test's database has others, too."""
    engine = create_engine(Settings.from_env(environment).for_migrations())
    with engine.connect() as connection:

        def is_ours(name, kind, _):
            return kind != "table" or name in NAMES

        opts = {"compare_type": True, "include_name": is_ours}
        context = MigrationContext.configure(connection, opts=opts)
        return compare_metadata(context, metadata)


def test_autogenerate_adds_them(environment, database):
    metadata = sa.MetaData()
    tables(metadata)
    assert set(metadata.tables) == NAMES
    added = {each[1].name for each in differences(environment, metadata) if each[0] == "add_table"}
    assert added == NAMES


def test_autogenerate_finds_no_difference_once_they_are_there(db, environment):
    metadata = sa.MetaData()
    tables(metadata)
    assert differences(environment, metadata) == []


def test_another_prefix_gives_other_names():
    metadata = sa.MetaData()
    tables(metadata, prefix="my_")
    assert set(metadata.tables) == {"my_idempotency", "my_outbox", "my_outbox_shard"}
