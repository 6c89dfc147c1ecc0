"""Fixtures for the Redis adapter: one on the run's server, with a prefix of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis.pipe import Pipe
from aiohttp_spry_session.testing import FakeClock
from tests.servers.redis import RedisServer

from .peer import Answer, Connect, Connection, Peer
from .visits import Serve, application


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"{secrets.token_hex(4)}:"


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client to look at what is kept, and to spoil it."""
    async with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
async def adapter(redis_server: RedisServer, prefix: str, clock: FakeClock) -> AsyncIterator[RedisSessionAdapter]:
    """An open adapter."""
    adapter = RedisSessionAdapter(redis_server.url, prefix=prefix)
    adapter.clock = clock
    await adapter.open()
    yield adapter
    await adapter.close()


@pytest.fixture
def record(clock: FakeClock) -> Callable[..., SessionRecord]:
    """Make a record that ends in 100 s, unless told otherwise."""

    def make(version: int = 1, **changes: Any) -> SessionRecord:
        values = {"payload": b"data", "created_at": clock.now, "expires_at": clock.now + 100.0, **changes}
        return SessionRecord(version=version, **values)

    return make


@pytest.fixture
def serve(aiohttp_client: Any, prefix: str) -> Serve:
    """Serve an application on a client or URL; the test client keeps cookies, as a browser does."""

    async def serve(client_or_url: Redis | str, *, timeout: float = 5.0) -> TestClient:
        return await aiohttp_client(application(client_or_url, prefix, timeout))

    return serve


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make a peer with answers, and a pipe to it."""
    made: list[tuple[Peer, Pipe]] = []

    async def connect(*answers: Answer) -> tuple[Peer, Pipe]:
        peer = Peer(*answers)
        await peer.serve()
        made.append((peer, Pipe(lambda: Connection(peer))))
        return made[-1]

    yield connect
    for peer, pipe in made:
        await pipe.close()
        peer.server.close()
        for writer in peer.writers:
            writer.close()
