"""A million sessions are listed and counted in bounded memory, and nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionRecord, SQLiteSessionAdapter
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis.records import encode
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.long

MILLION = 1_000_000
RECORD = SessionRecord(b"x" * 100, 1, time.time(), None)

MAX_GROWTH_MB = 48
"""For Redis a digest of each key; else a page, and what a process takes from the system in one go."""


def resident_mb() -> float:
    """The memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def check(adapter: SessionAdapter) -> None:
    """List and count, beside loads one after the other."""
    stop, slowest = asyncio.Event(), 0.0

    async def load() -> None:
        nonlocal slowest
        while not stop.is_set():
            began = time.perf_counter()
            assert await adapter.load("nobody") is None
            slowest = max(slowest, time.perf_counter() - began)
            await asyncio.sleep(0.001)

    loading = asyncio.create_task(load())
    before, growth, number = resident_mb(), 0.0, 0
    async for _ in adapter.scan():
        number += 1
        if number % 50_000 == 0:
            growth = max(growth, resident_mb() - before)
    assert number == await adapter.count() == MILLION
    stop.set()
    await loading
    assert growth < MAX_GROWTH_MB
    assert slowest < 1.0


async def test_memory() -> None:
    """In this process."""
    adapter = MemorySessionAdapter(expiration=None)
    for number in range(MILLION):
        await adapter.create(f"{number:064}", RECORD)
    await check(adapter)


async def test_sqlite(tmp_path: Path) -> None:
    """In a file."""
    adapter = SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF")
    await adapter.open()
    with sqlite3.connect(adapter.path) as database:
        database.executemany(
            "INSERT INTO sessions VALUES (?, ?, 1, ?, NULL, NULL, 0)",
            ((f"{number:064}", RECORD.payload, RECORD.created_at) for number in range(MILLION)),
        )
    database.close()
    await check(adapter)
    await adapter.close()


async def test_redis(redis_server: RedisServer) -> None:
    """On a Redis server."""
    adapter = RedisSessionAdapter(redis_server.url, prefix="million:")
    await adapter.open()
    data = encode(RECORD)
    async with Redis.from_url(redis_server.url) as client:
        for start in range(0, MILLION, 10_000):
            await client.mset({f"million:s:{number:064}": data for number in range(start, start + 10_000)})
        await check(adapter)
        await adapter.close()
        await client.flushdb()


async def test_postgres(postgres_server: PostgresServer) -> None:
    """In a PostgreSQL table."""
    adapter = PostgresSessionAdapter(postgres_server.dsn, table="million", create_schema=True)
    await adapter.open()
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(
        "INSERT INTO million SELECT lpad(n::text, 64, '0')::bytea, $1, 1, $2, NULL, NULL, false "
        "FROM generate_series(1, 1000000) n".replace("$1", f"'{RECORD.payload.decode()}'").replace("$2", "1e9")
    )
    await check(adapter)
    await adapter.close()
    await connection.execute("DROP TABLE million")
    await connection.close()
