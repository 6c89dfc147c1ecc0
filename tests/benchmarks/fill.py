"""One store with so many sessions: filled, measured, and purged while the event loop is watched."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp_spry_session import SessionAdapter, SessionRecord, adapter_from_url
from aiohttp_spry_session.adapters import sqlite_statements
from aiohttp_spry_session.codec import JSONCodec, pack

from .cases import DATA
from .results import best

STORES = ("memory", "sqlite", "redis", "postgres")

_AT_ONCE = 32
_SAMPLE = 2048
_REPEATS = 7
_LIFETIME = 3600.0
_BEAT = 0.001

_MEMORY = Path("/proc/self/statm")
_SCHEDULING = Path("/proc/thread-self/schedstat")


class Clock:
    """The store's time, which can be moved past the end of its sessions."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def new_record(now: float) -> SessionRecord:
    """Return a record as a session makes it."""
    encode = JSONCodec().encode
    return SessionRecord(pack({key: encode(value) for key, value in DATA.items()}), 1, now, now + _LIFETIME)


def new_handle() -> str:
    """Return a handle as a session makes it."""
    return secrets.token_hex(32)


async def measure(name: str, url: str, size: int, choice: random.Random) -> dict[str, Any]:
    """Return the figures of one store with so many sessions."""
    adapter = adapter_from_url(url, expiration=_LIFETIME)
    adapter.clock = clock = Clock()
    await adapter.open()
    try:
        before = await _bytes(name, url)
        sample = await _fill(adapter, name, url, size, choice)
        used = await _bytes(name, url) - before
        operations = await _operations(adapter, sample, 1 if name == "memory" else _AT_ONCE)
        idle = await _longest_pause(lambda: asyncio.sleep(0.5))
        purge_seconds, pause = 0.0, idle
        if name != "redis":  # which forgets by itself
            clock.ahead = 2 * _LIFETIME
            started = time.perf_counter()
            pause = await _longest_pause(adapter.purge)
            purge_seconds = time.perf_counter() - started
    finally:
        await adapter.close()
    return {
        "operations": operations,
        "bytes": used / size if name != "memory" or size >= 100_000 else None,  # below, pages are too coarse
        "pause_idle": idle * 1e3,
        "pause_purging": pause * 1e3,
        "purge_seconds": purge_seconds,
    }


async def _fill(adapter: SessionAdapter, name: str, url: str, size: int, choice: random.Random) -> list[str]:
    """Store so many sessions; return the handles of some of them."""
    sample = set(choice.sample(range(size), min(size, _SAMPLE)))
    handles: list[str] = []

    def new(number: int) -> tuple[str, SessionRecord]:
        handle = new_handle()
        if number in sample:
            handles.append(handle)
        return handle, new_record(time.time())

    if name == "sqlite":
        await asyncio.to_thread(_fill_sqlite, url.removeprefix("sqlite:///"), map(new, range(size)))
        return handles
    for start in range(0, size, 256):
        await asyncio.gather(*(adapter.create(*new(number)) for number in range(start, min(size, start + 256))))
    return handles


def _fill_sqlite(path: str, records: Iterator[tuple[str, SessionRecord]]) -> None:
    """Fill the file in one transaction: a million of them one by one would take the most of the time."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN")
        for handle, record in records:
            sqlite_statements.create(database, time.time(), handle, record)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _operations(adapter: SessionAdapter, sample: list[str], at_once: int) -> dict[str, float]:
    """Return microseconds of each operation, at the best of the repeats."""
    times: dict[str, list[float]] = {"load": [], "update": [], "create": [], "destroy": []}
    for version in range(2, 2 + _REPEATS):
        record = new_record(time.time())
        updated = SessionRecord(record.payload, version, record.created_at, record.expires_at)
        new = [new_handle() for _ in sample]
        times["load"].append(await _time(adapter.load, at_once, sample))
        times["update"].append(await _time(adapter.update, at_once, sample, updated))
        times["create"].append(await _time(adapter.create, at_once, new, record))
        times["destroy"].append(await _time(adapter.destroy, at_once, new))
    return {operation: best(found) for operation, found in times.items()}


async def _time(
    operation: Callable[..., Awaitable[object]], at_once: int, handles: list[str], *arguments: object
) -> float:
    started = time.perf_counter()
    if at_once == 1:
        for handle in handles:
            await operation(handle, *arguments)
    else:
        for start in range(0, len(handles), at_once):
            await asyncio.gather(*(operation(handle, *arguments) for handle in handles[start : start + at_once]))
    return (time.perf_counter() - started) / len(handles) * 1e6


async def _longest_pause(work: Callable[[], Awaitable[object]]) -> float:
    """Return for how long the event loop did not run others, at most, while the work was going on; in seconds.

    The time for which other programs kept the processor from its thread is taken off, where the system tells it.
    """
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            started, kept_off = time.perf_counter(), _kept_off()
            await asyncio.sleep(_BEAT)
            paused = time.perf_counter() - started - _BEAT
            longest = max(longest, paused - (_kept_off() - kept_off))

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0)
    await work()
    heart.cancel()
    return longest


def _kept_off() -> float:
    """Return for how many seconds this thread has been ready to run, and did not, because the processors were taken."""
    try:
        return int(_SCHEDULING.read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


async def _bytes(name: str, url: str) -> int:
    """Return what the store takes: of this process's memory, of the disk, of the server's memory or disk."""
    if name == "memory":
        return _resident()
    if name == "sqlite":
        return os.stat(url.removeprefix("sqlite:///")).st_size
    if name == "redis":
        from redis.asyncio import Redis

        async with Redis.from_url(url) as client:
            return int((await client.info("memory"))["used_memory"])
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT pg_total_relation_size('sessions')"))
    finally:
        await connection.close()


def _resident() -> int:
    return int(_MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
