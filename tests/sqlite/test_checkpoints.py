"""Moving SQLite's log into the file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import checkpoints as sqlite_checkpoints
from aiohttp_spry_session.adapters.sqlite.checkpoints import LONG_LOG, MAX_LOG, Checkpoints
from aiohttp_spry_session.testing.contract.base import a_record, opened

from .support import query

ROWS = sqlite_checkpoints._ROWS


class Log:
    """Stands for the connection: each checkpoint waits for ``gate``, and finds so many pages."""

    def __init__(self):
        self.pages = 100
        self.begun = 0
        self.gate = asyncio.Event()

    async def move(self):
        self.begun += 1
        await self.gate.wait()
        if isinstance(self.pages, Exception):
            raise self.pages
        return self.pages


@pytest.fixture
def log():
    return Log()


async def turns():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_it_is_moved_each_time_that_enough_was_written(log):
    """Not before, and never twice at a time; what was written meanwhile counts for the next."""
    checkpoints = Checkpoints(log.move)
    checkpoints.wrote(ROWS - 1)
    await turns()
    assert log.begun == 0
    checkpoints.wrote(1)
    checkpoints.wrote(ROWS - 1)
    checkpoints.wrote(1)
    await turns()
    assert log.begun == 1
    log.gate.set()
    await checkpoints.drain()
    checkpoints.wrote(1)
    await checkpoints.drain()
    assert log.begun == 2
    checkpoints.wrote(ROWS - 1)
    await turns()
    assert log.begun == 2


async def test_who_can_wait_waits_while_another_is_due(log):
    """A purge that writes faster than the log is moved is held up, and one that does not is not."""
    checkpoints = Checkpoints(log.move)
    await checkpoints.catch_up()
    checkpoints.wrote(ROWS)
    checkpoints.wrote(ROWS - 1)
    await checkpoints.catch_up()
    checkpoints.wrote(1)
    waiting = asyncio.ensure_future(checkpoints.catch_up())
    await turns()
    assert not waiting.done()
    log.gate.set()
    await waiting
    assert log.begun == 1


async def test_who_can_wait_waits_until_a_long_log_begins_anew(log):
    """While the log is long each step of a purge has it moved first."""
    checkpoints = Checkpoints(log.move)
    log.gate.set()
    log.pages = LONG_LOG
    checkpoints.wrote(ROWS)
    await checkpoints.drain()
    await checkpoints.catch_up()
    assert log.begun == 2
    log.pages = LONG_LOG - 1
    await checkpoints.catch_up()
    assert log.begun == 3
    await checkpoints.catch_up()
    assert log.begun == 3


async def test_who_stops_waiting_does_not_stop_it(log):
    """Cancelled waiters leave the checkpoint to its end."""
    checkpoints = Checkpoints(log.move)
    checkpoints.wrote(2 * ROWS)
    checkpoints.wrote(ROWS)
    waiting = [asyncio.ensure_future(checkpoints.drain()), asyncio.ensure_future(checkpoints.catch_up())]
    await turns()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    log.gate.set()
    await checkpoints.drain()
    assert log.begun == 1


async def test_one_that_fails_is_logged_and_the_next_tries_again(log, caplog):
    """Nobody's operation fails with it: what could not be moved stays in the log."""
    checkpoints = Checkpoints(log.move)
    log.gate.set()
    log.pages = sqlite3.OperationalError("disk I/O error")
    checkpoints.wrote(ROWS)
    await checkpoints.drain()
    assert caplog.messages == ["a checkpoint failed"]
    assert caplog.records[0].exc_info[1] is log.pages
    log.pages = 1
    checkpoints.wrote(ROWS)
    await checkpoints.drain()
    assert log.begun == 2
    assert len(caplog.messages) == 1


async def test_what_was_written_comes_into_the_file(adapter, path, clock, tmp_path):
    """Without any close or purge: the file alone, without its log, has the sessions."""
    await asyncio.gather(*(adapter.create(f"{number}", a_record(clock)) for number in range(ROWS)))
    await adapter._checkpoints.drain()
    shutil.copy(path, tmp_path / "alone.db")
    assert query(tmp_path / "alone.db", "SELECT count(*) FROM sessions") == [(ROWS,)]


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("OFF", 0)])
async def test_a_checkpoint_is_as_durable_as_was_asked_for(path, clock, synchronous, level):
    """The log begins anew only when what it held is safe in the file."""
    async with opened(SQLiteSessionAdapter(path, synchronous=synchronous), clock) as adapter:
        assert await adapter._checkpoint() > 0
        assert adapter._mover._conn.execute("PRAGMA synchronous").fetchone() == (level,)


async def test_a_purge_takes_part(adapter, path, clock, tmp_path):
    """What it deletes counts as written, so that the log of a long purge is moved as well."""
    await asyncio.gather(*(adapter.create(f"{number}", a_record(clock)) for number in range(ROWS)))
    await adapter._checkpoints.drain()
    clock.advance(1200)
    assert await adapter.purge() == ROWS
    await adapter._checkpoints.drain()
    shutil.copy(path, tmp_path / "alone.db")
    ((left,),) = query(tmp_path / "alone.db", "SELECT count(*) FROM sessions")
    assert left < ROWS


async def test_a_write_moves_the_log_only_when_it_is_very_long(adapter):
    """SQLite's own automatic checkpoint stays as the last resort."""
    database = adapter._writer._conn
    assert database.execute("PRAGMA wal_autocheckpoint").fetchone() == (MAX_LOG,)


async def test_each_purge_moves_the_log(adapter, path, clock, tmp_path):
    """However little was written: what it held has its space in the file then."""
    await adapter.create("a", a_record(clock))
    assert await adapter.purge() == 0
    shutil.copy(path, tmp_path / "alone.db")
    assert query(tmp_path / "alone.db", "SELECT handle FROM sessions") == [("a",)]


async def test_one_that_is_under_way_is_waited_for_when_it_is_asked_for(log):
    """Two at a time would be of no use."""
    checkpoints = Checkpoints(log.move)
    moving = [asyncio.ensure_future(checkpoints.move()) for _ in range(2)]
    await turns()
    assert not any(move.done() for move in moving)
    log.gate.set()
    await asyncio.gather(*moving)
    assert log.begun == 1
