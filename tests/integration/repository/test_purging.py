"""purge_where: chunks of their own, nothing that does not fit, again after whatever stopped it."""

import threading

import goods
import pytest
import sqlalchemy as sa
from goods import Good, Goods, Price, Seat, Seats

from dal import (
    Database,
    ForeignKeyViolation,
    InvalidArgument,
    UsageError,
    everything,
)
from dal.testing.proxy import Proxy


@pytest.fixture
def db(environment):
    return goods.database(environment)


@pytest.fixture
def rows(admin):
    def select(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return select


@pytest.fixture
def stocked(db):
    with db.scope():
        Goods(db).insert_many({"code": f"c{n}", "stock": n % 10} for n in range(100))
    return Goods(db)


COUNT = "SELECT COUNT(*) FROM good"


class TestPurging:
    def test_deletes_what_fits_and_nothing_else(self, stocked, rows):
        assert stocked.purge_where(Good.stock < 5, chunk=7) == 50
        assert rows("SELECT COUNT(*), MIN(stock) FROM good") == [(50, 5)]
        assert stocked.purge_where(Good.stock < 5, chunk=7) == 0

    @pytest.mark.parametrize("chunk", [1, 99, 100, 101, 10**6])
    def test_returns_how_many_whatever_the_chunk(self, stocked, rows, chunk):
        assert stocked.purge_where(everything(), chunk=chunk) == 100
        assert rows(COUNT) == [(0,)]

    def test_is_two_statements_and_a_commit_for_each_chunk(self, server, environment, db, stocked):
        with Proxy(server.host, server.port) as proxy:
            through = Database.from_env(
                {"DATABASE_URL": environment["DATABASE_URL"]},
                host=proxy.host,
                port=proxy.port,
                tls="disabled",
            )
            assert Goods(through).purge_where(Good.stock < 5, chunk=20) == 50
            assert proxy.wait_closed()
            kinds = [[text.split()[0] for text in trace.statements] for trace in proxy.connections]
        assert kinds == [["SET", "SELECT", "DELETE", "COMMIT"]] * 3

    def test_goes_by_a_key_of_several_columns(self, db, rows):
        with db.scope():
            Seats(db).insert_many(
                {"row": row, "place": place} for row in range(9) for place in "abcdefg"
            )
        assert Seats(db).purge_where(Seat.place != "d", chunk=5) == 54
        assert rows("SELECT COUNT(*), MIN(place), MAX(place) FROM seat") == [(9, "d", "d")]

    def test_keeps_the_chunks_before_one_that_fails_and_can_be_repeated(self, db, stocked, rows):
        with db.scope() as session:
            session.add(Price(good_id=50))
        with pytest.raises(ForeignKeyViolation):
            stocked.purge_where(everything(), chunk=20)
        assert rows("SELECT COUNT(*), MIN(id) FROM good") == [(60, 41)]
        with db.scope() as session:
            session.execute(sa.delete(Price))
        assert stocked.purge_where(everything(), chunk=20) == 60

    def test_leaves_a_row_that_fits_no_more(self, environment, db, stocked, rows):
        """Another commits between the SELECT of a chunk and its DELETE."""
        other = Database.from_env(environment)
        find = type(stocked)._purge_chunk

        class Slow(Goods):
            def _purge_chunk(self, key, conditions, size):
                plain = self.session.execute

                def execute(statement, *rest, **options):
                    found = plain(statement, *rest, **options)
                    self.session.execute = plain
                    found = found.freeze()()
                    with other.scope():
                        Goods(other).update_where(Good.id == 7, changes={"stock": 99})
                    return found

                self.session.execute = execute
                return find(self, key, conditions, size)

        assert Slow(db).purge_where(Good.stock < 50, chunk=1000) == 99
        assert rows("SELECT id, stock FROM good") == [(7, 99)]

    def test_runs_a_chunk_again_that_met_a_deadlock(self, server, environment, db, stocked, rows):
        with Proxy(server.host, server.port) as proxy:
            through = Database.from_env(
                {"DATABASE_URL": environment["DATABASE_URL"]},
                host=proxy.host,
                port=proxy.port,
                tls="disabled",
            )
            proxy.on(b"DELETE FROM good", "cut")
            assert Goods(through).purge_where(everything(), chunk=30) == 100
        assert rows(COUNT) == [(0,)]

    def test_two_at_once_delete_each_row_once(self, environment, db, stocked, rows):
        ready = threading.Barrier(2)
        counts = []

        def purge():
            mine = Goods(Database.from_env(environment))
            ready.wait()
            counts.append(mine.purge_where(everything(), chunk=9))

        threads = [threading.Thread(target=purge) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(counts) == 100
        assert rows(COUNT) == [(0,)]

    def test_is_refused_inside_a_scope_and_on_a_session(self, db, stocked, rows):
        with db.scope() as session:
            with pytest.raises(UsageError, match="one transaction"):
                stocked.purge_where(everything())
            with pytest.raises(UsageError, match="with a Database"):
                Goods(session).purge_where(everything())
        assert rows(COUNT) == [(100,)]

    @pytest.mark.parametrize(
        ("where", "chunk"),
        [
            ((), 10),
            (("stock = 1",), 10),
            ((None,), 10),
            ((True,), 10),
            ((Good.stock,), 10),
            ((Good.stock > 1,), 0),
            ((Good.stock > 1,), -1),
            ((Good.stock > 1,), 1.5),
            ((Good.stock > 1,), "10"),
            ((Good.stock > 1,), None),
        ],
        ids=str,
    )
    def test_refuses_what_is_no_condition_or_chunk(self, stocked, rows, where, chunk):
        with pytest.raises(InvalidArgument):
            stocked.purge_where(*where, chunk=chunk)
        assert rows(COUNT) == [(100,)]
