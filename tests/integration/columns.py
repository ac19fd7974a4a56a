"""Every type of column that SQLAlchemy has for MySQL, with values that it keeps and others."""

import datetime as dt
import enum
import math
import uuid
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from dal.model import BinaryUUID, ExactNumeric, UTCDateTime

PLUS_TWO = dt.timezone(dt.timedelta(hours=2))
NOON = dt.datetime(2026, 1, 2, 12)
AWARE = NOON.replace(tzinfo=PLUS_TWO)


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1


class Name(str, enum.Enum):  # noqa: UP042  # whose str() is "Name.ADA"
    ADA = "ada"


class Lower(sa.TypeDecorator):
    """With an idea of its own of texts, and none of anything else."""

    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value.lower() if isinstance(value, str) else value


class Plain(sa.TypeDecorator):
    """As SQLModel's AutoString: nothing of its own."""

    impl = sa.String(20)
    cache_ok = True


class Column(NamedTuple):
    #: As docs/values.md names it.
    name: str
    type: object
    kept: tuple
    refused: tuple
    #: Whether a page may be ordered by it, and the server finds a value by ==.
    ordered: bool = True
    #: A SET is compared with no set.
    found: bool = True


NO_TEXT = (1, 1.5, True, b"x", Decimal(1), Level.LOW, object(), "\ud800", "a\udc80", ["x"])
NO_NUMBER = ("1", "1x", "", b"1", math.nan, math.inf, object(), NOON, [1])
NO_INT = (*NO_NUMBER, 1.0, 1.5, Decimal("1.5"), Decimal(1))
NO_BYTES = ("x", 5, 1.5, True, [1], uuid.UUID(int=1))
NO_DATETIME = (AWARE, NOON.date(), "2026-01-02", "2026-01-02 12:00:00", 20260102, 1.5, NOON.time())
HALF = NOON.replace(microsecond=500_000)
FINE = NOON.replace(microsecond=999_999)
TEXTS = ("", "a", "A", "7up", "ä", "\U0001f600", "'\"\\%s%(x)s\x00\n\x1a", "\u202e", "e\u0301")

