"""`Repository`: typed access to the rows of one mapped class."""

from __future__ import annotations

from dal.repository.reading.claims import Claims
from dal.repository.reading.entities import Reading
from dal.repository.reading.lookup import Lookup
from dal.repository.reading.paging import Paging
from dal.repository.reading.projection import Projection
from dal.repository.reading.streaming import Streaming
from dal.repository.shared.source import Row
from dal.repository.writing.bulk import Bulk
from dal.repository.writing.entities import Writing
from dal.repository.writing.purging import Purging
from dal.repository.writing.upsert import Upsert


class Repository(
    Reading[Row],
    Lookup[Row],
    Projection[Row],
    Paging[Row],
    Streaming[Row],
    Claims[Row],
    Writing[Row],
    Bulk[Row],
    Upsert[Row],
    Purging[Row],
):
    """The rows of one mapped class; the class comes from the type argument.

        class Users(Repository[User]):
            def by_email(self, email: str) -> User | None:
                return self.one_or_none(User.email == email)

        users = Users(db)

    With a `Database` every call uses the current scope, in which every read is a statement to the
    server and refreshes the entities that it finds. With a `Session` of your own, SQLAlchemy's
    rules hold: its reads do not refresh what it has loaded.

    Every method raises `NoActiveScope` outside a scope, and what its statement meets:
    `ConnectError` and `ConnectionLost`, `Deadlock`, `LockWaitTimeout`, `StatementTimeout`,
    `DeadlineExceeded`.
    """
