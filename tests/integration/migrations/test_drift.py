"""`alembic check` and autogenerate: what the server calls a difference, all of it and no more."""

import pytest
import sqlalchemy as sa
from services import Service, dump, execute
from sqlalchemy.dialects import mysql

from dal.engine import Settings, create_engine
from dal.migrate.drift import OwnTables, compare, without_answered_warnings
from dal.migrate.rendering import render_item


def table(*parts, name="things", **options):
    """Return models of one table, and of a parent for its foreign keys."""
    metadata = sa.MetaData()
    sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("n", sa.Integer),
        sa.Column("s", sa.String(50)),
        *parts,
        **options,
    )
    return metadata


@pytest.fixture
def service(tmp_path, environment):
    return Service(
        tmp_path,
        environment,
        around=without_answered_warnings,
        render_item=render_item,
        process_revision_directives=compare,
        compare_server_default=True,
    )


@pytest.fixture
def plain(tmp_path, environment):
    """The same with Alembic alone."""
    return Service(
        tmp_path / "plain",
        environment,
        around=without_answered_warnings,
        compare_server_default=True,
    )


def lines(admin):
    """Return each table's definition as a set of lines: the order is none of the models' matter."""
    return {
        name: sorted(line.strip().rstrip(",") for line in text.split("\n"))
        for name, text in dump(admin).items()
    }


def column(*arguments, **options):
    return lambda: [sa.Column("a", *arguments, **options)]


def index(*expressions, name="ix_it", **options):
    return lambda: [sa.Index(name, *expressions, **options)]


ONLY_ON_MYSQL = {
    "a functional index", "a functional index by text", "an index's function",
    "a functional index that goes", "a column with its check",
}  # fmt: skip


def tables(kinds, numbers):
    """Return models with a table for each kind, called t and its number."""
    metadata = sa.MetaData()
    sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True))
    for kind, parts in kinds.items():
        made = sa.Table(
            f"t{numbers[kind]}",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("n", sa.Integer),
            sa.Column("s", sa.String(50)),
            *parts(),
        )
        for one in [*made.constraints, *(c for column in made.c for c in column.constraints)]:
            is_named = isinstance(one, sa.CheckConstraint | sa.ForeignKeyConstraint) and one.name
            if is_named and not one._type_bound:
                one.name = f"{one.name}_{made.name}"  # in MySQL these are the database's
    return metadata


@pytest.fixture
def by_kind(service, server):
    """Numbers for the kinds that this server knows, and what `check` finds, by kind."""

    class ByKind:
        def __init__(self, kinds):
            known = [kind for kind in kinds if not (server.is_mariadb and kind in ONLY_ON_MYSQL)]
            self.numbers = {kind: number for number, kind in enumerate(known)}

        def tables(self, kinds):
            return tables({kind: kinds[kind] for kind in self.numbers}, self.numbers)

        def differences(self, metadata):
            found = {}

            def note(context, revision, directives):
                compare(context, revision, directives)
                for op in directives[0].upgrade_ops.ops:
                    kind = {f"t{n}": kind for kind, n in self.numbers.items()}[op.table_name]
                    found.setdefault(kind, []).extend(map(str, op.as_diffs()))

            service.options["process_revision_directives"] = note
            service.differences(metadata)
            service.options["process_revision_directives"] = compare
            return found

    return ByKind


# What the models make is no difference from them ------------------------------------------------

FALSE_ALARMS = {
    "LargeBinary with a length": column(sa.LargeBinary(16)),
    "false": column(sa.Boolean, server_default=sa.false(), nullable=False),
    "true": column(sa.Boolean, server_default=sa.true(), nullable=False),
    "an empty default": column(sa.String(9), server_default="", nullable=False),
    "a descending index": index(sa.text("n DESC")),
    "a prefix index by text": index(sa.text("s(10)")),
    "a functional index": index(sa.func.lower(sa.literal_column("s"))),
}

