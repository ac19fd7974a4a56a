"""Revisions that die at any command on the wire, and go on: all is as if nothing had happened.

`make prove-migrations` takes every command, here are a few of each chain; the seed is printed.
"""

import os
import random

import pytest

EVERY = os.environ.get("DAL_TEST_MIGRATIONS") == "all"
SEED = int(os.environ.get("DAL_TEST_SEED", random.randrange(10**6)))
HOWS = ("kill before", "kill after", "error", "lost")

TABLE = "op.execute('CREATE TABLE {0} (id INT PRIMARY KEY, v VARCHAR(20), w INT DEFAULT 0)')\n"
ROWS = "op.execute(\"INSERT INTO {0} (id, v) VALUES (1, 'a'), (2, 'b'), (3, 'c')\")\n"

CHAINS = {
    "definitions": [
        TABLE.format("t"),
        """
        with op.batch_alter_table("t") as t:
            t.add_column(sa.Column("a", sa.Integer))
            t.create_index("ix_a", ["a"])
        op.create_table("u", sa.Column("t_id", sa.Integer, sa.ForeignKey("t.id")))
        op.execute("CREATE VIEW seen AS SELECT id, v FROM t")
        op.execute("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.w = 7")
        op.execute("CREATE PROCEDURE p() SELECT 1")
        op.rename_table("u", "uu")
        op.execute("ALTER TABLE t ADD g INT GENERATED ALWAYS AS (w + 1)")
        op.drop_column("t", "a")
        """,
    ],
    "rows": [
        TABLE.format("t"),
        """
        t = sa.table("t", sa.column("id", sa.Integer), sa.column("v", sa.String))
        op.bulk_insert(t, [{"id": n, "v": str(n)} for n in range(1, 6)])
        op.execute("UPDATE t SET w = w + 1")
        op.execute(t.delete().where(t.c.id == 3))
        op.get_bind().execute(sa.text("INSERT INTO t (id, v) VALUES (:n, '100%')"), {"n": 9})
        op.execute("UPDATE t SET w = w + 1")
        """,
    ],
    "both": [
        TABLE.format("t"),
        ROWS.format("t")
        + """
op.execute("UPDATE t SET w = w + 1")
op.execute("ALTER TABLE t ADD n INT NOT NULL DEFAULT 5")
op.execute("UPDATE t SET n = n + w")
op.execute("INSERT INTO t (id, v) SELECT id + 10, v FROM t")
op.execute("ALTER TABLE t MODIFY v VARCHAR(30)")
op.execute("UPDATE t SET w = w + 1")
""",
    ],
    "decided by what is there": [
        TABLE.format("t") + ROWS.format("t"),
        """
        bind = op.get_bind()
        if "upper" not in [column["name"] for column in sa.inspect(bind).get_columns("t")]:
            op.add_column("t", sa.Column("upper", sa.String(20)))
        for number, v in bind.execute(sa.text("SELECT id, v FROM t WHERE `upper` IS NULL")).all():
            bind.execute(sa.text("UPDATE t SET `upper` = :u, w = w + 1 WHERE id = :n"),
                         {"u": v.upper(), "n": number})
        op.execute("ALTER TABLE t MODIFY `upper` VARCHAR(20) NOT NULL")
        try:
            op.execute("ALTER TABLE t ADD upper INT")
        except sa.exc.DatabaseError:
            op.execute("UPDATE t SET w = w + 10")
        try:
            with bind.begin_nested():
                op.execute("INSERT INTO t (id) VALUES (1)")
        except Exception:
            op.execute("UPDATE t SET w = w + 100")
        op.execute("ALTER TABLE t DROP v")
        """,
    ],
    "sessions": [
        TABLE.format("t"),
        """
        from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
        class Base(DeclarativeBase):
            pass
        class T(Base):
            __tablename__ = "t"
            id: Mapped[int] = mapped_column(primary_key=True)
            v: Mapped[str]
            w: Mapped[int]
        T.__annotations__ = {}
        with Session(op.get_bind()) as session:
            session.add_all([T(id=n, v=str(n), w=n) for n in range(1, 4)])
            session.commit()
        op.add_column("t", sa.Column("x", sa.Integer))
        with Session(op.get_bind()) as session:
            for found in session.scalars(sa.select(T).order_by(T.id)):
                found.w += 5
            session.commit()
        op.get_bind().commit()
        """,
    ],
    "on its own": [
        TABLE.format("t") + ROWS.format("t"),
        """
        with op.get_context().autocommit_block():
            op.execute("UPDATE t SET w = w + 1")
            op.execute("ALTER TABLE t ADD a INT")
            op.execute("UPDATE t SET w = w + 1")
        op.execute("CREATE PROCEDURE more() UPDATE t SET w = w + 100")
        op.execute("CALL more()")
        op.execute("SET @s = 'ALTER TABLE t ADD b INT'")
        op.execute("PREPARE s FROM @s")
        op.execute("EXECUTE s")
        op.execute("DROP PROCEDURE more")
        """,
    ],
}


