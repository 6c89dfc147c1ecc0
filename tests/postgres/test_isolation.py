"""A server whose default isolation is stricter than READ COMMITTED costs no request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from tests.postgres.conftest import MakePostgres
from tests.servers.postgres import PostgresServer

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200, "owner")

Make = Callable[[], Awaitable[PostgresSessionAdapter]]


@pytest.fixture(params=["dsn", "pool"])
async def make_strict(
    request: pytest.FixtureRequest, make_postgres: MakePostgres, postgres_server: PostgresServer
) -> AsyncIterator[Make]:
    """Makes open adapters whose connections are ``serializable`` unless a transaction says otherwise."""
    dsn = f"{postgres_server.dsn}?default_transaction_isolation=serializable"
    async with AsyncExitStack() as stack:

        async def make() -> PostgresSessionAdapter:
            connections: Any = dsn
            if request.param == "pool":
                connections = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=5))
            adapter = make_postgres(connections)
            adapter.clock = FakeClock(NOW)
            await adapter.open()
            stack.push_async_callback(adapter.close)
            return adapter

        yield make


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server refuses from now on."""
    refused: list[str] = []
    fetch = asyncpg.Connection.fetch

    async def watched(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await fetch(self, *args, **options)
        except asyncpg.PostgresError as error:
            refused.append(type(error).__name__)
            raise

    monkeypatch.setattr(asyncpg.Connection, "fetch", watched)
    return refused


async def test_no_batch_collides(make_strict: Make, failures: list[str]) -> None:
    """Three processes that write, read and find the same sessions: everything counts, nothing is even tried twice."""
    adapters = [await make_strict() for _ in range(3)]
    await asyncio.gather(*(adapters[0].create(handle, RECORD) for handle in "abc"))

    async def use(adapter: PostgresSessionAdapter) -> None:
        for _ in range(20):
            renewed = asyncio.gather(*(adapter.renew(handle, NOW + 1300) for handle in "abc"))
            assert all(await asyncio.gather(*map(adapter.load, "abc")))
            assert len(await adapter.find("owner")) == 3
            assert await adapter.purge() == 0
            assert all(await renewed)

    await asyncio.gather(*map(use, adapters))
    assert [(await adapters[0].load(handle)).version for handle in "abc"] == [61] * 3  # type: ignore[union-attr]
    assert failures == []


async def test_what_is_refused_leaves_the_connection_usable(make_strict: Make) -> None:
    """The transaction around a statement that failed is rolled back."""
    adapter = await make_strict()
    with pytest.raises(asyncpg.DataError):
        await adapter.create("handle", replace(RECORD, version=2**63))
    with pytest.raises(asyncpg.UndefinedTableError):
        await adapter._writer.fetch("SELECT FROM nowhere")
    assert await adapter.create("handle", RECORD)
    assert await adapter.load("handle") == RECORD


@pytest.mark.parametrize("operation", ["create", "purge"])
async def test_locks_do_not_outlive_a_host_that_vanished(
    make_strict: Make, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The server ends a transaction whose commit never comes; the setting ends with the transaction."""
    adapter = await make_strict()
    fetch = asyncpg.Connection.fetch
    limits: list[str] = []

    async def watched(self: Any, *args: Any, **options: Any) -> Any:
        rows = await fetch(self, *args, **options)
        limits.append(await self.fetchval("SHOW idle_in_transaction_session_timeout"))
        return rows

    monkeypatch.setattr(asyncpg.Connection, "fetch", watched)
    await (adapter.create("handle", RECORD) if operation == "create" else adapter.purge())
    monkeypatch.undo()
    assert limits == ["30s"]
    assert await adapter._writer.fetch("SHOW idle_in_transaction_session_timeout") == [("0",)]


async def test_a_server_that_has_it_already_is_not_asked(
    make_postgres: MakePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two more round trips for each batch are for those who need them."""
    adapter = make_postgres()
    await adapter.open()
    monkeypatch.setattr(asyncpg.Connection, "transaction", None)
    assert await adapter.create("handle", replace(RECORD, expires_at=None))
    assert await adapter.load("handle") is not None
    await adapter.close()


@pytest.mark.parametrize("operation", ["load", "destroy"])
async def test_a_default_that_changes_while_it_runs_is_noticed(
    make_postgres: MakePostgres, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The first collision tells; it is tried again, and from then on nothing collides."""
    adapter = make_postgres()
    adapter.clock = FakeClock(NOW)
    await adapter.open()
    await adapter.create("handle", RECORD)
    fetch = asyncpg.Connection.fetch
    isolations: list[str] = []

    async def collide(self: Any, *args: Any, **options: Any) -> Any:
        if not isolations:
            isolations.append("refused")
            raise asyncpg.SerializationError("on purpose")
        isolations.append(await self.fetchval("SHOW transaction_isolation"))
        return await fetch(self, *args, **options)

    for connections in (adapter._reader, adapter._writer):
        await connections.fetch("SET default_transaction_isolation = serializable")
    monkeypatch.setattr(asyncpg.Connection, "fetch", collide)
    assert await getattr(adapter, operation)("handle") == (RECORD if operation == "load" else True)
    assert isolations == ["refused", "read committed"]
    monkeypatch.undo()
    await adapter.close()
