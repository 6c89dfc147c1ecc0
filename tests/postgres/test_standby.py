"""A primary that dies: the standby takes over, and the running adapter goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from tests.servers.postgres import PostgresServer

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200)


@pytest.fixture
def primary(_guardian: None) -> Iterator[PostgresServer]:
    """A server of the test's own, whose commits wait for its standby, once there is one."""
    server = PostgresServer("-c", "synchronous_commit=on")
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A server that follows it."""
    server = PostgresServer()
    try:
        server.copy(primary)
        server.start()
        yield server
    finally:
        server.close()


async def test_a_standby_takes_over(primary: PostgresServer, standby: PostgresServer) -> None:
    """With both hosts in the URL, and synchronous replication, nothing that was answered is lost."""
    direct = await asyncpg.connect(primary.dsn)
    await direct.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await direct.execute("SELECT pg_reload_conf()")
    await direct.close()
    hosts = ",".join(f"{server.host}:{server.port}" for server in (standby, primary))
    adapter = PostgresSessionAdapter(
        f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write", create_schema=True
    )
    adapter.clock = FakeClock(NOW)
    await adapter.open()
    handles = [str(number) for number in range(50)]
    assert all(await asyncio.gather(*(adapter.create(handle, RECORD) for handle in handles)))
    await adapter.destroy("0")
    primary.kill()
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await adapter.load("1")
    direct = await asyncpg.connect(standby.dsn)
    assert await direct.fetchval("SELECT pg_promote()")
    await direct.close()
    assert await asyncio.gather(*map(adapter.load, handles)) == [None] + [RECORD] * 49
    assert await adapter.renew("1", NOW + 2000)
    await adapter.close()
