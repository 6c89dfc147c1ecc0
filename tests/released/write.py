"""Writes what ``version_1_0.json`` holds: sessions on every store, as the version that is imported keeps them.

``python -m tests.released.write`` with a checkout of version 1.0 in front of everything on ``PYTHONPATH``, and this
folder copied into its ``tests``. A clock that stands still and identifiers that can be told make it the same each time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from aiohttp_spry_session import SessionAdapter, SessionManager, SQLiteSessionAdapter, __version__, get_session, setup
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from tests.servers.run import started

NOW = 1_700_000_000.25
DAY = 24 * 60 * 60
VALUES = {"cart": [{"name": "tea", "price": 2.5}], "n": 17, "note": None, "\u00e9\U0001f600": "\u00fc" * 40, "": True}


async def write(adapter: SessionAdapter) -> None:
    """Let visitors come: one who looks around, one who signs in, one whose session is rotated, one with nothing in it.

    Each one's identifier begins with their name; the number after it counts the rotations.
    """
    clock = FakeClock(NOW)
    names: list[str] = []
    manager = SessionManager(adapter, clock=clock, identifier_generator=lambda: names.pop(0))

    async def visitor(request: web.Request) -> web.Response:
        for key, value in VALUES.items():
            await get_session(request).set(key, value)
        return web.Response()

    async def signed_in(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("n", 1)
        await session.save()
        await session.bind("ada")
        clock.advance(30)
        await session.increment("n")
        return web.Response()

    async def rotated(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("n", 3)
        await session.save()
        await session.rotate(grace=300 * DAY)
        return web.Response()

    async def empty(request: web.Request) -> web.Response:
        await get_session(request).bind("ada")
        return web.Response()

    app = web.Application()
    setup(app, manager)
    handlers = (visitor, signed_in, rotated, empty)
    app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in handlers])
    async with TestClient(TestServer(app)) as client:
        for handler in handlers:
            names[:] = [f"{handler.__name__}-{number}-{'x' * 22}" for number in range(4)]
            client.session.cookie_jar.clear()
            assert (await client.get(f"/{handler.__name__}")).status == 200


def text(data: bytes | None) -> str | None:
    """Return bytes as JSON can hold them."""
    return None if data is None else base64.b64encode(data).decode()


async def on_sqlite() -> str | None:
    """Return the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        await write(SQLiteSessionAdapter(path, expiration=400 * DAY))
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return text(zlib.compress(path.read_bytes(), 9))


async def on_redis() -> dict[str, Any]:
    """Return keys with their values, or the members and scores of a sorted set; the prefix is ``p:``."""
    with started("redis") as server:
        await write(RedisSessionAdapter(server.url, prefix="p:", expiration=400 * DAY))
        kept: dict[str, Any] = {}
        async with Redis.from_url(server.url) as client:
            for key in sorted(await client.keys("*")):
                if await client.type(key) == b"string":
                    kept[key.decode()] = text(await client.get(key))
                else:
                    members = await client.zrange(key, 0, -1, withscores=True)
                    kept[key.decode()] = [[text(member), score] for member, score in members]
    return kept


async def on_postgres() -> list[list[Any]]:
    """Return the rows: the columns in the order of the table."""
    with started("postgres") as server:
        await write(PostgresSessionAdapter(server.dsn, create_schema=True, expiration=400 * DAY))
        connection = await asyncpg.connect(server.dsn)
        rows = await connection.fetch("SELECT * FROM sessions ORDER BY handle")
        await connection.close()
        return [[text(value) if isinstance(value, bytes) else value for value in row] for row in rows]


async def main() -> None:
    """Write everything to standard output."""
    kept = {
        "version": __version__,
        "sqlite": await on_sqlite(),
        "redis": await on_redis(),
        "postgres": await on_postgres(),
    }
    json.dump(kept, sys.stdout, indent=1)


if __name__ == "__main__":
    asyncio.run(main())
