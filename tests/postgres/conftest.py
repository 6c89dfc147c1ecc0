"""What the tests of the PostgreSQL adapter share."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from tests.postgres.holder import Holder
from tests.servers.postgres import PostgresServer

MakePostgres = Callable[..., PostgresSessionAdapter]


@pytest.fixture
def namespace() -> str:
    """The name of a namespace that no other test uses: much faster than a database of one's own."""
    return f"test_{secrets.token_hex(6)}"


@pytest.fixture
def make_postgres(postgres_server: PostgresServer, namespace: str) -> MakePostgres:
    """Makes adapters on one table of the test's own, with connections of their own."""

    def make(pool_or_dsn: Any = postgres_server.dsn, **options: Any) -> PostgresSessionAdapter:
        return PostgresSessionAdapter(pool_or_dsn, **{"schema": namespace, "create_schema": True, **options})

    return make


@pytest.fixture
async def pool(postgres_server: PostgresServer) -> AsyncIterator[asyncpg.Pool]:
    """An application's pool."""
    async with asyncpg.create_pool(postgres_server.dsn, min_size=1, max_size=4) as pool:
        yield pool


@pytest.fixture
async def adapter(make_postgres: MakePostgres) -> AsyncIterator[PostgresSessionAdapter]:
    """An open adapter on a clock that stands still."""
    adapter = make_postgres()
    adapter.clock = FakeClock()
    await adapter.open()
    yield adapter
    await adapter.close()


@pytest.fixture
async def holder(adapter: PostgresSessionAdapter, postgres_server: PostgresServer) -> AsyncIterator[Holder]:
    """Another transaction on the adapter's table."""
    connection = await asyncpg.connect(postgres_server.dsn)
    yield Holder(connection, adapter.table.sql)
    await connection.close()
