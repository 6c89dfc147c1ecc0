"""One store with so many sessions: filled, measured, and purged while the event loop is watched."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from aiohttp_spry_session import (
    Session,
    SessionAdapter,
    SessionManager,
    SessionRecord,
    adapter_from_url,
    generate_identifier,
)
from aiohttp_spry_session.adapters.sqlite import statements as sqlite_statements
from aiohttp_spry_session.codec import JSONCodec, pack
from aiohttp_spry_session.identifiers import handle_of

from ..support import arrive, session_of
from .cases import DATA
from .pauses import longest
from .results import best

T = TypeVar("T")

STORES = ("memory", "sqlite", "redis", "postgres")

_AT_ONCE = 32
_SAMPLE = 2048
_REPEATS = 7
_LIFETIME = 3600.0
_IDLE = 0.5

_MEMORY = Path("/proc/self/statm")


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


async def measure(name: str, url: str, size: int, choice: random.Random) -> dict[str, Any]:
    """Return the figures of one store with so many sessions."""
    adapter = adapter_from_url(url, expiration=_LIFETIME)
    clock = Clock()
    async with SessionManager(adapter, clock=clock) as manager:
        before = await _bytes(name, url)
        sample = await _fill(adapter, name, url, size, choice)
        used = await _bytes(name, url) - before
        operations = await _operations(manager, sample, 1 if name == "memory" else _AT_ONCE)
        clock.ahead = 2 * _LIFETIME
        idle = await longest(lambda: asyncio.sleep(_IDLE), adapter, new_record(clock()))
        purge_seconds, purging = 0.0, idle
        if name != "redis":  # which forgets by itself
            started = time.perf_counter()
            purging = await longest(manager.purge, adapter, new_record(clock()))
            purge_seconds = time.perf_counter() - started
    return {
        "operations": operations,
        "bytes": used / size if name != "memory" or size >= 100_000 else None,  # below, pages are too coarse
        "pause_idle": idle.pause * 1e3,
        "pause_purging": purging.pause * 1e3,
        "load_idle": idle.load * 1e3,
        "load_purging": purging.load * 1e3,
        "update_idle": idle.update * 1e3,
        "update_purging": purging.update * 1e3,
        "purge_seconds": purge_seconds,
    }


async def _fill(adapter: SessionAdapter, name: str, url: str, size: int, choice: random.Random) -> list[str]:
    """Store so many sessions; return the identifiers of some of them."""
    sample = set(choice.sample(range(size), min(size, _SAMPLE)))
    identifiers: list[str] = []

    def new(number: int) -> tuple[str, SessionRecord]:
        identifier = generate_identifier()
        if number in sample:
            identifiers.append(identifier)
        return handle_of(identifier), new_record(time.time())

    if name == "sqlite":
        await asyncio.to_thread(_fill_sqlite, url.removeprefix("sqlite:///"), map(new, range(size)))
        return identifiers
    for start in range(0, size, 256):
        await asyncio.gather(*(adapter.create(*new(number)) for number in range(start, min(size, start + 256))))
    return identifiers


def _fill_sqlite(path: str, records: Iterator[tuple[str, SessionRecord]]) -> None:
    """Fill the file in one transaction: a million of them one by one would take the most of the time."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN")
        for handle, record in records:
            sqlite_statements.create(database, time.time(), handle, record)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _operations(manager: SessionManager, sample: list[str], at_once: int) -> dict[str, float]:
    """Return microseconds of what a request does with a session, at the best of the repeats."""

    async def start(presented: str) -> Session:
        session = session_of(arrive(manager, ()))
        await session.set("user", presented)
        await session.save()
        return session

    async def read(presented: str) -> None:
        await session_of(arrive(manager, [presented])).get("user")

    async def write(presented: str) -> None:
        session = session_of(arrive(manager, [presented]))
        await session.set("visits", 1)
        await session.save()

    started: list[Session] = []

    async def destroy(_: str) -> None:
        await started.pop().destroy(regenerate=False)

    times: dict[str, list[float]] = {"read": [], "write": [], "start": [], "destroy": []}
    for _ in range(_REPEATS):
        times["read"].append((await _time(read, sample, at_once))[0])
        times["write"].append((await _time(write, sample, at_once))[0])
        micros, started = await _time(start, sample, at_once)
        times["start"].append(micros)
        times["destroy"].append((await _time(destroy, sample, at_once))[0])
    return {operation: best(found) for operation, found in times.items()}


async def _time(operation: Callable[[str], Awaitable[T]], sample: list[str], at_once: int) -> tuple[float, list[T]]:
    """Return microseconds an operation, and the results.

    One at a time is for a store in memory, where nothing is waited for: then processor time is what it costs.
    """
    results: list[T] = []
    clock = time.thread_time if at_once == 1 else time.perf_counter
    started = clock()
    if at_once == 1:
        for identifier in sample:
            results.append(await operation(identifier))  # noqa: PERF401 - a list's extend cannot await
    else:
        for start in range(0, len(sample), at_once):
            results += await asyncio.gather(*map(operation, sample[start : start + at_once]))
    return (clock() - started) / len(sample) * 1e6, results


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
