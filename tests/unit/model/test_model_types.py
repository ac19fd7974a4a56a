"""What the types and keys of models are, without a server."""

import os
import threading
import time
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column
from sqlalchemy.schema import CreateTable

from dal.engine.dialect import Dialect
from dal.model import BinaryUUID, ExactNumeric, Timestamps, UTCDateTime, UUIDKey, Versioned, uuid7
from dal.model.uuids import _Clock


def fields(key):
    number = key.int
    return {
        "millisecond": number >> 80,
        "version": number >> 76 & 0xF,
        "counter": (number >> 64 & 0xFFF) << 30 | (number >> 32 & (1 << 30) - 1),
        "variant": number >> 62 & 0b11,
        "tail": number & 0xFFFFFFFF,
    }


class TestUUID7:
    def test_has_the_fields_of_the_rfc(self):
        before = time.time_ns() // 1_000_000
        found = fields(uuid7())
        assert before <= found["millisecond"] <= time.time_ns() // 1_000_000 + 1
        assert (found["version"], found["variant"]) == (7, 0b10)
        assert uuid7().version == 7
        assert uuid7().variant == uuid.RFC_4122

    def test_grows_within_a_process_whatever_the_thread(self):
        made = []

        def make():
            mine = [uuid7() for _ in range(5_000)]
            assert mine == sorted(mine)
            made.extend(mine)

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 20_000

    def test_grows_though_the_clock_is_set_back(self, monkeypatch):
        clock = _Clock()
        moments = iter([2_000_000_000, 1_000_000_000, 2_000_000_000, 3_000_000_000])
        monkeypatch.setattr(time, "time_ns", lambda: next(moments))
        made = [clock.next()[:2] for _ in range(4)]
        assert made == sorted(set(made))
        assert [millisecond for millisecond, _ in made] == [2000, 2000, 2000, 3000]

    def test_goes_to_the_next_millisecond_when_one_is_full(self, monkeypatch):
        clock = _Clock()
        monkeypatch.setattr(time, "time_ns", lambda: 2_000_000_000)
        first = clock.next()
        clock._counter = (1 << 42) - 1
        full = clock.next()
        assert first < full
        assert full[:2] == (2001, 0)

    def test_starts_each_millisecond_at_random_with_room_to_count(self, monkeypatch):
        counters = set()
        for moment in range(50):
            clock = _Clock()
            monkeypatch.setattr(time, "time_ns", lambda moment=moment: (moment + 1) * 1_000_000)
            counters.add(clock.next()[1])
        assert len(counters) == 50
        assert max(counters) < 1 << 41

    def test_takes_its_last_bits_from_the_system_for_every_key(self, monkeypatch):
        """A copy of this process, restored elsewhere, goes on otherwise."""
        clock = _Clock()
        monkeypatch.setattr(time, "time_ns", lambda: 2_000_000_000)
        clock.next()
        state = (clock._millisecond, clock._counter)
        here = clock.next()
        clock._millisecond, clock._counter = state
        there = clock.next()
        assert here[:2] == there[:2]
        assert here[2] != there[2]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_differs_after_a_fork(self):
        uuid7()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"".join(uuid7().bytes for _ in range(100)))
            os._exit(0)
        mine = {uuid7().bytes for _ in range(100)}
        os.waitpid(child, 0)
        data = os.read(reading, 1600)
        theirs = {data[start : start + 16] for start in range(0, 1600, 16)}
        assert len(mine | theirs) == 200
        os.close(reading)
        os.close(writing)


def ddl(model):
    return " ".join(str(CreateTable(model.__table__).compile(dialect=Dialect())).split())


@pytest.fixture
def note():
    class Base(DeclarativeBase):
        pass

    class Note(UUIDKey, Timestamps, Versioned, Base):
        __tablename__ = "note"
        text: Mapped[str] = mapped_column(sa.String(50))
        price: Mapped[object] = mapped_column(ExactNumeric(10, 2))
        at: Mapped[object] = mapped_column(UTCDateTime)

    configure_mappers()
    return Note


class TestMixins:
    def test_make_these_columns(self, note):
        now = "CURRENT_TIMESTAMP(6)"
        created = ddl(note)
        for column in (
            "id BINARY(16) NOT NULL",
            "price NUMERIC(10, 2)",
            "at DATETIME(6)",
            f"created_at DATETIME(6) NOT NULL DEFAULT {now}",
            f"updated_at DATETIME(6) NOT NULL DEFAULT {now} ON UPDATE {now}",
            "version INTEGER NOT NULL DEFAULT 1",
        ):
            assert column in created
        assert created.index("id BINARY") < created.index("text VARCHAR")
        assert created.index("text VARCHAR") < created.index("created_at")

    def test_name_the_version_to_sqlalchemy(self, note):
        assert sa.inspect(note).version_id_col is note.__table__.c.version

    def test_give_an_instance_its_key_unless_it_brings_one(self, note):
        assert note(text="x").id.version == 7
        mine = uuid.UUID(int=5)
        assert note(id=mine).id == mine


@pytest.mark.parametrize("kind", [UTCDateTime(), BinaryUUID(), ExactNumeric(10, 2)])
def test_types_may_be_cached_and_shown(kind):
    assert kind.cache_ok
    assert repr(kind).startswith(type(kind).__name__)
    assert sa.select(sa.column("x", kind))._generate_cache_key() is not None


def test_exact_numbers_of_another_scale_are_another_type():
    keys = {ExactNumeric(10, scale)._static_cache_key for scale in (2, 3)}
    assert len(keys) == 2
