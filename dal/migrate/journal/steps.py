"""Every statement of a revision goes through here: sent and journalled, or known to be done.

Rows of data are stored in the transaction of their journal row. A DDL is announced before it is
sent, with the fingerprint of what it names; if the session dies, the fingerprint tells later on
whether it was applied. So a revision goes on where it stopped, whatever stopped it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pymysql
from pymysql.err import error_map

from dal.errors import UsageError
from dal.migrate.journal import reads
from dal.migrate.journal.carried import Carried
from dal.migrate.journal.fingerprint import fingerprint
from dal.migrate.journal.kinds import Kind, kind_of, locks_rows, tokens
from dal.migrate.journal.table import Journal, Row

# The whole transaction went (manual, "InnoDB Error Handling").
_ALL_UNDONE = {1213, 1206}

# What a message quotes of people's data.
_VALUE = re.compile(r"((?:entry|value:?) ').*(' for (?:key|column|function))", re.DOTALL)


class Changed(UsageError):
    """A revision that is half done does not send again what it has done."""


class Unsure(UsageError):
    """Nobody can tell whether the interrupted statement was applied."""


class Steps:
    """The statements of one revision, in one direction."""

    def __init__(
        self,
        *,
        connection: Any,
        journal: Journal,
        revision: str,
        way: str,
        rows: list[Row],
        who: str,
        send_ddl: Callable[[str, Callable[[str], Any]], bool],
        check_time: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the driver's connection, and the rows that an earlier run left."""
        self.connection = connection
        self.journal = journal
        self.revision, self.way = revision, way
        self._before = {row.step: row for row in rows}
        self._last_done = 0
        self._step = 0
        self._reads: list[tuple[str, str | None]] = []
        self._who = who
        self._send_ddl = send_ddl
        self._lost: BaseException | None = None
        #: The last statement that failed, and how.
        self.failure: tuple[Row, Exception] | None = None
        self._carried = Carried()
        self._last_id: int | None = None
        self._many = False
        self._collected: list[str] | None = None
        #: How many rows the last backfill has matched.
        self.backfilled = 0
        self.check_time = check_time
        self._is_open = True  # journalling; closed inside repeatable()

    @property
    def step(self) -> int:
        """The number of the statement that is sent now, or was sent last."""
        return self._step

    @property
    def has_begun(self) -> bool:
        """Whether the revision has sent a change."""
        return self._step > 0

    def begin(self) -> None:
        """Find out how far the earlier run came.

        Raises:
            Unsure: it cannot be told.
        """
        for row in self._before.values():
            self._settle(row)
        done = (row.step for row in self._before.values() if row.is_done)
        self._last_done = max(done, default=0)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[list[str]]:
        """Collect the definitions that the block sends, in place of sending them."""
        was, self._collected = self._collected, []
        try:
            yield self._collected
        finally:
            self._collected = was

    @contextlib.contextmanager
    def not_journalled(self) -> Iterator[None]:
        """Run what the block sends each time, and journal none of it."""
        was, self._is_open = self._is_open, False
        try:
            yield
        finally:
            self._is_open = was

    def execute(
        self,
        cursor: Any,
        sql: str,
        run: Callable[[str], Any],
        parameters: Any,
        *,
        many: bool = False,
    ) -> None:
        """Send a statement by `run`, which takes its text; or know that it is done."""
        self._many = many
        if self._lost is not None:
            raise UsageError(
                "the server undid the whole transaction, and the revision went on all the same"
            ) from self._lost
        self.check_time()
        kind = kind_of(sql)
        if self._collected is not None and kind in {Kind.DDL, Kind.DML, Kind.OPAQUE}:
            self._collected.append(sql.replace("%", "%%") if parameters is None else sql)
            reads.answer(cursor, 0, None)
        elif kind is Kind.SESSION or not self._is_open:
            self._session(sql, kind, run)
        elif kind is Kind.READ:
            self._read(cursor, sql, run, parameters)
        else:
            self._change(cursor, sql, kind, run, parameters)

    def _session(self, sql: str, kind: Kind, run: Callable[[str], Any]) -> None:
        words = [word.upper() for word in tokens(sql)[:2]]
        if words and words[0] == "LOCK" and words[1:] in (["TABLES"], ["TABLE"]):
            # Under LOCK TABLES only what is named can be written, and so must the journal be.
            head, word, tail = sql.partition(tokens(sql)[1])
            sql = f"{head}{word} {self.journal.name} WRITE,{tail}"
        if kind is Kind.DDL:
            self._send_ddl(sql, run)
        else:
            self._watched(run, sql)
        self._carried.note(sql, self._step)

    def _take_up(self, sql: str) -> None:
        """Bring the session to where the earlier run left it, before what is sent now.

        Raises:
            Unsure: the statement needs what went with that run's session.
        """
        if name := self._carried.lost(sql, self._last_done):
            raise Unsure(
                f"{short(sql)} needs {name}, which went with the session of the earlier run, and "
                "the data that it was made of has changed since. Finish the revision by hand, and "
                f"alembic stamp {self.revision}; another time keep it in a table that stays"
            )
        if self._last_id:
            self._command(f"SET last_insert_id = {self._last_id}")
            self._last_id = None

    # Reads ---------------------------------------------------------------------------------------

    def _read(self, cursor: Any, sql: str, run: Callable[[str], Any], parameters: Any) -> None:
        known = self._read_before(digest(sql, parameters))
        if known is None:
            self._take_up(sql)
            self._watched(run, sql)
            self._reads.append((digest(sql, parameters), reads.kept(cursor)))
            return
        if locks_rows(sql):
            # Where an applied DDL took a column away, there is nothing left to lock.
            with contextlib.suppress(Exception):
                run(sql)
        reads.show_again(cursor, known)
        self._reads.append((digest(sql, parameters), known))

    def _read_before(self, wanted: str) -> str | None:
        """Return what this read gave when what follows it was done."""
        following = self._before.get(self._step + 1)
        place = len(self._reads)
        if self._step >= self._last_done or following is None or len(following.reads) <= place:
            return None
        key, result = following.reads[place]
        return result if key == wanted else None

    # Changes -------------------------------------------------------------------------------------

    def _change(
        self, cursor: Any, sql: str, kind: Kind, run: Callable[[str], Any], parameters: Any
    ) -> None:
        row = self._next_row(sql, parameters)
        before = self._before.get(row.step)
        if before is not None and before.is_done:
            self._check_same(before, row)
            if before.state == "applied":
                row.state, row.affected = "done", 0
                self._commit(row)
            reads.answer(cursor, before.affected or 0, before.last_id)
            self._last_id = before.last_id or self._last_id
            if before.reads and before.reads[-1][0] == row.digest and before.reads[-1][1]:
                reads.show_again(cursor, before.reads[-1][1])  # INSERT ... RETURNING
        elif before is not None and before.errno and row.step < self._last_done:
            # The revision went on after this error, and so it does again.
            kind_of_error = error_map.get(before.errno, pymysql.OperationalError)
            raise kind_of_error(before.errno, before.error)
        else:
            by_kind = {Kind.DML: self._dml, Kind.DDL: self._ddl, Kind.OPAQUE: self._opaque}
            try:
                self._take_up(sql)
                by_kind[kind](cursor, row, run)
            except Exception as error:
                self.failure = (row, error)
                raise

    def _next_row(self, sql: str, parameters: Any) -> Row:
        self._step += 1
        taken, self._reads = self._reads, []
        return Row(
            *(self.revision, self.way, self._step, digest(sql, parameters), sql, "running"),
            reads=taken,
            session=self.connection.thread_id(),
            who=self._who,
        )

    def _check_same(self, before: Row, now: Row) -> None:
        if before.digest in ("", now.digest):  # "": settled by hand
            return
        if before.statement == now.statement:
            raise Changed(
                f"statement {now.step} is done, and has other values now: the revision makes them "
                "anew (a time, a random key), or was edited. Write values that stay, or put what "
                "may run again into `with repeatable():`; if it is right as it was done: dal "
                f"migrate resolve {self.revision} {now.step} --done"
            )
        raise Changed(
            f"statement {now.step} is done, and reads differently now. Done was: "
            f"{short(before.statement)} Now it is: {short(now.statement)} Write it as it was done, "
            "and the change into another revision; if it is right as it was done: dal migrate "
            f"resolve {self.revision} {now.step} --done"
        )

    def _settle(self, row: Row) -> None:
        """Find out whether a statement that was interrupted took effect all the same.

        Raises:
            Unsure: it cannot be told.
        """
        if row.state not in {"running", "inside"} or row.position is not None:
            return
        with self.connection.cursor() as cursor:
            is_changed = row.fingerprint != fingerprint(cursor, row.statement, row.here)
        is_call = row.state == "inside" and "CALL" in row.statement.upper()
        if is_call or (not is_changed and _swaps(row.statement)):
            raise Unsure(
                f"statement {row.step} was interrupted, and may be applied or not: "
                f"{short(row.statement)} Look, and then: dal migrate resolve {self.revision} "
                f"{row.step} --done (or --again)"
            )
        row.state = "applied" if is_changed else "running"

    # Backfills -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def backfilling(self, text: str, parameters: Any) -> Iterator[Row | None]:
        """Make one statement of all that the block sends; gives its row, None if it is done."""
        row = self._next_row(text, parameters)
        before = self._before.get(row.step)
        self.backfilled = 0
        if before is not None and before.is_done:
            self._check_same(before, row)
            self.backfilled = before.affected or 0
            yield None
            return
        if before is not None and before.position is not None:
            self._check_same(before, row)
            row.position = before.position
        row.position = row.position or [None, 0]
        self._filling = row
        try:
            with self.not_journalled():
                self._commit(row)
                yield row
        except Exception as error:
            with contextlib.suppress(Exception):
                self.connection.rollback()
                row.errno, row.error = number_of(error), without_value(str(error))[:1000]
                self._commit(row)
            self.failure = (row, error)
            raise
        row.state, row.affected, row.errno, row.error = "done", row.position[1], None, None
        self._commit(row)
        self.backfilled = row.affected

    def at_position(self, position: Any) -> None:
        """Commit what the block of `backfilling()` has sent, with how far it is."""
        self._filling.position = position
        self._commit(self._filling)

    def _dml(self, cursor: Any, row: Row, run: Callable[[str], Any]) -> None:
        begins = bool(self.connection.get_autocommit())
        if begins:  # an autocommit_block(): the row and its journal row are one all the same
            self.connection.begin()
        if self._many:
            self._command("SAVEPOINT dal_step")
        try:
            self._watched(run, row.statement)
        except Exception as error:
            if self._lost is None:
                with contextlib.suppress(Exception):
                    if self._many:  # of many statements those before the failing one stand
                        self._command("ROLLBACK TO SAVEPOINT dal_step")
                    self._note(row, error)
                    self.journal.write(row)  # for a revision that goes on after the error
                    if begins:
                        self.connection.commit()
            raise
        row.state, row.affected, row.last_id = "done", cursor.rowcount, cursor.lastrowid
        if cursor.description is not None:
            row.reads.append((row.digest, reads.kept(cursor)))
        try:
            self.journal.write(row)
            if begins:
                self.connection.commit()
        except Exception as error:
            # Nobody may commit rows whose journal row is missing: an autocommit_block() would.
            self._lost = error
            with contextlib.suppress(Exception):
                self.connection.rollback()
            raise

    def _ddl(self, cursor: Any, row: Row, run: Callable[[str], Any]) -> None:
        self._take_fingerprint(row)
        self._commit(row)  # and all that was written before, as the DDL itself would
        self._announced(cursor, row, lambda: self._send_ddl(row.statement, run))

    def _opaque(self, cursor: Any, row: Row, run: Callable[[str], Any]) -> None:
        self._take_fingerprint(row)
        self._commit(row)
        begins = bool(self.connection.get_autocommit())
        if begins:
            self.connection.begin()
        # Seen later only if what it calls commits in between.
        row.state = "inside"
        self.journal.write(row)
        self._announced(cursor, row, lambda: self._watched(run, row.statement))

    def _take_fingerprint(self, row: Row) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT DATABASE()")
            row.here = cursor.fetchone()[0]
            row.fingerprint = fingerprint(cursor, row.statement, row.here)

    def _announced(self, cursor: Any, row: Row, send: Callable[[], Any]) -> None:
        is_opaque = row.state == "inside"
        try:
            is_sent = send() is not False
        except Exception as error:
            with contextlib.suppress(Exception):  # it is in the journal as running, and that stays
                if is_opaque:
                    self.connection.rollback()
                self._note(row, error)
                if is_opaque and self._has_committed(row.step):
                    row.state = "inside"
                self._commit(row)
            raise
        if not is_sent:
            reads.answer(cursor, 0, None)
        row.state, row.affected, row.last_id = "done", cursor.rowcount, cursor.lastrowid
        self._commit(row)

    def _has_committed(self, step: int) -> bool:
        rows = self.journal.rows()
        return any(row.step == step and row.state == "inside" for row in rows)

    def _note(self, row: Row, error: Exception) -> None:
        row.state, row.errno = "failed", number_of(error)
        row.error = without_value(str(error.args[-1] if error.args else error))[:1000]

    # What they have in common -------------------------------------------------------------------

    def _watched(self, run: Callable[[str], Any], sql: str) -> None:
        try:
            run(sql)
        except Exception as error:
            if number_of(error) in _ALL_UNDONE:
                self._lost = error
            raise

    def _command(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def _commit(self, row: Row) -> None:
        self.journal.write(row)
        self.connection.commit()

    def finish(self) -> None:
        """Check, once the revision's code has ended, that all that was done was sent again.

        Raises:
            Changed: statements that are done are not in the revision any more.
        """
        if self._step < self._last_done:
            missing = self._before[self._step + 1]
            raise Changed(
                f"{self._last_done} statements are done, and the revision has only {self._step} "
                f"now. The next one was: {short(missing.statement)} Write it again, and take it "
                f"back in another revision; or settle it by hand: alembic stamp {self.revision}"
            )

    def stopped(self, error: BaseException) -> Row | None:
        """Undo what is not committed; return the statement that stopped the revision, if one did.

        Its error is in the journal then, but not where the connection was lost.
        """
        row, cause = self.failure or (None, None)
        if row is None or not _is_caused_by(error, cause):
            row = None
        with contextlib.suppress(Exception):
            self.connection.rollback()
            if row is not None and cause is not None and not (row.fingerprint or row.position):
                self._note(row, cause)
                self._commit(row)
        return row


_current: ContextVar[Steps | None] = ContextVar("dal_migration_steps", default=None)


def current_steps() -> Steps | None:
    """Return the revision that runs here and now; None outside of one, and offline."""
    return _current.get()


@contextlib.contextmanager
def as_current(steps: Steps) -> Iterator[Steps]:
    """Let the statements of the block be those of this revision."""
    token = _current.set(steps)
    try:
        yield steps
    finally:
        _current.reset(token)


def _swaps(sql: str) -> bool:
    """Return whether the statement, run twice, undoes itself and may leave the same definitions."""
    words = [word.upper() for word in tokens(sql) if word not in "().,;="]
    names = [word for word in words if word not in {"RENAME", "TABLE", "TABLES", "TO"}]
    return "EXCHANGE" in words or (words[:1] == ["RENAME"] and len(names) > len(set(names)))


def without_value(text: str) -> str:
    """Return MySQL's message without the value that it quotes."""
    return _VALUE.sub(r"\1...\2", text)


def digest(sql: str, parameters: Any) -> str:
    """Return a hash of a statement with its parameters."""
    return hashlib.sha256(f"{sql}\0{parameters!r}".encode("utf-8", "replace")).hexdigest()


def short(sql: str, longest: int = 300) -> str:
    """Return a statement on one line."""
    line = " ".join(sql.split())
    return line if len(line) <= longest else f"{line[:longest]} ..."


def _is_caused_by(error: BaseException | None, cause: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if error is cause or getattr(error, "orig", None) is cause:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def number_of(error: BaseException | None) -> int | None:
    """Return MySQL's error number: the driver's, or that of what was made of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        original = getattr(error, "orig", None) or error
        number = getattr(error, "errno", None) or (original.args[0] if original.args else None)
        if isinstance(number, int) and number >= 1000:
            return number
        error = error.__cause__
    return None
