"""How definitions are sent: the mildest way, short waits, no copy of a big table unasked."""

import threading
import time

import pytest

FILL = (
    "INSERT INTO t (v) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
    "WHERE i < 900) SELECT REPEAT('x', 100) FROM n"
)
SMALL_IS_BIG = {"DAL_MIGRATE_BIG_TABLE": "1000"}


@pytest.fixture
def table(rows):
    """A table with rows, which counts as big under SMALL_IS_BIG."""
    rows(
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200), "
        "n INT NOT NULL DEFAULT 0)"
    )
    rows(FILL)
    rows("ANALYZE TABLE t")


@pytest.fixture
def columns(rows):
    return lambda: {name: kind for name, kind, *_ in rows("SHOW COLUMNS FROM t")}


# ALGORITHM and LOCK -----------------------------------------------------------------------------


@pytest.mark.mysql("MariaDB's clauses mean other things")
class TestWays:
    def test_a_copy_of_a_big_table_is_refused_and_nothing_done(self, revisions, table, columns):
        revisions.chain("op.execute('ALTER TABLE t MODIFY n BIGINT NOT NULL')")

        said = revisions.fail(**SMALL_IS_BIG)

        assert "copying" in said
        assert "allow" in said
        assert columns()["n"] == "int"

    def test_it_is_done_where_the_revision_allows_it(self, revisions, table, columns):
        revisions.chain(
            """
            with allow("copy", reason="closed on Sundays"):
                op.execute("ALTER TABLE t MODIFY n BIGINT NOT NULL")
            """
        )

        revisions.upgrade(**SMALL_IS_BIG)

        assert columns()["n"] == "bigint"

    def test_a_small_table_may_be_copied(self, revisions, table, columns):
        revisions.chain("op.execute('ALTER TABLE t MODIFY n BIGINT NOT NULL /* why */ -- end')")

        revisions.upgrade()

        assert columns()["n"] == "bigint"

    @pytest.mark.parametrize(
        "change",
        [
            "op.add_column('t', sa.Column('a', sa.Integer))",
            "op.create_index('ix', 't', ['n'])",
            "op.create_index('ix', 't', ['n'])\nop.drop_index('ix', 't')",
            "op.execute('ALTER TABLE `t` -- a comment\\n RENAME COLUMN n TO m')",
            "op.execute('ALTER TABLE t MODIFY n INT NULL')",
            "op.execute('CREATE INDEX ix ON t (n); -- at the end')",
            "op.execute('/* first */ ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT ENFORCED')",
        ],
    )
    def test_what_blocks_nobody_is_done_on_a_big_table(self, revisions, table, change):
        revisions.chain(change)

        revisions.upgrade(**SMALL_IS_BIG)

    def test_what_blocks_writes_may_be_allowed_without_a_copy(self, revisions, table, rows):
        body = "op.execute('CREATE FULLTEXT INDEX f ON t (v)')"
        revisions.chain(body)
        revisions.fail(**SMALL_IS_BIG)

        revisions.chain(f"with allow('shared', reason='at night'):\n    {body}")
        revisions.upgrade(**SMALL_IS_BIG)

        assert rows("SHOW INDEX FROM t WHERE Key_name = 'f'")

    def test_partitions_are_made_and_removed(self, revisions, table, rows):
        revisions.chain(
            "op.execute('ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 2')",
            "op.execute('ALTER TABLE t ADD PARTITION PARTITIONS 1')",
            "op.execute('ALTER TABLE t REMOVE PARTITIONING')",
        )

        revisions.upgrade()

    def test_a_revision_may_say_its_own_way(self, revisions, table, columns):
        revisions.chain("op.execute('ALTER TABLE t MODIFY n BIGINT NOT NULL, ALGORITHM=COPY')")

        revisions.upgrade(**SMALL_IS_BIG)

        assert columns()["n"] == "bigint"

    def test_changes_are_joined_into_one(self, revisions, table, rows):
        revisions.chain(
            """
            with one_alter("t"):
                op.add_column("t", sa.Column("a", sa.Integer, comment="100%"))
                op.alter_column("t", "n", type_=sa.BigInteger(), existing_type=sa.Integer())
                op.create_index("ix", "t", ["a"])
            """
        )
        rows("SET GLOBAL log_output = 'TABLE'")
        before = rows("SHOW GLOBAL STATUS LIKE 'Com_alter_table'")[0][1]
        revisions.upgrade()
        after = rows("SHOW GLOBAL STATUS LIKE 'Com_alter_table'")[0][1]

        ((_, definition),) = rows("SHOW CREATE TABLE t")
        assert "`a` int DEFAULT NULL COMMENT '100%'" in definition
        assert "`n` bigint" in definition
        assert "KEY `ix` (`a`)" in definition
        # INSTANT and INPLACE were refused, and the third went through.
        assert int(after) - int(before) == 3

    def test_what_is_not_that_table_is_not_joined(self, revisions, table, columns):
        revisions.chain(
            """
            with one_alter("t"):
                op.add_column("t", sa.Column("a", sa.Integer))
                op.execute("UPDATE t SET n = 1")
            """
        )

        assert "one_alter" in revisions.fail()
        assert "a" not in columns()


# IF EXISTS --------------------------------------------------------------------------------------


def test_if_exists_and_if_not_exists_are_answered(revisions, rows, columns):
    twice = """
    op.create_table("p", sa.Column("id", sa.Integer, primary_key=True), if_not_exists=True)
    op.add_column("t", sa.Column("a", sa.Integer), if_not_exists=True)
    op.create_index("ix", "t", ["a"], if_not_exists=True)
    op.drop_column("t", "gone", if_exists=True)
    op.drop_index("ix_gone", "t", if_exists=True)
    """
    revisions.chain("op.create_table('t', sa.Column('gone', sa.Integer))", twice, twice)

    revisions.upgrade()

    assert list(columns()) == ["a"]
    assert len(rows("SHOW INDEX FROM t")) == 1


# Waiting ----------------------------------------------------------------------------------------


@pytest.fixture
def reader(server, database):
    """A transaction that has read the table `t` and goes on."""
    with server.connect(database, autocommit=False) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM t")
        yield connection


def test_writes_wait_a_second_at_most_behind_an_alter_that_waits(
    revisions, table, reader, server, database
):
    revisions.chain("op.add_column('t', sa.Column('a', sa.Integer))")
    end_of_reading = threading.Timer(5, reader.commit)
    longest = 0.0
    with server.connect(database) as writer, writer.cursor() as cursor:
        deployer = revisions.start("upgrade", "head")
        end_of_reading.start()
        while deployer.poll() is None:
            began = time.monotonic()
            cursor.execute("UPDATE t SET n = n + 1 WHERE id = 1")
            longest = max(longest, time.monotonic() - began)
            time.sleep(0.05)
    output = deployer.communicate()[0]
    end_of_reading.join()

    assert deployer.returncode == 0, output
    assert 0.2 < longest < 3, "lock_wait is 1 s, on a machine that may be busy"


def test_who_holds_the_table_is_named(revisions, table, reader, columns):
    revisions.chain("op.add_column('t', sa.Column('a', sa.Integer))")

    said = revisions.fail(DAL_MIGRATE_PATIENCE="2")

    assert f"session {reader.thread_id()} (root" in said, said
    reader.commit()
    revisions.upgrade()
    assert "a" in columns()
