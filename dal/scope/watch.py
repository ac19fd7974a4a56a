"""What the server says of the transaction with each answer: it knows, where a text only tells.

Every OK and every end of a result carries status flags. They show a transaction that is gone, and
autocommit; not one that ended and began again inside a procedure, nor that a session may write. A
statement whose text does not tell all is therefore put between SAVEPOINT and RELEASE, which fails
where the transaction is another one; in a read-only scope the variable is asked for.
https://dev.mysql.com/doc/dev/mysql-server/latest/mysql__com_8h.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pymysql
from pymysql.constants import ER, SERVER_STATUS

from dal.wire.connection import Connection

_SAVEPOINT = "dal_watch"


class Watch:
    """What is known of the transaction of a scope."""

    def __init__(self, *, read_only: bool) -> None:
        self._read_only = read_only
        self._is_begun = False
        self._is_in_question = False
        #: Whether the watch itself is talking to the server.
        self.is_asking = False

    def broken_by(self, status: int) -> str | None:
        """Return what the status flags of an answer show to be wrong; None where all is well."""
        is_begun = bool(status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)
        is_autocommit = bool(status & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT)
        was_begun, self._is_begun = self._is_begun, is_begun
        if status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES:
            return "turned on NO_BACKSLASH_ESCAPES"
        if self._read_only:
            if is_begun or not is_autocommit:
                return "began a transaction"
        elif is_autocommit:
            return "turned on autocommit"
        elif was_begun and not is_begun:
            return "ended the transaction"
        return None

    def put_in_question(self, driver: Connection) -> None:
        """Prepare for a statement, sent next, of which the text does not tell all."""
        if not self._read_only:
            with self._asking(), driver.cursor() as cursor:
                cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
        self._is_in_question = True

    def ask(self, driver: Connection | None) -> str | None:
        """Return what such a statement has done that may not be; None where all is well."""
        if not self._is_in_question or driver is None:
            return None
        self._is_in_question = False
        with self._asking(), driver.cursor() as cursor:
            if self._read_only:
                old = "tx" if driver.is_mariadb else "transaction"
                cursor.execute(f"SELECT @@{old}_read_only")
                return None if cursor.fetchone() == (1,) else "let the session write"
            try:
                cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
            except pymysql.Error as error:
                if not self.has_asked_for(error):
                    raise
                return "ended the transaction and began another"
        return None

    def has_asked_for(self, error: BaseException) -> bool:
        """Whether this error is an answer to `ask`: there is no such savepoint any more."""
        is_error = isinstance(error, pymysql.Error) and bool(error.args)
        return self.is_asking and is_error and error.args[0] == ER.SP_DOES_NOT_EXIST

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self.is_asking = True
        try:
            yield
        finally:
            self.is_asking = False
