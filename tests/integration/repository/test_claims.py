"""Claims: a table as a queue for many workers, each job done once."""

import collections
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import event, orm

from dal import Database, InvalidArgument, ReadOnlyScope, Repository
from dal.engine import Settings, create_engine


class Base(orm.DeclarativeBase):
    """Of its own, so that no other test has these tables."""


class Job(Base):
    __tablename__ = "job"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    state: orm.Mapped[str] = orm.mapped_column(sa.String(10), index=True)
    urgency: orm.Mapped[int] = orm.mapped_column(default=0)


class Done(Base):
    """One line for each time that a job was done; nothing keeps a second one out."""

    __tablename__ = "done"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    job_id: orm.Mapped[int]
    worker: orm.Mapped[int]


class Jobs(Repository[Job]):
    pass


@pytest.fixture
def db(environment, admin):
    """A thousand new jobs; the last hundred are urgent."""
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    with admin.cursor() as cursor:
        cursor.execute(
            "INSERT INTO job (id, state, urgency) WITH RECURSIVE n (n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000) "
            "SELECT n, 'new', n > 900 FROM n"
        )
        cursor.execute("ANALYZE TABLE job")
    return Database.from_env(environment)


@pytest.fixture
def jobs(db):
    return Jobs(db)


@pytest.fixture
def execute(admin):
    def run(statement):
        with admin.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    return run


def test_eight_workers_do_a_thousand_jobs_each_exactly_once(environment, db, execute):
    """Every fifth unit of work fails: its jobs are free again, and others do them."""
    errors = []
    start = threading.Barrier(8)

    def work(worker):
        own = Database.from_env(environment)
        jobs, rounds = Jobs(own), 0
        start.wait()
        while True:
            rounds += 1
            try:
                with own.scope() as session:
                    taken = jobs.claim(Job.state == "new", limit=7)
                    if not taken and not jobs.exists(Job.state == "new"):
                        return
                    for job in taken:
                        session.add(Done(job_id=job.id, worker=worker))
                        job.state = "done"
                    if rounds % 5 == 0:
                        session.flush()
                        raise ZeroDivisionError
            except ZeroDivisionError:
                continue
            except BaseException as error:
                errors.append(error)
                raise

    workers = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    counts = collections.Counter(job for (job,) in execute("SELECT job_id FROM done"))
    assert sorted(counts) == list(range(1, 1001))
    assert set(counts.values()) == {1}
    assert execute("SELECT COUNT(*) FROM job WHERE state <> 'done'") == [(0,)]
    assert len(execute("SELECT DISTINCT worker FROM done")) == 8


def test_claims_of_two_scopes_never_meet_and_never_wait(environment, db, jobs):
    other = Database.from_env(environment)
    with db.scope(), other.scope():
        first = [job.id for job in jobs.claim(Job.state == "new", limit=3)]
        second = [job.id for job in Jobs(other).claim(Job.state == "new", limit=3)]
    assert (first, second) == ([1, 2, 3], [4, 5, 6])


def test_just_the_rows_that_are_returned_are_locked(db, jobs, execute):
    with db.scope():
        jobs.claim(Job.state == "new", limit=3)
        free = execute("SELECT id FROM job WHERE state = 'new' ORDER BY id FOR UPDATE SKIP LOCKED")
    assert [row[0] for row in free] == list(range(4, 1001))


def test_a_claim_is_given_back_by_the_end_of_its_scope(environment, db, jobs):
    other = Database.from_env(environment)
    with db.scope():
        jobs.claim(limit=2)
        with other.scope():
            assert [job.id for job in Jobs(other).claim(limit=1)] == [3]
    with db.scope():
        assert [job.id for job in jobs.claim(limit=1)] == [1]


def test_nothing_that_is_free_is_an_empty_list(environment, db, jobs):
    other = Database.from_env(environment)
    with db.scope():
        assert jobs.claim(Job.state == "none", limit=1) == []
        assert len(jobs.claim(limit=5000)) == 1000
        with other.scope():
            assert Jobs(other).claim(limit=5) == []


def test_the_order_may_be_named(db, jobs):
    with db.scope():
        assert [job.id for job in jobs.claim(limit=2, order_by=Job.id.desc())] == [1000, 999]
        urgent = jobs.claim(limit=2, order_by=[Job.urgency.desc(), Job.id])
        assert [job.id for job in urgent] == [901, 902]


def test_a_claim_shows_what_is_committed_and_not_what_the_session_remembers(db, jobs, execute):
    with db.scope():
        held = jobs.get_one(1)
        execute("UPDATE job SET urgency = 9 WHERE id = 1")
        assert jobs.claim(limit=1) == [held]
        assert held.urgency == 9


def test_a_claim_is_one_statement(db, jobs):
    sent = []
    event.listen(
        db.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: sent.append(statement),
    )
    with db.scope():
        jobs.claim(Job.state == "new", limit=3)
    assert len(sent) == 1
    assert sent[0].endswith("FOR UPDATE SKIP LOCKED")


def test_a_read_only_scope_has_no_claims(db, jobs):
    with db.scope(read_only=True), pytest.raises(ReadOnlyScope, match="without read_only"):
        jobs.claim(limit=1)


@pytest.mark.parametrize("limit", [0, -1, None, True, 1.5, "10", "1; DROP TABLE job"])
def test_a_limit_is_a_whole_number_from_1_up(db, jobs, limit):
    with db.scope(), pytest.raises(InvalidArgument, match="limit is a whole number from 1 up"):
        jobs.claim(limit=limit)


@pytest.mark.parametrize("order_by", ["id", sa.text("id"), None, 1, Job, ["id"]])
def test_an_order_has_columns(db, jobs, order_by):
    with db.scope(), pytest.raises(InvalidArgument, match="order_by takes columns"):
        jobs.claim(limit=1, order_by=order_by)
