"""Connections that break in the middle of an operation: what is promised of the operation, and of the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from aiohttp_spry_session import AdapterError, SessionManager, SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.postgres.conftest import MakePostgres
from tests.postgres.proxy import Proxy
from tests.servers.postgres import PostgresServer

from ..support import arrive, session_of

RECORD = SessionRecord(b"data", 1, 1_700_000_000.0, 1_700_001_200.0)

LOST = (asyncpg.PostgresConnectionError, OSError)


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_server.dsn) as proxy:
        yield proxy


@pytest.fixture(params=["dsn", "pool"])
async def adapter(
    request: pytest.FixtureRequest, make_postgres: MakePostgres, proxy: Proxy
) -> AsyncIterator[PostgresSessionAdapter]:
    """An adapter that has read and written through the proxy, on its own connections or a pool."""
    async with asyncpg.create_pool(proxy.dsn, min_size=0, max_size=4) as pool:
        adapter = make_postgres(proxy.dsn if request.param == "dsn" else pool)
        adapter.clock = FakeClock()
        await adapter.open()
        await adapter.create("handle", RECORD)
        await adapter.load("handle")
        yield adapter
        proxy.flow()
        await adapter.close()


async def test_a_write_whose_answer_was_lost_is_not_sent_again(adapter: PostgresSessionAdapter, proxy: Proxy) -> None:
    """It failed for the caller and took effect once."""
    proxy.lose_answer()
    with pytest.raises(LOST):
        await adapter.renew("handle", None)
    assert proxy.lost == 1
    assert await adapter.load("handle") == replace(RECORD, version=2, expires_at=None)


async def test_a_write_lost_on_its_way_is_not_sent_again(adapter: PostgresSessionAdapter, proxy: Proxy) -> None:
    """It failed for the caller and took no effect."""
    proxy.lose_request()
    with pytest.raises(LOST):
        await adapter.renew("handle", None)
    assert proxy.lost == 1
    assert await adapter.load("handle") == RECORD


@pytest.mark.parametrize("lose", [Proxy.lose_request, Proxy.lose_answer])
async def test_a_load_is_repeated_on_a_new_connection(adapter: PostgresSessionAdapter, proxy: Proxy, lose) -> None:
    """A load changes nothing, so a lost connection costs it nothing but time."""
    lose(proxy)
    assert await adapter.load("handle") == RECORD
    assert proxy.lost == 1


async def test_a_rotation_whose_answer_was_lost_is_whole(adapter: PostgresSessionAdapter, proxy: Proxy) -> None:
    """Both of its rows are there."""
    proxy.lose_answer()
    with pytest.raises(LOST):
        await rotate(adapter, "handle", "new", replace(RECORD, version=2))
    old, new = await adapter.load("handle"), await adapter.load("new")
    assert old is not None
    assert old.retired
    assert new == replace(RECORD, version=2)


@pytest.mark.parametrize("operation", ["load", "destroy"])
async def test_a_connection_that_never_answers_is_replaced(
    adapter: PostgresSessionAdapter, proxy: Proxy, operation: str
) -> None:
    """A host that vanished holds an operation up for ``command_timeout``, and not the next one."""
    proxy.hang()
    adapter._reader._timeout = adapter._writer._timeout = 0.1
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.1 s"):
        await getattr(adapter, operation)("handle")
    adapter._reader._timeout = adapter._writer._timeout = 10.0
    proxy.flow()
    before = proxy.connections
    assert await adapter.create("another", RECORD)
    assert await adapter.load("another") == RECORD
    assert proxy.connections == before + 1


async def test_an_increment_is_counted_once_or_fails(make_postgres: MakePostgres, proxy: Proxy) -> None:
    """What a request was told is in the store, and an ``increment`` whose answer was lost counts once, not twice."""
    async with SessionManager(make_postgres(proxy.dsn)) as manager:
        session = session_of(arrive(manager, ()))
        assert await session.increment("visits") == 1
        proxy.lose_answer()
        with pytest.raises(AdapterError):
            await session.increment("visits")
        await session.reload()
        assert await session.get("visits") == 2
        assert await session.increment("visits") == 3


async def test_the_pool_is_left_open(make_postgres: MakePostgres, pool: asyncpg.Pool) -> None:
    """What the application gave, it closes."""
    adapter = make_postgres(pool)
    await adapter.open()
    await adapter.create("handle", RECORD)
    await adapter.close()
    assert pool.get_idle_size() == pool.get_size()
    assert await pool.fetchval("SELECT 1") == 1


async def test_a_connection_that_refuses_writes_is_replaced(make_postgres: MakePostgres) -> None:
    """After a failover the old server may live on, read-only: the next write looks for the new one."""
    adapter = make_postgres()
    adapter.clock = FakeClock()
    await adapter.open()
    await adapter._writer.fetch("SET default_transaction_read_only = on")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await adapter.create("handle", RECORD)
    assert await adapter.create("handle", RECORD)
    await adapter.close()


async def test_a_pool_that_fails_afterwards_does_not_undo_what_was_done(
    make_postgres: MakePostgres, postgres_server: PostgresServer
) -> None:
    """Where the pool cannot reset its connection, the answer was there before."""

    async def fail(connection: asyncpg.Connection) -> None:
        raise asyncpg.InterfaceError("no reset")

    async with asyncpg.create_pool(postgres_server.dsn, min_size=0, max_size=2, reset=fail) as pool:
        adapter = make_postgres(pool)
        adapter.clock = FakeClock()
        await adapter.open()
        assert await adapter.create("handle", RECORD)
        assert await adapter.load("handle") == RECORD
        await adapter.close()


def test_an_adapter_can_be_used_in_one_loop_after_the_other(make_postgres: MakePostgres) -> None:
    """Once closed it may be opened again, in another event loop, with tasks that wait for each other there too."""
    adapter = make_postgres()
    adapter.clock = FakeClock()

    async def use() -> list[object]:
        await adapter.open()
        try:
            return await asyncio.gather(adapter.load("handle"), adapter.find("owner"), adapter.purge())
        finally:
            await adapter.close()

    assert asyncio.run(use()) == asyncio.run(use()) == [None, {}, 0]
