"""What the SQLite adapter tells other processes: a table beside the sessions, which release 1.0 does not know."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.adapters.hints import closing as closing_hints
from aiohttp_spry_session.adapters.sqlite import hints as sqlite_hints
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing.contract.base import a_record, opened, rotate

from ..support import heard, listening
from .support import NEWEST, make_file, query


@pytest.fixture(autouse=True)
def looks(monkeypatch):
    monkeypatch.setattr(sqlite_hints, "LOOK_SECONDS", 0.01)


def ended(path):
    return [row[0].decode() for row in query(path, "SELECT handle FROM ended ORDER BY id")]


async def test_only_what_ends_is_told(adapter, path, clock):
    """Plain writes leave the table alone."""
    record = a_record(clock)
    for handle in "abc":
        await adapter.create(handle, record)
    await adapter.update("a", replace(record, version=2))
    await adapter.renew("a", None)
    assert ended(path) == []
    await adapter.update("a", retire(replace(record, version=4), "", now=clock()))
    await rotate(adapter, "b", "d", replace(record, version=2))
    await adapter.destroy("c")
    assert ended(path) == ["a", "b", "c"]


async def test_another_process_is_told_within_two_looks(adapter, path, clock):
    """What it ends, and nothing else."""
    async with opened(SQLiteSessionAdapter(path, synchronous="OFF"), clock) as other:
        for handle in "ab":
            await adapter.create(handle, a_record(clock))
        async with listening(adapter) as hints:
            await other.update("a", a_record(clock, version=2))
            await other.destroy("a")
            assert await heard(hints) == "a"
            await other.destroy("b")
            assert await heard(hints) == "b"


async def test_a_file_that_nobody_writes_is_not_read(adapter, clock, monkeypatch):
    """Twice a second costs nothing but a look at its version."""
    quiet = asyncio.Event()
    look = sqlite_hints._look

    def watched(database, seen):
        answer = look(database, seen)
        if seen == answer[:2]:
            quiet.set()
        return answer

    async with listening(adapter):
        monkeypatch.setattr(sqlite_hints, "_look", watched)
        await asyncio.wait_for(quiet.wait(), 30)


async def test_what_is_older_than_a_minute_goes_by_itself(adapter, path, clock):
    """With each end a few more rows than it adds; the newest stays, so that numbers go on."""
    for number in range(40):
        await adapter.destroy(f"{number:02}")
    assert len(ended(path)) == 40
    clock.advance(61)
    for number in range(40, 45):
        await adapter.destroy(f"{number:02}")
    assert ended(path) == ["40", "41", "42", "43", "44"]
    clock.advance(61)
    await adapter.destroy("45")
    assert ended(path) == ["45"]
    assert query(path, "SELECT id FROM ended") == [(46,)]


async def test_who_missed_more_than_a_minute_looks_at_everything(adapter, path, clock):
    """Rows are gone that were never read."""
    async with listening(adapter) as hints:
        with closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO ended VALUES (7, 'g', 0.0)")
            database.commit()
        assert await heard(hints) is None
        with closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO ended VALUES (8, 'h', 0.0)")
            database.commit()
        assert await heard(hints) == "h"


async def test_a_file_of_release_1_0_is_opened(path, clock):
    """The table is made beside it; the schema's version stays, for 1.0 may have the file open, or open it again."""
    make_file(path)
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        await adapter.create("a", a_record(clock))
        async with listening(adapter):
            assert await adapter.destroy("a")
    assert ended(path) == ["a"]
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]


async def test_a_table_that_cannot_be_made(path, clock, monkeypatch, caplog):
    """As on a full disk: sessions work, the log says it once, and there are no hints."""
    monkeypatch.setattr(sqlite_hints, "_TABLE", "CREATE TABLE ended (")
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        await adapter.create("a", a_record(clock))
        assert await adapter.destroy("a")
        for _ in range(2):
            async with closing_hints(adapter.hints()) as hints:
                assert await heard(hints) == "the end"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert query(path, "SELECT name FROM sqlite_master WHERE name = 'ended'") == []


async def test_a_table_that_went_away_ends_all_the_same(adapter, path, clock):
    """A logout needs nothing but the sessions."""
    await adapter.create("a", a_record(clock))
    query(path, "DROP TABLE ended")
    assert await adapter.destroy("a")
    assert await adapter.load("a") is None


async def test_a_failure_is_followed_by_everything(adapter, path, clock):
    """What could not be read may be anything."""
    async with listening(adapter) as hints:
        query(path, "ALTER TABLE ended RENAME TO elsewhere")
        query(path, "UPDATE elsewhere SET at = 0")
        await asyncio.sleep(0.03)
        query(path, "ALTER TABLE elsewhere RENAME TO ended")
        assert await heard(hints) is None
        await adapter.destroy("a")
        assert await heard(hints) == "a"


async def test_a_file_that_was_replaced_is_followed_by_everything(adapter, path, clock):
    """The purge opens it anew, and who listens goes on."""
    async with listening(adapter) as hints:
        os.rename(path, f"{path}.moved")
        await adapter.purge()
        assert await heard(hints) is None
        await adapter.destroy("a")
        assert await heard(hints) == "a"


async def test_sessions_in_memory_are_told_of_at_once(clock):
    """There is no other process."""
    async with opened(SQLiteSessionAdapter(":memory:"), clock) as adapter, listening(adapter) as hints:
        await adapter.create("a", a_record(clock))
        await adapter.destroy("a")
        assert await heard(hints) == "a"