NO_ALARMS = {
    **FALSE_ALARMS,
    "a descending index of columns": lambda: [
        sa.Column("a", sa.Integer),
        sa.Column("b", sa.Integer),
        sa.Index("ix_it", sa.desc("a"), "b"),
    ],
    "a prefix index": lambda: [sa.Index("ix_it", "s", mysql_length=10)],
    "a functional index by text": index(sa.text("(lower(s))")),
    "Boolean": column(sa.Boolean),
    "Boolean with a check": column(sa.Boolean(create_constraint=True, name="ck_a")),
    "TINYINT(1)": column(mysql.TINYINT(1)),
    "Enum": column(sa.Enum("a", "b"), server_default="b"),
    "Enum, not native": column(sa.Enum("a", "b", native_enum=False, create_constraint=True)),
    "Numeric with a default": column(sa.Numeric(10, 2), server_default="0"),
    "Numeric with a default and digits": column(sa.Numeric(10, 2), server_default=sa.text("1.50")),
    "Float with a default": column(sa.Float, server_default="1.5"),
    "a comment": column(sa.Integer, comment="it's 5%\nof it CHECK (n > 1)"),
    "a collation": column(mysql.VARCHAR(9, collation="utf8mb4_bin")),
    "a character set": column(mysql.VARCHAR(9, charset="ascii")),
    "the national type": column(mysql.NVARCHAR(9)),
    "ON UPDATE": column(
        mysql.DATETIME(fsp=6),
        server_default=sa.text("CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"),
    ),
    "now()": column(sa.TIMESTAMP, server_default=sa.func.now(), nullable=False),
    "a virtual column": column(sa.Integer, sa.Computed("n*2+1")),
    "a stored column": column(sa.String(60), sa.Computed("concat(s, '%')", persisted=True)),
    "JSON with a default": column(sa.JSON, server_default=sa.text("(json_object('a', 1))")),
    "an expression as default": column(sa.Integer, server_default=sa.text("(1 + 1)")),
    "a default of date": column(sa.Date, server_default="2020-01-01"),
    "a check": lambda: [sa.CheckConstraint("n > 0 AND s <> 'x%'", name="ck_n")],
    "a check without a name": lambda: [sa.CheckConstraint("n > 0"), sa.CheckConstraint("n < 9")],
    "a foreign key": lambda: [
        sa.Column("a", sa.ForeignKey("parents.id", ondelete="CASCADE", name="fk_a"))
    ],
    "a foreign key with an index": lambda: [
        sa.Column("a", sa.ForeignKey("parents.id"), index=True)
    ],
    "a foreign key inside another index": lambda: [
        sa.Column("a", sa.ForeignKey("parents.id")),
        sa.Index("ix_a_n", "a", "n"),
    ],
    "a unique constraint without a name": lambda: [sa.UniqueConstraint("n", "s")],
    "an index with the name of a column": index("n", name="n"),
    "a fulltext index": lambda: [sa.Index("ix_it", "s", mysql_prefix="FULLTEXT")],
    "YEAR and BIT": lambda: [sa.Column("a", mysql.YEAR), sa.Column("b", mysql.BIT(3))],
    "text of a size": column(sa.Text(300)),
    "unsigned": column(mysql.BIGINT(unsigned=True), server_default="0"),
    "Interval": column(sa.Interval),
    "Uuid": column(sa.Uuid),
    "double precision": column(sa.Double()),
    "a name that wants quotes": lambda: [
        sa.Column("the `key` of 100%", sa.Integer, index=True),
    ],
}  # fmt: skip


def test_what_the_models_make_is_no_difference_from_them(service, by_kind):
    checked = by_kind(NO_ALARMS)
    metadata = checked.tables(NO_ALARMS)
    with service.engine.begin() as connection:
        metadata.create_all(connection)

    assert checked.differences(metadata) == {}


@pytest.mark.mysql("MariaDB writes some of these otherwise")
def test_alembic_alone_cries_wolf_at_seven_of_them(plain, admin):
    alarms = set()
    for kind, parts in FALSE_ALARMS.items():
        metadata = table(*parts())
        with plain.engine.begin() as connection:
            metadata.create_all(connection)
        if plain.differences(metadata):
            alarms.add(kind)
        with plain.engine.begin() as connection:
            metadata.drop_all(connection)

    assert alarms == set(FALSE_ALARMS)


