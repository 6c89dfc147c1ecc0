"""Fixtures for the Redis adapter: one on the run's server, with a prefix of its own for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from tests.servers.redis import RedisServer


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
