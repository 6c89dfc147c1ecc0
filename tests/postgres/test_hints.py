"""What PostgreSQL tells of: only what ended, after the commit, and to nobody's harm."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.hints import closing
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.postgres import hints as postgres_hints
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import opened, rotate
from tests.servers.postgres import PostgresServer

from ..support import heard, listening
from .conftest import MakePostgres
from .proxy import Proxy

NOW = FakeClock()()
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1000)


@pytest.fixture
def notified(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The payloads of each statement that tells what ended."""
    sent: list[list[str]] = []
    fetch = asyncpg.Connection.fetch

    async def watched(self: Any, statement: str, *args: Any, **options: Any) -> Any:
        if "pg_notify" in statement:
            sent.append(args[1])
        return await fetch(self, statement, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", watched)
    return sent


async def test_only_what_ends_is_told(adapter: PostgresSessionAdapter, notified: list[list[str]]) -> None:
    """``NOTIFY`` takes a lock that all share: a site that only reads and writes never does."""
    for handle in "abc":
        await adapter.create(handle, RECORD)
    await adapter.update("a", replace(RECORD, version=2))
    await adapter.renew("a", None)
    await adapter.find("ada")
    await adapter.destroy("nothing")
    await adapter._hints.drain()
    assert notified == []
    await adapter.update("a", retire(replace(RECORD, version=4), "", now=NOW))
    await rotate(adapter, "b", "d", replace(RECORD, version=2))
    await adapter.destroy("c")
    await adapter._hints.drain()
    assert [bytes.fromhex(payload) for payloads in notified for payload in payloads] == [b"a", b"b", b"c"]


async def test_a_full_queue_fails_no_logout(
    adapter: PostgresSessionAdapter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does a lock that somebody holds for long: what cannot be told is found out by looking again."""
    await adapter.create("a", RECORD)
    monkeypatch.setattr(postgres_hints, "_NOTIFY", "SELECT $1::text, $2::text[], 1 / 0")
    with caplog.at_level(logging.DEBUG):
        assert await adapter.destroy("a")
        await adapter._hints.drain()
    assert [record.levelno for record in caplog.records if "telling" in record.message] == [logging.DEBUG]
    assert await adapter.load("a") is None


async def test_nobody_waits_for_a_lock_that_another_one_holds(
    adapter: PostgresSessionAdapter, postgres_server: PostgresServer
) -> None:
    """Who tells something keeps the lock until the end of its transaction."""
    await adapter.create("a", RECORD)
    other = await asyncpg.connect(postgres_server.dsn)
    try:
        async with listening(adapter) as hints:
            async with other.transaction():
                await other.execute(f"NOTIFY {adapter._hints.channel}, 'no key'")
                async with asyncio.timeout(30):
                    assert await adapter.destroy("a")
            assert await heard(hints) == "a"
    finally:
        await other.close()


async def test_a_pool_lends_one_to_listen_on(
    adapter: PostgresSessionAdapter, make_postgres: MakePostgres, pool: asyncpg.Pool
) -> None:
    """For as long as anybody listens, and with nothing left on it."""
    async with opened(make_postgres(pool), FakeClock()) as other:
        await adapter.create("a", RECORD)
        async with listening(other) as hints:
            lent = pool.get_size() - pool.get_idle_size()
            assert lent == 1
            await adapter.destroy("a")
            assert await heard(hints) == "a"
        assert pool.get_size() - pool.get_idle_size() == 0


async def test_a_pool_of_one_has_none_to_lend(
    make_postgres: MakePostgres, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The sessions need it; the log says so once."""
    async with (
        asyncpg.create_pool(postgres_server.dsn, min_size=1, max_size=1) as pool,
        opened(make_postgres(pool), FakeClock()) as adapter,
    ):
        for _ in range(2):
            async with closing(adapter.hints()) as hints:
                assert await heard(hints) == "the end"
        await adapter.create("a", RECORD)
        assert await adapter.destroy("a")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "max_size=2" in caplog.text


async def test_what_does_not_arrive_is_noticed(
    adapter: PostgresSessionAdapter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind PgBouncer in transaction mode, where the server's connection is another one's by then."""
    monkeypatch.setattr(postgres_hints, "PROBE_SECONDS", 0.3)
    add_listener = asyncpg.Connection.add_listener

    async def elsewhere(self: Any, channel: str, callback: Any) -> None:
        await add_listener(self, f"{channel}_of_another", callback)

    monkeypatch.setattr(asyncpg.Connection, "add_listener", elsewhere)
    for _ in range(2):
        async with closing(adapter.hints()) as hints:
            assert await heard(hints) == "the end"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "PgBouncer" in caplog.text


async def test_a_lost_connection_is_followed_by_everything(
    adapter: PostgresSessionAdapter, postgres_server: PostgresServer
) -> None:
    """Whatever was lost meanwhile is looked at."""
    other = await asyncpg.connect(postgres_server.dsn)
    try:
        async with listening(adapter) as hints:
            await other.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE '%pg_notify%' AND pid <> pg_backend_pid()"
            )
            assert await heard(hints) is None
            await adapter.create("a", RECORD)
            await adapter.destroy("a")
            assert await heard(hints) == "a"
    finally:
        await other.close()


async def test_a_silent_server_is_left(
    make_postgres: MakePostgres, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked from time to time whether it is still there, and tried again until it is."""
    monkeypatch.setattr(postgres_hints, "PROBE_SECONDS", 0.3)
    probed = asyncio.Event()
    fetchval = asyncpg.Connection.fetchval

    async def watched(self: Any, statement: str, *args: Any, **options: Any) -> Any:
        answer = await fetchval(self, statement, *args, **options)
        probed.set()
        return answer

    async with (
        Proxy(postgres_server.dsn) as proxy,
        opened(make_postgres(proxy.dsn), FakeClock()) as adapter,
        listening(adapter) as hints,
    ):
        monkeypatch.setattr(asyncpg.Connection, "fetchval", watched)
        await asyncio.wait_for(probed.wait(), 30)
        proxy.hang()
        waiting = asyncio.create_task(heard(hints))
        await asyncio.sleep(1)
        assert not waiting.done()
        proxy.flow()
        assert await waiting is None


async def test_what_others_notify_there_is_passed_over(
    adapter: PostgresSessionAdapter, postgres_server: PostgresServer
) -> None:
    """Neither another listener's question, nor what is no key, is a hint."""
    other = await asyncpg.connect(postgres_server.dsn)
    try:
        async with listening(adapter) as hints:
            for payload in ("?0123", "no key", "ff" * 33):
                await other.execute("SELECT pg_notify($1, $2)", adapter._hints.channel, payload)
            await adapter.create("a", RECORD)
            await adapter.destroy("a")
            assert await heard(hints) == "a"
    finally:
        await other.close()


async def test_a_long_handle_is_looked_at_again(adapter: PostgresSessionAdapter) -> None:
    """Its key is a digest: nobody can tell whose it is, and it ends all the same."""
    long = "x" * 5000
    await adapter.create(long, RECORD)
    await adapter.create("a", RECORD)
    async with listening(adapter) as hints:
        assert await adapter.destroy(long)
        await adapter.destroy("a")
        assert await heard(hints) == "a"


async def test_who_gives_up_telling(adapter: PostgresSessionAdapter) -> None:
    """A loop that shuts down cancels it; nobody complains that nobody looked."""
    gone = asyncio.get_running_loop().create_future()
    gone.add_done_callback(postgres_hints._look_at)
    gone.cancel()
    await asyncio.sleep(0)
    assert gone.cancelled()


async def test_a_connection_is_lost_once() -> None:
    """Whatever it is told afterwards."""
    ear = postgres_hints._Ear(lambda key: None)
    ear.terminated(None)
    ear.terminated(None)
    assert ear.lost.done()