OPTIONS = {
    "latin1": {"mysql_charset": "latin1", "mariadb_charset": "latin1"},
    "a collation": {"mysql_collate": "utf8mb4_bin", "mariadb_collate": "utf8mb4_bin"},
    "an engine": {"mysql_engine": "InnoDB", "mysql_row_format": "DYNAMIC"},
    "a comment": {"comment": "100% of it's"},
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_options_that_the_models_make_are_no_difference(service, kind):
    metadata = table(**OPTIONS[kind])
    with service.engine.begin() as connection:
        metadata.create_all(connection)

    assert service.differences(metadata) == []


def test_a_character_set_that_the_models_leave_open_is_the_tables_own_matter(service, admin):
    metadata = table()
    with service.engine.begin() as connection:
        metadata.create_all(connection)
    execute(admin, "ALTER TABLE things CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")

    assert service.differences(metadata) == []


@pytest.mark.mysql("partitions have another form")
def test_a_partitioned_table_is_compared_by_alembic(service, admin):
    metadata = table(mysql_partition_by="HASH(id)", mysql_partitions="4")
    with service.engine.begin() as connection:
        metadata.create_all(connection)
    assert service.differences(metadata) == []

    execute(admin, "ALTER TABLE things DROP COLUMN n")

    assert [difference[0] for difference in service.differences(metadata)] == ["add_column"]


# What differs is found, and its revision makes what the models make -----------------------------

CHANGES = {
    "a type": (column(sa.Integer), column(sa.BigInteger)),
    "a length": (column(sa.String(20)), column(sa.String(30))),
    "fractional seconds": (column(mysql.DATETIME), column(mysql.DATETIME(fsp=6))),
    "fractional seconds and null": (
        column(mysql.DATETIME),
        column(mysql.DATETIME(fsp=6), nullable=False),
    ),
    "null": (column(sa.Integer), column(sa.Integer, nullable=False)),
    "null, beside all that MODIFY could lose": (
        column(mysql.VARCHAR(9, collation="utf8mb4_bin"), server_default="x", comment="c"),
        column(
            mysql.VARCHAR(9, collation="utf8mb4_bin"),
            server_default="x",
            comment="c",
            nullable=False,
        ),
    ),
    "null, beside ON UPDATE": (
        column(
            sa.DATETIME,
            server_default=sa.text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"),
        ),
        column(
            sa.DATETIME,
            server_default=sa.text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"),
            nullable=False,
        ),
    ),
    "a default": (column(sa.Integer, server_default="1"), column(sa.Integer, server_default="2")),
    "a new default": (column(sa.Integer), column(sa.Integer, server_default="2")),
    "a default that goes": (column(sa.Integer, server_default="1"), column(sa.Integer)),
    "a default that becomes empty": (column(sa.String(9)), column(sa.String(9), server_default="")),
    "a default from true to false": (
        column(sa.Boolean, server_default=sa.true()),
        column(sa.Boolean, server_default=sa.false()),
    ),
    "a default of JSON": (
        column(sa.JSON, server_default=sa.text("(json_array())")),
        column(sa.JSON, server_default=sa.text("(json_object())")),
    ),
    "ON UPDATE comes": (
        column(sa.DATETIME, server_default=sa.func.now()),
        column(
            sa.DATETIME,
            server_default=sa.text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"),
        ),
    ),
    "ON UPDATE goes": (
        column(
            sa.DATETIME,
            server_default=sa.text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"),
        ),
        column(sa.DATETIME, server_default=sa.func.now()),
    ),
    "ON UPDATE and the default go": (
        column(
            sa.DATETIME,
            server_default=sa.text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"),
        ),
        column(sa.DATETIME),
    ),
    "a comment": (column(sa.Integer, comment="a"), column(sa.Integer, comment="b: :c 5%")),
    "a comment that goes": (column(sa.Integer, comment="a"), column(sa.Integer)),
    "a collation": (
        column(mysql.VARCHAR(9, collation="utf8mb4_bin")),
        column(mysql.VARCHAR(9, collation="utf8mb4_unicode_ci")),
    ),
    "a collation that goes": (
        column(mysql.VARCHAR(9, collation="utf8mb4_bin")),
        column(sa.String(9)),
    ),
    "a character set": (column(sa.String(9)), column(mysql.VARCHAR(9, charset="ascii"))),
    "a member of an Enum": (column(sa.Enum("a", "b")), column(sa.Enum("a", "b", "c"))),
    "the order of an Enum": (column(sa.Enum("a", "b")), column(sa.Enum("b", "a"))),
    "unsigned": (column(sa.Integer), column(mysql.INTEGER(unsigned=True))),
    "a generated column's expression": (
        column(sa.Integer, sa.Computed("n + 1", persisted=True)),
        column(sa.Integer, sa.Computed("n + 2", persisted=True)),
    ),
    "a generated column that becomes stored": (
        column(sa.Integer, sa.Computed("n + 1", persisted=False)),
        column(sa.Integer, sa.Computed("n + 1", persisted=True)),
    ),
    "a generated column that was none": (
        column(sa.Integer),
        column(sa.Integer, sa.Computed("n + 2", persisted=True)),
    ),
    "a new check": (list, lambda: [sa.CheckConstraint("s <> ': \\:x%'", name="ck_n")]),
    "a new check without a name": (list, lambda: [sa.CheckConstraint("n > 0")]),
    "a check's expression": (
        lambda: [sa.CheckConstraint("n > 0", name="ck_n")],
        lambda: [sa.CheckConstraint("n > 1", name="ck_n")],
    ),
    "a check that goes": (lambda: [sa.CheckConstraint("s <> ': \\:x%'", name="ck_n")], list),
    "a column with its check": (
        list,
        column(sa.Integer, sa.CheckConstraint("a > 0", name="ck_a")),
    ),
    "a column with a checked type": (list, column(sa.Boolean(create_constraint=True, name="b"))),
    "a new index": (list, index("n")),
    "an index's direction": (index("n"), index(sa.text("n DESC"))),
    "an index's length": (index(sa.text("s(10)")), index(sa.text("s(20)"))),
    "an index's function": (index(sa.text("(lower(s))")), index(sa.text("(upper(s))"))),
    "an index that becomes unique": (index("n"), index("n", unique=True)),
    "an index that goes": (index("n"), list),
    "a functional index that goes": (index(sa.text("(concat(s, ' \\:x%'))")), list),
    "a descending index that goes": (index(sa.text("n DESC")), list),
    "an index with the name of a column that goes": (index("n", name="n"), list),
    "a fulltext index": (list, lambda: [sa.Index("ix_it", "s", mysql_prefix="FULLTEXT")]),
    "a unique constraint": (list, lambda: [sa.UniqueConstraint("n", name="uq_n")]),
    "a unique constraint without a name": (list, lambda: [sa.UniqueConstraint("n")]),
    "a unique constraint's columns": (
        lambda: [sa.UniqueConstraint("n", name="uq_n")],
        lambda: [sa.UniqueConstraint("n", "s", name="uq_n")],
    ),
    "a foreign key": (
        column(sa.Integer),
        lambda: [sa.Column("a", sa.ForeignKey("parents.id", name="fk_a"))],
    ),
    "a foreign key with its index": (
        column(sa.Integer),
        lambda: [
            sa.Column("a", sa.ForeignKey("parents.id", name="fk_a")), sa.Index("ix_a", "a"),
        ],
    ),
    "a foreign key that goes with its index": (
        lambda: [
            sa.Column("a", sa.ForeignKey("parents.id", name="fk_a")), sa.Index("ix_a", "a"),
        ],
        column(sa.Integer),
    ),
    "a foreign key that goes with the index that InnoDB made": (
        lambda: [sa.Column("a", sa.ForeignKey("parents.id", name="fk_a"))],
        column(sa.Integer),
    ),
    "a foreign key that goes with its column": (
        lambda: [sa.Column("a", sa.ForeignKey("parents.id", name="fk_a"), index=True)],
        list,
    ),
}  # fmt: skip


def test_the_revision_of_each_change_makes_what_the_models_make(service, admin, by_kind):
    checked = by_kind(CHANGES)
    before, after = (
        checked.tables({kind: parts[side] for kind, parts in CHANGES.items()}) for side in (0, 1)
    )
    service.revise(before)
    service.upgrade()
    first = lines(admin)

    found = checked.differences(after)
    service.revise(after)
    service.upgrade()

    assert found.keys() == checked.numbers.keys()
    assert checked.differences(after) == {}
    second = lines(admin)
    service.downgrade("-1")
    assert lines(admin) == first, "the way back leaves no trace"
    service.downgrade()
    with service.engine.begin() as connection:
        after.create_all(connection)
    assert lines(admin) == second, "the revision makes what the models make"


@pytest.mark.mysql("MariaDB writes some of these otherwise")
def test_alembic_alone_misses_some_of_them(plain):
    kinds = {
        "fractional seconds", "a new check", "the order of an Enum", "an index's function",
        "a check's expression",
    }  # fmt: skip
    missed = set()
    for kind in kinds:
        before, after = (table(*parts()) for parts in CHANGES[kind])
        with plain.engine.begin() as connection:
            before.create_all(connection)
        if not plain.differences(after):
            missed.add(kind)
        with plain.engine.begin() as connection:
            before.drop_all(connection)

    assert missed == kinds


# Order, and what is not this service's -----------------------------------------------------------


def family(*parts, unique=False):
    metadata = sa.MetaData()
    code = sa.Column("code", sa.String(9))
    sa.Table(
        "families",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        code,
        *([sa.UniqueConstraint("code", name="uq_code")] if unique else []),
    )
    sa.Table(
        "children", metadata, sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("family", sa.String(9)), *parts,
    )  # fmt: skip
    return metadata


def test_a_foreign_key_and_the_key_that_it_needs_come_and_go_in_one_revision(service, admin):
    apart = family()
    joined = family(
        sa.ForeignKeyConstraint(["family"], ["families.code"], name="fk_family"),
        sa.Index("ix_family", "family"),
        unique=True,
    )
    service.revise(apart)
    service.upgrade()
    service.revise(joined)
    service.upgrade()
    assert service.differences(joined) == []

    service.revise(apart)
    service.upgrade()
    assert service.differences(apart) == []

    service.downgrade()
    service.upgrade()


def test_tables_that_refer_to_each_other_are_made_and_dropped(service, admin):
    circle = sa.MetaData()
    key = sa.Column("id", sa.Integer, primary_key=True)
    other = sa.ForeignKey("second.id", use_alter=True, name="fk_first")
    sa.Table("first", circle, key._copy(), sa.Column("second", other))
    sa.Table("second", circle, key._copy(), sa.Column("first", sa.ForeignKey("first.id")))
    sa.Table("third", circle, key._copy(), sa.Column("second", sa.ForeignKey("second.id")))

    service.revise(circle)
    service.upgrade()

    assert service.differences(circle) == []
    service.downgrade()
    service.upgrade()


def test_tables_without_a_model_are_dropped_with_those_first_that_refer_to_others(service, admin):
    chain = sa.MetaData()
    names = ["e", "b", "d", "a", "c"]
    for parent, name in zip([None, *names], names, strict=False):
        key = sa.ForeignKey(f"{parent}.id", name=f"fk_{name}")
        columns = [] if parent is None else [sa.Column("up", key)]
        sa.Table(name, chain, sa.Column("id", sa.Integer, primary_key=True), *columns)
    service.revise(chain)
    service.upgrade()
    made = dump(admin)

    service.revise(sa.MetaData())
    service.upgrade()
    assert dump(admin) == {}

    service.downgrade("-1")
    assert dump(admin) == made


@pytest.mark.mysql("MariaDB makes the other index by itself")
def test_alembic_alone_drops_the_index_under_a_foreign_key_first(plain):
    joined = family(
        sa.ForeignKeyConstraint(["family"], ["families.code"], name="fk_family"),
        sa.Index("ix_family", "family"),
        unique=True,
    )
    plain.revise(joined)
    plain.upgrade()
    plain.revise(family())

    with pytest.raises(sa.exc.DBAPIError, match="needed in a foreign key constraint"):
        plain.upgrade()


def test_tables_that_no_model_names_are_left_alone(service, admin):
    metadata = table()
    with service.engine.begin() as connection:
        metadata.create_all(connection)
    execute(admin, "CREATE TABLE anothers (id INT)")
    service.options["include_name"] = OwnTables(metadata)

    assert service.differences(metadata) == []
    del service.options["include_name"]
    assert [difference[0] for difference in service.differences(metadata)] == ["remove_table"]


def test_a_table_that_the_users_filter_leaves_out_is_not_compared(service, admin):
    metadata = table()
    with service.engine.begin() as connection:
        metadata.create_all(connection)
    execute(admin, "ALTER TABLE things MODIFY s VARCHAR(9)", "ALTER TABLE parents ADD x INT")
    service.options["include_object"] = lambda item, name, kind, reflected, other: (
        kind != "table" or name != "things"
    )

    assert [difference[0] for difference in service.differences(metadata)] == ["remove_column"]


def test_checking_changes_nothing(service, admin):
    metadata = table(*column(sa.Integer)())
    with service.engine.begin() as connection:
        table().create_all(connection)
    execute(admin, "INSERT INTO things (n) VALUES (1)")
    before = dump(admin)

    assert service.differences(metadata) != []

    assert dump(admin) == before
    assert execute(admin, "SELECT n FROM things") == [(1,)]


def test_an_account_without_temporary_tables_gets_alembics_answer(
    service, admin, database, server, environment
):
    metadata = table(*index(sa.text("n DESC"))())
    with service.engine.begin() as connection:
        metadata.create_all(connection)
    service.upgrade()  # the table of versions
    name = f"u_{database[-12:]}"  # not as a number that begins a name
    execute(
        admin,
        f"CREATE USER {name} IDENTIFIED BY 'x'",
        f"GRANT SELECT ON `{database}`.* TO {name}",
    )
    try:
        url = f"mysql://{name}:x@{server.host}:{server.port}/{database}"
        settings = Settings.from_env({**environment, "DATABASE_URL": url})
        service.engine = create_engine(settings.for_migrations())
        assert service.differences(metadata) != []
        execute(admin, f"GRANT CREATE TEMPORARY TABLES ON `{database}`.* TO {name}")
        assert service.differences(metadata) == []
    finally:
        execute(admin, f"DROP USER {name}")