@pytest.fixture
def scratch(server, database):
    """A database for one run, anew each time; and what is in it."""

    class Scratch:
        name = f"{database}_r"
        environment = server.environment(name)

        def __enter__(self):
            server.create_database(self.name)
            return self

        def __exit__(self, *_):
            server.drop_database(self.name)

        def dump(self):
            with server.connect(self.name) as connection, connection.cursor() as cursor:
                return dump(cursor)

    return Scratch()


def dump(cursor):
    """Definitions and rows, as two runs may be compared."""

    def ask(sql):
        cursor.execute(sql)
        return list(cursor.fetchall())

    found = {}
    for name, _ in ask("SHOW FULL TABLES"):
        definition = ask(f"SHOW CREATE TABLE `{name}`")[0][1]
        found[name] = definition, sorted(map(repr, ask(f"SELECT * FROM `{name}`")))
    found["triggers"] = [row[:4] for row in ask("SHOW TRIGGERS")]
    found["routines"] = ask(
        "SELECT routine_name, routine_definition FROM information_schema.routines "
        "WHERE routine_schema = DATABASE() ORDER BY 1"
    )
    return found


def deaths(count):
    """Which commands on the wire to die at, and how."""
    # The first is the SET of the login, without which nothing is known of the session.
    every = [(number, how) for number in range(2, count + 1) for how in HOWS]
    return every if EVERY else random.Random(SEED).sample(every, 6)


def replay(run, scratch, prepare=(), **job):
    with scratch as undisturbed:
        for each in prepare:
            assert run(scratch.environment, **each)["code"] == 0
        ended = run(scratch.environment, **job)
        assert ended["code"] == 0, ended
        expected = undisturbed.dump()
    for number, how in deaths(ended["count"]):
        at = f"{how} at {number} of {ended['count']}, DAL_TEST_SEED={SEED}"
        with scratch as disturbed:
            for each in prepare:
                assert run(scratch.environment, **each)["code"] == 0
            died = run(scratch.environment, number=number, how=how, **job)
            # At the very end there may be nothing left to fail: the session is only closed.
            assert died["code"] in ({-9} if how.startswith("kill") else {0, 1}), (at, died)
            again = run(scratch.environment, **job)
            assert again["code"] == 0, (at, died, again)
            assert disturbed.dump() == expected, (at, died)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_that_dies_anywhere_ends_as_if_it_had_not(revisions, scratch, name):
    revisions.chain(*CHAINS[name])

    replay(revisions.die, scratch)


def test_branches_and_merges_that_die_anywhere(revisions, scratch):
    revisions.write("root", TABLE.format("t") + ROWS.format("t"))
    revisions.write(
        "left", TABLE.format("l") + "op.execute('UPDATE t SET w = w + 1')", after="root"
    )
    revisions.write("right", "op.execute('UPDATE t SET w = w * 3 + 1')", after="root")
    revisions.write("merge", "op.execute('ALTER TABLE t DROP v')", after=("left", "right"))

    replay(revisions.die, scratch)


def test_a_downgrade_that_dies_anywhere(revisions, scratch):
    revisions.write("r1", TABLE.format("t") + ROWS.format("t"), "op.execute('DROP TABLE t')")
    revisions.write(
        "r2",
        "op.execute('ALTER TABLE t ADD a INT')",
        "op.execute('UPDATE t SET w = w + 1')\nop.execute('ALTER TABLE t DROP a')\n"
        "op.execute('UPDATE t SET w = w + 1')",
        after="r1",
    )

    replay(revisions.die, scratch, prepare=[{}], command="downgrade", target="r1")