COLUMNS = [
    Column(
        "`String(n)`, `VARCHAR(n)`",
        sa.String(20),
        (*TEXTS, "a ", "x" * 20, Name.ADA),
        (*NO_TEXT, "x" * 20 + " "),
    ),
    Column("`String(n)`, `VARCHAR(n)`", sa.Unicode(20), TEXTS, NO_TEXT),
    Column("`String(n)`, `VARCHAR(n)`", mysql.NVARCHAR(20), ("a", "é"), NO_TEXT),
    Column("`String(n)`, `VARCHAR(n)`", Plain(), TEXTS, NO_TEXT),
    Column("`String(n)`, `VARCHAR(n)`", Lower(), ("a", "b "), NO_TEXT),
    Column("`CHAR(n)`", sa.CHAR(20), TEXTS, (*NO_TEXT, "a ", " ")),
    Column("`CHAR(n)`", mysql.NCHAR(20), ("a", "é"), (*NO_TEXT, "a ")),
    Column(
        "`Text`, `TEXT` and its sizes",
        sa.Text(),
        (*TEXTS, "a "),
        (*NO_TEXT, "x" * 65_535 + " "),
        ordered=False,
    ),
    Column(
        "`Text`, `TEXT` and its sizes",
        mysql.TINYTEXT(),
        (*TEXTS, "a "),
        (*NO_TEXT, "x" * 255 + " "),
        ordered=False,
    ),
    Column(
        "`Text`, `TEXT` and its sizes",
        mysql.LONGTEXT(),
        (*TEXTS, "x" * 70_000),
        NO_TEXT,
        ordered=False,
    ),
    Column(
        "`BINARY(n)`",
        sa.BINARY(4),
        (b"\0\0\0\0", b"a  \0", b"\xff\xfe'\\", bytearray(b"abcd")),
        (*NO_BYTES, b"", b"abc"),
    ),
    Column(
        "`VARBINARY(n)`, `LargeBinary`, `BLOB`",
        sa.VARBINARY(20),
        (b"", b"\0", b"a ", b"\xff\xfe'\\", memoryview(b"ab")),
        NO_BYTES,
    ),
    Column(
        "`VARBINARY(n)`, `LargeBinary`, `BLOB`",
        sa.LargeBinary(),
        (b"", b"\0", b"x" * 70_00),
        NO_BYTES,
        ordered=False,
    ),
    Column(
        "`VARBINARY(n)`, `LargeBinary`, `BLOB`",
        mysql.TINYBLOB(),
        (b"", b"\0"),
        NO_BYTES,
        ordered=False,
    ),
    Column(
        "`Integer` and its sizes",
        sa.Integer(),
        (0, 1, -1, 2**31 - 1, -(2**31), True, Level.LOW),
        NO_INT,
    ),
    Column("`Integer` and its sizes", sa.BigInteger(), (2**63 - 1, -(2**63), 0), NO_INT),
    Column("`Integer` and its sizes", mysql.BIGINT(unsigned=True), (0, 2**64 - 1), NO_INT),
    Column("`Integer` and its sizes", mysql.TINYINT(), (-128, 127), NO_INT),
    Column("`Integer` and its sizes", mysql.MEDIUMINT(), (-(2**23), 2**23 - 1), NO_INT),
    Column("`Boolean`", sa.Boolean(), (True, False, 1, 0), (2, -1, "1", "true", 0.5, b"1", [True])),
    Column(
        "`BIT(n)`",
        mysql.BIT(8),
        (0, 1, 255, True),
        (256, -1, "1", b"\1", 1.0),
        ordered=False,
    ),
    Column(
        "`YEAR`",
        mysql.YEAR(),
        (0, 1901, 2026, 2155),
        (1, 26, 99, 1900, 2156, "2026", "26", 1.5),
        ordered=False,
    ),
    Column(
        "`Numeric(p, s)`, `DECIMAL`",
        sa.Numeric(10, 2),
        (
            Decimal(0),
            Decimal("-0.01"),
            Decimal("99999999.99"),
            Decimal("1.500"),
            3,
            1.5,
            0.1,
            Decimal("1E+3"),
            Decimal("-0"),
        ),
        (
            *NO_NUMBER,
            Decimal("1.005"),
            Decimal("1E-40"),
            0.123,
            Decimal("NaN"),
            Decimal("Infinity"),
        ),
    ),
    Column(
        "`Numeric(p, s)`, `DECIMAL`",
        mysql.DECIMAL(65, 30),
        (Decimal("12345678901234567890123456789012345.123456789012345678901234567891"),),
        (*NO_NUMBER, Decimal("1E-31")),
    ),
    Column(
        "`Numeric(p, s)`, `DECIMAL`",
        sa.Numeric(),
        (Decimal(1), 2**33 - 1),
        (*NO_NUMBER, Decimal("1.5"), 0.1),
    ),
    Column(
        "`Numeric(p, s)`, `DECIMAL`",
        sa.Numeric(10, 2, asdecimal=False),
        (1.5, 0.1, 3),
        (*NO_NUMBER, 0.123),
        ordered=False,
    ),
    Column(
        "`ExactNumeric(p, s)`",
        ExactNumeric(10, 2),
        (Decimal("1.50"), 3, Decimal("-0.01")),
        (*NO_NUMBER, 1.5, True, Decimal("1.005")),
    ),
    Column(
        "`Float`, `FLOAT`",
        sa.Float(),
        (0.0, 0.1, 1.5, -0.5, 123456.0, 1e30, 3, Decimal("0.01")),
        (*NO_NUMBER, 1234567.0, 1 / 3, 16777217),
        ordered=False,
    ),
    Column(
        "`Double`, `DOUBLE`, `REAL`",
        sa.Double(),
        (0.0, 0.1, 1 / 3, -1e300, 5e-324, 2.0**53 + 2, 7, Decimal("0.1"), 1.7976931348623157e308),
        (*NO_NUMBER, 2**53 + 1, Decimal("0.12345678901234567890"), 10**400),
    ),
    Column("`Double`, `DOUBLE`, `REAL`", mysql.REAL(asdecimal=False), (0.1, 1 / 3), NO_NUMBER),
    Column(
        "`mysql.DOUBLE()`, `mysql.REAL()`",
        mysql.DOUBLE(),
        (0.5, Decimal("0.1"), 1e10, 3),
        (*NO_NUMBER, 1 / 3, 1e-11),
        ordered=False,
    ),
    Column(
        "`DateTime`, `DATETIME`, `TIMESTAMP`",
        sa.DateTime(),
        (NOON, dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59)),
        (*NO_DATETIME, HALF, FINE),
    ),
    Column("`DateTime`, `DATETIME`, `TIMESTAMP`", sa.DateTime(timezone=True), (NOON,), NO_DATETIME),
    Column(
        "`DateTime`, `DATETIME`, `TIMESTAMP`",
        mysql.DATETIME(fsp=6),
        (NOON, HALF, FINE),
        NO_DATETIME,
    ),
    Column(
        "`DateTime`, `DATETIME`, `TIMESTAMP`",
        mysql.DATETIME(fsp=1),
        (NOON, HALF),
        (*NO_DATETIME, FINE),
    ),
    Column("`DateTime`, `DATETIME`, `TIMESTAMP`", sa.TIMESTAMP(), (NOON,), (*NO_DATETIME, HALF)),
    Column(
        "`DateTime`, `DATETIME`, `TIMESTAMP`", mysql.TIMESTAMP(fsp=6), (NOON, FINE), NO_DATETIME
    ),
    Column(
        "`UTCDateTime`",
        UTCDateTime(),
        (AWARE, AWARE.replace(microsecond=1)),
        (NOON, NOON.date(), "2026-01-02", 1.5),
    ),
    Column(
        "`Date`, `DATE`",
        sa.Date(),
        (NOON.date(), dt.date(1, 1, 1), dt.date(9999, 12, 31)),
        (NOON, AWARE, "2026-01-02", 20260102, NOON.time()),
    ),
    Column(
        "`Time`, `TIME`",
        sa.Time(),
        (
            dt.time(0),
            dt.time(23, 59, 59),
            dt.timedelta(hours=30),
            dt.timedelta(hours=-1),
            dt.timedelta(hours=838, minutes=59, seconds=59),
            -dt.timedelta(hours=838),
            dt.timedelta(seconds=-1),
        ),
        (
            dt.time(1, tzinfo=PLUS_TWO),
            dt.time(1, 2, 3, 4),
            dt.timedelta(hours=5),
            "12:00",
            12,
            NOON,
            dt.timedelta(hours=839),
            dt.timedelta(days=2, microseconds=1),
        ),
        ordered=False,
    ),
    Column(
        "`Time`, `TIME`",
        mysql.TIME(fsp=6),
        (dt.time(1, 2, 3, 4), dt.timedelta(days=-1, microseconds=1)),
        ("12:00",),
        ordered=False,
    ),
    Column(
        "`Interval`",
        sa.Interval(),
        (dt.timedelta(days=3), dt.timedelta(hours=-5)),
        (dt.timedelta(microseconds=1), dt.timedelta(seconds=1.5)),
    ),
    Column(
        "`Enum`, `ENUM`",
        sa.Enum("a", "b", "1"),
        ("a", "b", "1"),
        ("c", "", "A", "a ", 1, 0, True, b"a", ["a"]),
    ),
    Column("`Enum`, `ENUM`", sa.Enum(Colour), tuple(Colour), ("r", "x", 1, Level.LOW)),
    Column("`Enum`, `ENUM`", sa.Enum(Colour, native_enum=False), tuple(Colour), ("r", "x", 1)),
    Column("`Enum`, `ENUM`", mysql.ENUM("a", "b"), ("a", "b"), ("c", "A", 1)),
    Column(
        "`SET`",
        mysql.SET("a", "b"),
        (set(), {"a"}, frozenset({"a", "b"})),
        ({"c"}, "a", "a,b", 1, ["a"], ("a", "b"), "c"),
        ordered=False,
        found=False,
    ),
    Column(
        "`Uuid`",
        sa.Uuid(),
        (uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)),
        (str(uuid.UUID(int=1)), 1, b"\0" * 16, "x"),
    ),
    Column(
        "`Uuid`",
        sa.Uuid(as_uuid=False),
        (str(uuid.UUID(int=0xABC << 100)),),
        (
            uuid.UUID(int=1),
            1,
            "x",
            uuid.UUID(int=0xABC << 100).hex,
            str(uuid.UUID(int=0xABC << 100)).upper(),
        ),
    ),
    Column(
        "`BinaryUUID`",
        BinaryUUID(),
        (uuid.UUID(int=1), uuid.UUID(int=0x20 << 120)),
        (str(uuid.UUID(int=1)), 1, b"\0" * 16),
    ),
]
