"""Reading many rows by their keys."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm.interfaces import ORMOption

from dal.errors import InvalidArgument, NotFound
from dal.repository.reading.loading import checked_options, entities
from dal.repository.reading.locks import Lock, locked
from dal.repository.shared.identity import accepted_types, identity_values, is_exact, key_names
from dal.repository.shared.room import that_fit
from dal.repository.shared.source import Row, Source

_Key = tuple[Hashable, ...]

# The optimizer gives up on ranges, and reads the whole table, for some ten thousands of values
# (range_optimizer_max_mem_size); MariaDB makes a join of more than 1,000.
_MOST = 1000


class Lookup(Source[Row]):
    """The verb that reads rows by their keys."""

    def get_many(
        self,
        identities: Iterable[Any],
        *,
        options: Sequence[ORMOption] = (),
        lock: Lock | None = None,
    ) -> list[Row]:
        """Return the rows with these primary keys, one for each key, in the order of the keys.

            first, second = users.get_many([7, 3])

        All of them or an error; for those that happen to exist there is
        `users.find(User.id.in_(ids))`. A key that is named twice gives its row twice. One SELECT
        for each 1,000 different keys, fewer if `max_statement_bytes` asks for it; an empty list
        sends nothing. Where a key of text is not found as it is spelled, another SELECT asks the
        server which row it takes for it, as `get` would: 'ADA' may find 'ada'.

        Args:
            identities: The keys; tuples or dictionaries where a key has several columns.
            options: SQLAlchemy's loader options.
            lock: Such as "update"; with "skip locked" a locked row counts as missing.

        Raises:
            NotFound: some have no row; its `keys` are those, its text names the first ten.
            InvalidArgument: not a list of keys, or one of them is none; no such lock.
        """
        if isinstance(identities, str | bytes | Mapping) or not isinstance(identities, Iterable):
            raise InvalidArgument(
                f"get_many() wants a list of keys, not {type(identities).__name__}"
            )
        keys = list(self._keys(identities))
        wanted = list(dict.fromkeys(keys))
        found: dict[_Key, Row] = {}
        for some in that_fit(wanted, self._source, most=_MOST):
            found.update(self._by_key(some, options, lock))
        missing = [key for key in wanted if key not in found]
        unsure = [key for key in missing if not is_exact(self.model, key)]
        if unsure:
            found.update(self._by_the_server(unsure, options, lock))
            missing = [key for key in missing if key not in found]
        if missing:
            missed = [key[0] if len(key) == 1 else key for key in missing]
            names = ", ".join(map(repr, missed[:10])) + (", ..." if len(missed) > 10 else "")
            raise NotFound(
                f"{len(missed)} of {len(wanted)} keys have no {self.model.__name__}: {names}",
                keys=missed,
            )
        return [found[key] for key in keys]

    def _by_key(
        self, keys: Sequence[_Key], options: Sequence[ORMOption], lock: Lock | None
    ) -> dict[_Key, Row]:
        query = sa.select(self.model).where(self._among(keys)).options(*checked_options(options))
        found = entities(self.session.execute(locked(query, lock)), self.model)
        return {sa.inspect(entity).identity: entity for entity in found}

    def _by_the_server(
        self, keys: Sequence[_Key], options: Sequence[ORMOption], lock: Lock | None
    ) -> dict[_Key, Row]:
        """Return rows by the keys that the server, and not Python, takes for theirs.

        One statement tells one key for each row. Other spellings of the same, if there are any,
        wait for the next.
        """
        found: dict[_Key, Row] = {}
        # Each key comes twice, and with its column's name.
        for some in that_fit(keys, self._source, most=_MOST // 5, share=4):
            rest, size = list(some), 0
            while rest and len(rest) != size:
                size = len(rest)
                place = sa.case(*((self._equal(key), n) for n, key in enumerate(rest)))
                query = (
                    sa.select(self.model, place)
                    .where(self._among(rest))
                    .options(*checked_options(options))
                )
                for entity, n in self.session.execute(locked(query, lock)).unique():
                    found[rest[n]] = entity
                rest = [key for key in rest if key not in found]
        return found

    def _among(self, keys: Sequence[_Key]) -> ColumnElement[bool]:
        columns = self._key_columns()
        if len(columns) == 1:
            among: ColumnElement[bool] = columns[0].in_([value for (value,) in keys])
        else:
            among = sa.tuple_(*columns).in_(keys)
        return among

    def _equal(self, key: _Key) -> ColumnElement[bool]:
        pairs = zip(self._key_columns(), key, strict=True)
        return sa.and_(*(column == value for column, value in pairs))

    def _key_columns(self) -> list[Any]:
        return [getattr(self.model, name) for name in key_names(self.model)]

    def _keys(self, identities: Iterable[Any]) -> Iterator[_Key]:
        accepted = [accepted_types(column) for column in self._key_columns()]
        for identity in identities:
            key = tuple(identity) if isinstance(identity, tuple | list) else (identity,)
            is_plain = len(key) == len(accepted) and all(map(_is_of, key, accepted))
            if not is_plain:  # slower by far: for what needs a second look
                key = identity_values(self.model, identity)
                if not all(isinstance(value, Hashable) for value in key):
                    raise InvalidArgument(
                        f"{type(identity).__name__} is no key of {self.model.__name__}"
                    )
            yield key


def _is_of(value: object, types: tuple[type[Any], ...]) -> bool:
    return type(value) in types
