"""PyMySQL's result, which takes many rows apart at a time.

PyMySQL makes some twenty calls for a row of three columns: two reads, a packet, and three for each
column. Here the rows that have arrived, whole and in order, are taken straight from the buffer.
All else is left to PyMySQL: waiting, the packet that is cut by the buffer's end, the last one,
errors, rows of 16 MB.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html
"""

from __future__ import annotations

from typing import Any

import pymysql
from pymysql.connections import MySQLResult

_HEADER = 4
_LONGEST = 0xFFFFFF
_NULL = 0xFB
# How many bytes of length follow the byte that says so.
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
# A packet that begins so may be the last one, or an error.
_NO_ROW = 0xFE


class Result(MySQLResult):
    """What came of one statement."""

    connection: Any

    def _read_rowdata_packet(self) -> None:
        connection = self.connection
        rows: list[tuple[Any, ...]] = []
        while True:
            packet = connection._read_packet()  # noqa: SLF001
            if self._check_packet_is_eof(packet):
                # PyMySQL leaves out the status flags, the last two bytes of the five.
                self.server_status = int.from_bytes(packet.get_all_data()[3:5], "little")
                break
            rows.append(self._read_row_from_packet(packet))
            self._take_arrived(connection, rows)
        self.connection = None  # as PyMySQL lets go of it
        self.affected_rows = len(rows)
        self.rows = tuple(rows)

    def _take_arrived(self, connection: Any, rows: list[tuple[Any, ...]]) -> None:
        """Take the rows that are whole in the buffer; PyMySQL reads on after them."""
        try:
            arrived: bytes = connection._rfile.peek()  # noqa: SLF001
        except (OSError, pymysql.Error):
            return  # PyMySQL's own next read meets it again, and knows what to do
        except BaseException:
            connection._force_close()  # noqa: SLF001  # in the middle of a result
            raise
        place, size, number = 0, len(arrived), connection._next_seq_id  # noqa: SLF001
        while place + _HEADER < size:
            length = int.from_bytes(arrived[place : place + 3], "little")
            start, end = place + _HEADER, place + _HEADER + length
            if end > size or length in (0, _LONGEST):
                break
            if arrived[start] >= _NO_ROW or arrived[place + 3] != number:
                break
            row = self._row(arrived[start:end])
            if row is None:
                break
            rows.append(row)
            place, number = end, (number + 1) % 256
        connection._rfile.read(place)  # noqa: SLF001  # all of it is in the buffer
        connection._next_seq_id = number  # noqa: SLF001

    def _read_row_from_packet(self, packet: Any) -> tuple[Any, ...]:
        row = self._row(packet.get_all_data())
        if row is None:  # what to make of that is PyMySQL's to say
            row = tuple(super()._read_row_from_packet(packet))
        return row

    def _row(self, data: bytes) -> tuple[Any, ...] | None:
        """Return the values of a row; None where it is malformed."""
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
            return None
        return tuple(row) if place == len(data) else None
