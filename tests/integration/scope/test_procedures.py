"""What goes beyond one statement with one result: procedures, several statements, local files."""

import pytest
import sqlalchemy as sa

from dal import Database, DuplicateKey, ReadOnlyScope

PROCEDURES = (
    "CREATE TABLE note (id INT PRIMARY KEY)",
    "CREATE PROCEDURE one_result() SELECT 1",
    "CREATE PROCEDURE two_results() BEGIN SELECT 1; SELECT 2 UNION SELECT 3; END",
    "CREATE PROCEDURE doubled(IN x INT, OUT y INT) SET y = 2 * x",
    "CREATE PROCEDURE twice() BEGIN INSERT INTO note VALUES (1); INSERT INTO note VALUES (1); END",
    "CREATE PROCEDURE late() "
    "BEGIN SELECT 1; INSERT INTO note VALUES (1); INSERT INTO note VALUES (1); END",
)


@pytest.fixture
def db(admin, environment):
    with admin.cursor() as cursor:
        for statement in PROCEDURES:
            cursor.execute(statement)
    return Database.from_env(environment)


@pytest.fixture
def stored(admin):
    def ids():
        with admin.cursor() as cursor:
            cursor.execute("SELECT id FROM note ORDER BY id")
            return [row[0] for row in cursor.fetchall()]

    return ids


def call(session, text, **options):
    return session.execute(sa.text(text), execution_options=options)


class TestAProcedure:
    def test_gives_its_first_result_and_the_next_statement_its_own(self, db, stored):
        with db.scope() as session:
            assert call(session, "CALL two_results()").all() == [(1,)]
            call(session, "CALL two_results()")  # nobody fetches it
            assert call(session, "SELECT 9").scalar() == 9
            call(session, "INSERT INTO note VALUES (5)")
        assert stored() == [5]

    def test_gives_its_other_results_to_the_drivers_cursor(self, db):
        with db.scope() as session:
            result = call(session, "CALL two_results()")
            cursor = result.cursor
            assert cursor.fetchall() == ((1,),)
            assert cursor.nextset()
            assert cursor.fetchall() == ((2,), (3,))
            result.close()
            assert call(session, "SELECT 9").scalar() == 9

    def test_of_one_result_can_be_streamed(self, db):
        with db.scope() as session:
            assert list(call(session, "CALL one_result()", stream_results=True)) == [(1,)]
            assert call(session, "SELECT 9").scalar() == 9

    def test_gives_what_it_puts_out_as_variables_of_the_session(self, db):
        with db.scope() as session:
            call(session, "CALL doubled(21, @y)")
            assert call(session, "SELECT @y").scalar() == 42

    def test_that_fails_half_way_undoes_the_scope_even_if_that_is_swallowed(self, db, stored):
        with pytest.raises(DuplicateKey), db.scope() as session, pytest.raises(DuplicateKey):
            call(session, "CALL twice()")
        assert stored() == []

    @pytest.mark.parametrize("fetch", ["all", "close"])
    def test_that_fails_after_its_first_result_undoes_the_scope(self, db, stored, fetch):
        with pytest.raises(DuplicateKey), db.scope() as session:
            getattr(call(session, "CALL late()"), fetch)()
        assert stored() == []

    def test_that_writes_is_refused_in_a_read_only_scope(self, db, stored):
        with pytest.raises(ReadOnlyScope), db.scope(read_only=True) as session:
            call(session, "CALL twice()")
        assert stored() == []


@pytest.mark.parametrize("second", ["INSERT INTO note VALUES (2)", "COMMIT"])
def test_several_statements_in_one_are_refused_and_none_of_them_runs(db, stored, second):
    with db.scope() as session:
        with pytest.raises(sa.exc.ProgrammingError, match="1064"):
            call(session, f"INSERT INTO note VALUES (1); {second}")
        call(session, "INSERT INTO note VALUES (7)")
    assert stored() == [7]


def test_a_local_file_is_not_sent_even_where_the_server_takes_it(db, stored, tmp_path, admin):
    (tmp_path / "notes").write_text("1\n2\n")
    with admin.cursor() as cursor:
        cursor.execute("SELECT @@local_infile")
        (usual,) = cursor.fetchone()
        cursor.execute("SET GLOBAL local_infile = ON")
        try:
            with pytest.raises(sa.exc.OperationalError), db.scope() as session:
                call(session, f"LOAD DATA LOCAL INFILE '{tmp_path / 'notes'}' INTO TABLE note")
        finally:
            cursor.execute("SET GLOBAL local_infile = %s", (usual,))
    assert stored() == []
