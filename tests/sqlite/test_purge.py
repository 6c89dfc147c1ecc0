"""Purging a SQLite file: in short steps, which nobody has to wait for."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time

import pytest

from aiohttp_spry_session import AdapterError, SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import adapter as sqlite
from aiohttp_spry_session.testing.contract.base import a_record, opened

from .support import query


async def fill(adapter, clock, count):
    await asyncio.gather(*(adapter.create(f"{number}", a_record(clock)) for number in range(count)))
    clock.advance(1200)


@pytest.fixture
def steps(monkeypatch):
    """Record the steps of purges; each takes as long as is said in the second list, or else 3 ms."""
    steps, seconds = [], []
    step_really = sqlite.purge_step

    def purge_step(database, now, step, synchronous):
        steps.append(step)
        removed, _ = step_really(database, now, step, synchronous)
        return removed, seconds.pop(0) if seconds else 0.003

    monkeypatch.setattr(sqlite, "purge_step", purge_step)
    return steps, seconds


async def test_purge_goes_in_steps(adapter, clock, steps):
    """A step deletes a hundred at first, and the last one finds fewer than it may delete."""
    await fill(adapter, clock, 250)
    assert await adapter.purge() == 250
    assert steps[0] == [100, 100, 100]
    assert await adapter.purge() == 0
    assert query(adapter.path, "SELECT count(*) FROM sessions") == [(0,)]


async def test_a_last_step_that_was_full_is_followed_by_an_empty_one(adapter, clock, steps):
    """Only fewer than it may delete says that nothing is left."""
    await fill(adapter, clock, 100)
    assert await adapter.purge() == 100
    assert steps[0] == [100, 100]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.003], [100, 100]),
        ([0.001], [100, 300]),
        ([0.0001], [100, 1000]),
        ([0.0], [100, 1000]),
        ([0.006], [100, 50]),
        ([1.0], [100, 10]),
        ([0.012, 0.0015], [100, 25, 50]),
    ],
)
async def test_a_step_is_as_large_as_goes_in_three_milliseconds(adapter, clock, steps, seconds, expected):
    """A slow disk gets smaller steps, and a fast one larger ones, within bounds."""
    await fill(adapter, clock, 160)
    steps[1].extend(seconds)
    assert await adapter.purge() == 160
    assert steps[0][: len(expected)] == expected


@pytest.mark.parametrize(
    ("failing", "purged", "expected"),
    [([0], True, [100, 10]), ([0, 1], False, [100, 10]), ([0, 2], True, [100, 10, 1000, 10])],
)
async def test_a_step_without_space_is_followed_by_a_small_one(adapter, clock, monkeypatch, failing, purged, expected):
    """On a full disk the log begins anew first; where that does not help either, the purge fails."""
    await fill(adapter, clock, 160)
    full = sqlite3.OperationalError("full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    steps, restarts = [], []
    step_really = sqlite.purge_step

    def purge_step(database, now, step, synchronous):
        steps.append(step)
        if len(steps) - 1 in failing:
            raise full
        return step_really(database, now, step, synchronous)[0], 1e-5

    monkeypatch.setattr(sqlite, "purge_step", purge_step)
    monkeypatch.setattr(sqlite, "restart_log", restarts.append)
    if purged:
        assert await adapter.purge() == 160
    else:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await adapter.purge()
    assert steps[: len(expected)] == expected
    assert len(restarts) == expected.count(10)


async def test_a_step_says_how_long_it_took(adapter, clock):
    """In seconds: no more than passed for its caller, and more than nothing."""
    await fill(adapter, clock, 100)
    started = time.perf_counter()
    removed, seconds = await adapter._writer.perform(sqlite.purge_step, clock(), 60, "OFF")
    assert removed == 60
    assert 0 < seconds <= time.perf_counter() - started


async def test_others_get_their_turn_between_the_steps(adapter, clock, steps):
    """What arrives while a purge is under way is carried out before the purge is over."""
    await fill(adapter, clock, 500)
    purging = asyncio.ensure_future(adapter.purge())
    await asyncio.sleep(0)
    assert await adapter.create("new", a_record(clock)) is True
    assert not purging.done()
    assert await purging == 500


@pytest.mark.parametrize(("synchronous", "meanwhile"), [("FULL", 1), ("EXTRA", 1), ("NORMAL", 1), ("OFF", 0)])
async def test_a_purge_does_not_wait_for_the_disk_and_everything_else_does_as_before(
    path, clock, monkeypatch, synchronous, meanwhile
):
    """Only while a step runs a power cut may undo it; a step that fails changes that as little as one that succeeds."""

    def purge(database, now, step):
        levels.append(level(database))
        raise sqlite3.OperationalError("disk I/O error")

    def level(database):
        return database.execute("PRAGMA synchronous").fetchone()[0]

    levels = []
    async with opened(SQLiteSessionAdapter(path, synchronous=synchronous), clock) as adapter:
        before = await adapter._writer.perform(level)
        await fill(adapter, clock, 1)
        assert await adapter.purge() == 1
        monkeypatch.setattr(sqlite.statements, "purge", purge)
        with pytest.raises(sqlite3.OperationalError):
            await adapter.purge()
        assert levels == [meanwhile]
        assert await adapter._writer.perform(level) == before


@pytest.mark.parametrize("checkpoint_is_due", [False, True])
async def test_a_purge_that_is_overtaken_by_closing_ends(path, clock, monkeypatch, caplog, checkpoint_is_due):
    """The step under way is finished, the next one is refused, and no checkpoint is tried on what is closed."""
    adapter = SQLiteSessionAdapter(path)
    adapter.clock = clock
    await adapter.open()
    await fill(adapter, clock, 500)
    if checkpoint_is_due:
        adapter._checkpoints.wrote(1450)
    loop, begun, may_go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    step_really = sqlite.purge_step

    def purge_step(*arguments):
        loop.call_soon_threadsafe(begun.set)
        assert may_go_on.wait(30)
        return step_really(*arguments)

    monkeypatch.setattr(sqlite, "purge_step", purge_step)
    purging = asyncio.ensure_future(adapter.purge())
    await begun.wait()
    closing_down = asyncio.ensure_future(adapter.close())
    await asyncio.sleep(0)
    may_go_on.set()
    await closing_down
    with pytest.raises(AdapterError, match="purge: the adapter is not open"):
        await purging
    assert query(path, "SELECT count(*) FROM sessions") == [(400,)]
    await asyncio.sleep(0)
    gc.collect()
    assert not caplog.records
