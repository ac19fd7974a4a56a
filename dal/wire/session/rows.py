"""PyMySQL's result, which takes many rows apart at a time.

PyMySQL makes some twenty calls for a row of three columns: two reads, a packet, and three for each
column. Here the rows that have arrived, whole and in order, are taken straight from the buffer.
All else is left to PyMySQL: waiting, the packet that is cut by the buffer's end, the last one,
errors, rows of 16 MB. A row has as many columns as were announced, no byte less or more: the
compiled code of SQLAlchemy reads past the end of one that is shorter.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NoReturn

import pymysql
from pymysql.connections import MySQLResult
from pymysql.constants import FIELD_TYPE

_HEADER = 4
_LONGEST = 0xFFFFFF
_NULL = 0xFB
# How many bytes of length follow the byte that says so.
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
# A packet that begins so may be the last one, or an error.
_NO_ROW = 0xFE


# The most columns that a result of MySQL has (manual, "Limits on Table Column Count").
_COLUMNS = 4096


# What PyMySQL knows; of two names, such as TINY and CHAR, the first.
_TYPES = {number: name for name, number in reversed(vars(FIELD_TYPE).items()) if name.isupper()}


class Malformed(pymysql.InternalError):
    """An answer that breaks the protocol: nobody knows where the next one begins."""


class Undecodable(pymysql.DataError):
    """A value that is not what its column's type promises; the rest of its answer was read."""


class Result(MySQLResult):
    """What came of one statement."""

    connection: Any
    converters: list[tuple[str | None, Callable[[Any], Any] | None]]

    def _get_descriptions(self) -> None:
        if not 0 < (self.field_count or 0) <= _COLUMNS:
            raise Malformed(f"a result of {self.field_count} columns")
        super()._get_descriptions()
        # PyMySQL decodes as ASCII what it does not know, such as MySQL 9's VECTOR.
        self.converters = [
            (encoding if field.type_code in _TYPES else None, converter)
            for field, (encoding, converter) in zip(self.fields, self.converters, strict=True)
        ]

    def _read_rowdata_packet(self) -> None:
        connection = self.connection
        rows: list[tuple[Any, ...]] = []
        failure: Undecodable | None = None
        while True:
            packet = connection._read_packet()  # noqa: SLF001
            if self._check_packet_is_eof(packet):
                # PyMySQL leaves out the status flags, the last two bytes of the five.
                self.server_status = int.from_bytes(packet.get_all_data()[3:5], "little")
                break
            if failure is not None:
                continue  # the rest is read, so that the next answer is the next one's
            try:
                rows.append(self._read_row_from_packet(packet))
                self._take_arrived(connection, rows)
            except Undecodable as error:
                failure = error
                rows.clear()
        self.connection = None  # as PyMySQL lets go of it
        if failure is not None:
            raise failure
        self.affected_rows = len(rows)
        self.rows = tuple(rows)

    def _read_rowdata_packet_unbuffered(self) -> tuple[Any, ...] | None:
        connection = self.connection
        if connection is None:
            return None  # it is at its end, or closed
        try:
            connection._sock.allow_bytes()  # noqa: SLF001  # each row anew: one at a time is held
            row: tuple[Any, ...] | None = super()._read_rowdata_packet_unbuffered()
        except BaseException as error:  # noqa: BLE001  # raised again
            self._fail(connection, error)
        return row

    def _finish_unbuffered_query(self) -> None:
        while (connection := self.connection) is not None and connection.open:
            try:
                connection._sock.allow_bytes()  # noqa: SLF001
                if self._check_packet_is_eof(connection._read_packet()):  # noqa: SLF001
                    self.unbuffered_active, self.connection = False, None
            except BaseException as error:  # noqa: BLE001  # raised again
                self._fail(connection, error)

    def __del__(self) -> None:
        """Read what is left of a stream; what failed, the connection's owner has heard."""
        with contextlib.suppress(Exception):
            super().__del__()

    def _fail(self, connection: Any, error: BaseException) -> NoReturn:
        failure = connection.stream_failure(error)
        if not connection.open:  # nothing is left that could be read
            self.unbuffered_active, self.connection = False, None
        if failure is error:
            raise error
        raise failure from None

    def _take_arrived(self, connection: Any, rows: list[tuple[Any, ...]]) -> None:
        """Take the rows that are whole in the buffer; PyMySQL reads on after them."""
        try:
            arrived: bytes = connection._rfile.peek()  # noqa: SLF001
        except (OSError, pymysql.Error):
            return  # PyMySQL's own next read meets it again, and knows what to do
        place, size, number = 0, len(arrived), connection._next_seq_id  # noqa: SLF001
        try:
            while place + _HEADER < size:
                length = int.from_bytes(arrived[place : place + 3], "little")
                start, end = place + _HEADER, place + _HEADER + length
                if end > size or length in (0, _LONGEST):
                    break
                if arrived[start] >= _NO_ROW or arrived[place + 3] != number:
                    break
                rows.append(self._row(arrived[start:end]))
                place, number = end, (number + 1) % 256
        finally:
            connection._rfile.read(place)  # noqa: SLF001  # all of it is in the buffer
            connection._next_seq_id = number  # noqa: SLF001

    def _read_row_from_packet(self, packet: Any) -> tuple[Any, ...]:
        return self._row(packet.get_all_data())

    def _row(self, data: bytes) -> tuple[Any, ...]:
        """Return the values of a row.

        Raises:
            Malformed: it has fewer columns than announced, or more.
            Undecodable: a value is not of its column's type.
        """
        row: list[Any] = []
        place = 0
        try:
            for encoding, converter in self.converters:
                length = data[place]
                place += 1
                if length >= _NULL:
                    if length == _NULL:
                        row.append(None)
                        continue
                    start, place = place, place + _WIDTHS[length]
                    length = int.from_bytes(data[start:place], "little")
                value: Any = data[place : place + length]
                place += length
                if encoding is not None:
                    value = value.decode(encoding)
                if converter is not None:
                    value = converter(value)
                row.append(value)
        except LookupError:
            raise Malformed("a row has fewer columns than announced") from None
        except (ValueError, ArithmeticError, TypeError):
            if place <= len(data):
                field = self.fields[len(row)]
                raise Undecodable(field.name, _not_decoded(field)) from None
        if place != len(data):
            raise Malformed("a row is not as long as its columns")
        return tuple(row)


def _not_decoded(field: Any) -> str:
    """Return what to say of a value of this column, without it: it may be a secret."""
    where = ".".join(filter(None, (field.table_name, field.name)))
    kind = _TYPES.get(field.type_code, f"type {field.type_code}")
    return f"a value of the column {where} is no {kind}"
