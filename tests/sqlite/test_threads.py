"""The threads of the SQLite adapter: hanging, forgotten, logged by aiosqlite."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.testing.contract.base import a_record, opened, rotate

SECRET = b"whatever somebody stored"


async def test_a_thread_that_hangs_holds_one_batch(adapter, clock):
    """Writes that are given up while the disk hangs leave no payload behind; the next one that waits is carried out."""
    hanging, may_go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hang(database):
        loop.call_soon_threadsafe(hanging.set)
        assert may_go_on.wait(30)

    stuck = asyncio.ensure_future(adapter._writer.perform(hang))
    await hanging.wait()
    record = replace(a_record(clock), payload=bytes(100_000))
    held = sys.getrefcount(record)  # by this test, and by the question: how often differs between versions of Python
    in_flight = asyncio.ensure_future(adapter.create("a", a_record(clock)))
    for _ in range(3):
        await asyncio.sleep(0)
    writes = [asyncio.ensure_future(adapter.create(f"{number}", record)) for number in range(2000)]
    await asyncio.sleep(0)
    assert sys.getrefcount(record) > 2000
    for write in writes:
        write.cancel()
    await asyncio.wait(writes)
    del write, writes  # whose tracebacks hold it
    assert sys.getrefcount(record) == held
    waiting = asyncio.ensure_future(adapter.create("b", record))
    may_go_on.set()
    await stuck
    assert await in_flight is await waiting is True
    assert await adapter.load("0") is None


FORGETFUL = """
import asyncio, sys
from aiohttp_spry_session import SessionRecord, SQLiteSessionAdapter

async def main():
    adapter = SQLiteSessionAdapter(sys.argv[1])
    await adapter.open()
    await adapter.create("a", SessionRecord(b"", 1, adapter.clock(), None))
    return adapter

adapter = asyncio.run(main())
print("over", flush=True)
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "del adapter"])
async def test_a_process_whose_author_forgot_to_close_ends(path, clock, end):
    """No thread keeps it alive, and what was stored is there for the next one."""
    command = [sys.executable, "-c", FORGETFUL + end, str(path)]
    ended = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, timeout=30, cwd=Path(__file__).parents[2], check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (3 if "3" in end else 0, b"over")
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        assert await adapter.load("a") is not None


async def test_no_thread_of_a_connection_outlives_the_process(adapter):
    """Each is a daemon, in the releases of aiosqlite in which a connection is a thread, too."""
    threads = [getattr(connection, "_thread", connection) for connection in adapter._connections]
    assert len(threads) == 3
    assert all(thread.daemon for thread in threads)


async def test_aiosqlites_log_shows_no_payload(adapter, clock, caplog):
    """At its most talkative it prints the arguments of every call: none of them shows what a session holds."""
    caplog.set_level(logging.DEBUG)
    record = a_record(clock, SECRET, owner="ada")
    await adapter.create("a", record)
    await asyncio.gather(adapter.load("a"), adapter.load("b"), adapter.find("ada"))
    await adapter.update("a", replace(record, version=2))
    await adapter.renew("a", None)
    await rotate(adapter, "a", "b", replace(record, version=4), grace=9.0)
    with contextlib.suppress(OverflowError):
        await adapter.update("b", replace(record, version=2**70))
    with contextlib.suppress(UnicodeEncodeError):
        await adapter.create("c", replace(record, owner="\ud800"))
    await asyncio.gather(adapter.create("c", record), adapter.destroy("b"))
    await adapter.purge()
    await adapter._checkpoint()
    for function in ("run_in_room", "load_together", "find", "purge_step", "checkpoint"):
        assert f"executing functools.partial(<function {function} at " in caplog.text
    assert f"payload=<{len(SECRET)} bytes>" in caplog.text
    assert SECRET.decode() not in caplog.text
