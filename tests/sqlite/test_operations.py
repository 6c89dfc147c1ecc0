"""The SQLite adapter at work: waiting, failing one by one, purging in steps, closing under way."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from aiohttp_spry_session import AdapterError, SessionManager, SQLiteSessionAdapter
from aiohttp_spry_session.testing.contract.base import a_record, rotate

from .support import no_thread_left, query

LONE_SURROGATE = "\ud800"
PAST_64_BITS = 2**63


async def test_a_writer_in_another_process_is_waited_for(adapter, path, clock, monkeypatch):
    """A lock that somebody holds for a moment costs time, and no error; reads do not even notice."""
    await adapter.create("a", a_record(clock))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = [
            asyncio.ensure_future(adapter.update("a", a_record(clock, b"new", version=2))),
            asyncio.ensure_future(adapter.create("b", a_record(clock))),
        ]
        for _ in range(20):
            assert (await adapter.load("a")).payload == b"data"
        assert not any(task.done() for task in writing)
        other.execute("COMMIT")
        assert await asyncio.gather(*writing) == [True, True]
    assert (await adapter.load("a")).payload == b"new"


async def test_a_cancelled_write_that_did_not_leave_never_happens(adapter, path, clock, batches):
    """A caller that gives up in time takes its operation back."""
    first = asyncio.ensure_future(adapter.create("a", a_record(clock)))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(adapter.create("b", a_record(clock)))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await first is True
    await adapter.destroy("c")
    assert batches == [["create"], ["destroy", "note"]]
    assert await adapter.load("b") is None


async def test_a_cancelled_write_that_left_is_whole(adapter, clock):
    """It may have been carried out, and then it was carried out completely."""
    record = a_record(clock)
    await adapter.create("old", record)
    rotation = asyncio.ensure_future(rotate(adapter, "old", "new", replace(record, version=2)))
    for _ in range(3):
        await asyncio.sleep(0)
    rotation.cancel()
    await asyncio.gather(rotation, return_exceptions=True)
    await adapter.destroy("something else")
    assert (await adapter.load("old")).retired
    assert await adapter.load("new") is not None


async def test_closing_carries_out_what_was_asked_for(path, clock):
    """Operations under way and those that wait are finished; later ones are refused, and nothing hangs."""
    adapter = SQLiteSessionAdapter(path)
    adapter.clock = clock
    with no_thread_left():
        await adapter.open()
        creating = [asyncio.ensure_future(adapter.create(f"{number}", a_record(clock))) for number in range(600)]
        loading = [asyncio.ensure_future(adapter.load(f"{number}")) for number in range(600)]
        finding = asyncio.ensure_future(adapter.find("ada"))
        await asyncio.sleep(0)
        closing_down = asyncio.ensure_future(adapter.close())
        await asyncio.sleep(0)
        with pytest.raises(AdapterError, match="not open"):
            await adapter.create("late", a_record(clock))
        with pytest.raises(AdapterError, match="not open"):
            await adapter.find("ada")
        await closing_down
        assert all(await asyncio.gather(*creating))
        await asyncio.gather(*loading)
        assert await finding == {}
    assert query(path, "SELECT count(*) FROM sessions") == [(600,)]


async def test_a_cancelled_close_still_closes(path, clock):
    """Whoever stops waiting for the end has the file closed all the same."""
    adapter = SQLiteSessionAdapter(path)
    adapter.clock = clock
    with no_thread_left():
        await adapter.open()
        creating = asyncio.ensure_future(adapter.create("a", a_record(clock)))
        await asyncio.sleep(0)
        closing_down = asyncio.ensure_future(adapter.close())
        await asyncio.sleep(0)
        closing_down.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing_down
        await asyncio.gather(creating, return_exceptions=True)
    with pytest.raises(AdapterError, match="not open"):
        await adapter.load("a")


def test_it_can_be_used_in_one_event_loop_after_the_other(path, clock):
    """Nothing of a past loop is kept."""
    manager = SessionManager(SQLiteSessionAdapter(path), clock=clock)

    async def main(number):
        async with manager:
            assert await manager.adapter.create(f"{number}", a_record(clock))
            assert await manager.adapter.load("0") is not None

    for number in range(3):
        asyncio.run(main(number))


async def test_a_rotation_takes_the_place_of_an_expired_record(adapter, path, clock):
    """What has expired and was not purged yet is not there: nothing of it remains under the new handle."""
    await adapter.create("new", a_record(clock, b"expired", lifetime=1.0, owner="bob"))
    await adapter.create("old", a_record(clock, owner="ada"))
    clock.advance(1)
    record = a_record(clock, owner="ada", version=2)
    assert await rotate(adapter, "old", "new", record)
    assert await adapter.load("new") == record
    assert await adapter.find("bob") == {}
