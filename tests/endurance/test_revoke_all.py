"""A hundred thousand sessions are ended beside requests that go on."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionAdapter,
    SessionError,
    SessionEvent,
    SessionManager,
    SessionRecord,
    SQLiteSessionAdapter,
)
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.identifiers import handle_of
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

from ..support import arrive, session_of

pytestmark = pytest.mark.long

MANY = 100_000
AT_ONCE = 2000
MOVING = 10


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionAdapter]:
    """A store of each kind, empty and open."""
    name = secrets.token_hex(4)
    adapter: SessionAdapter = MemorySessionAdapter()
    if request.param == "sqlite":
        adapter = SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF")
    elif request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        adapter = RedisSessionAdapter(server.url, prefix=f"{name}:")
    elif request.param == "postgres":
        database: PostgresServer = request.getfixturevalue("postgres_server")
        adapter = PostgresSessionAdapter(database.dsn, schema=f"test_{name}", create_schema=True)
    await adapter.open()
    yield adapter
    await adapter.close()


async def test_everybody_is_signed_out(adapter: SessionAdapter) -> None:
    """Those who rotate all the time too; each end is told once."""
    manager = SessionManager(adapter, timeout=60)
    record = SessionRecord(pack({}), 1, time.time(), time.time() + 3600)
    for _ in range(MANY // AT_ONCE):
        handles = (secrets.token_hex(32) for _ in range(AT_ONCE))
        assert all(await asyncio.gather(*(adapter.create(handle, record) for handle in handles)))
    identifiers = [secrets.token_urlsafe(32) for _ in range(MOVING)]
    await asyncio.gather(*(adapter.create(handle_of(identifier), record) for identifier in identifiers))
    told: list[str] = []

    async def receive(event: SessionEvent) -> None:
        told.append(event.handle)

    async def move(identifier: str) -> None:
        while True:
            await asyncio.sleep(0)  # a store in memory lets nobody else go on
            session = session_of(arrive(manager, [identifier]))
            await session.load()
            if session.created_at is None:
                return
            try:
                await session.rotate()
            except SessionError:
                return
            identifier = session.identifier

    manager.on_destroyed.append(receive)
    moving = [asyncio.create_task(move(identifier)) for identifier in identifiers]
    began = time.perf_counter()
    ended = await manager.revoke_all()
    print(f"{ended} ended in {time.perf_counter() - began:.1f} s")
    await asyncio.gather(*moving)
    assert ended == MANY + MOVING
    assert len(told) == len(set(told)) == ended
    assert await manager.count() == 0
