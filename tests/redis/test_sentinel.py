"""Failover: a Sentinel makes a replica the new master, and the running application goes on with that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis, Sentinel

from tests.servers.redis import RedisSentinel, RedisServer

from .visits import Serve, get, seen

_SECONDS = 20


@pytest.fixture
def master(_guardian: None) -> Iterator[RedisServer]:
    """A server of the test's own."""
    server = RedisServer("--repl-diskless-sync-delay", "0")
    server.start()
    yield server
    server.close()


@pytest.fixture
def replica(master: RedisServer) -> Iterator[RedisServer]:
    """A server that has copied the master."""
    server = RedisServer("--replicaof", master.host, str(master.port))
    server.start()
    while b"master_link_status:up" not in server.call("INFO replication"):
        pass
    yield server
    server.close()


@pytest.fixture
async def watching(master: RedisServer, replica: RedisServer) -> AsyncIterator[RedisSentinel]:
    """A Sentinel that knows both."""
    server = RedisSentinel(master, down_after=300)
    server.start()
    while str(replica.port).encode() not in server.call("SENTINEL REPLICAS sessions"):
        pass
    yield server
    server.close()


@pytest.fixture
async def client(watching: RedisSentinel) -> AsyncIterator[Redis]:
    """The client that an application has from its Sentinels."""
    sentinel = Sentinel([(watching.host, watching.port)])
    client = sentinel.master_for("sessions")
    yield client
    await client.aclose()
    for each in sentinel.sentinels:
        await each.aclose()


class Failover:
    """Tells when the Sentinel has named another master."""

    def __init__(self, watching: RedisSentinel) -> None:
        self._client = Redis(host=watching.host, port=watching.port)
        self._events = self._client.pubsub()

    async def __aenter__(self) -> Failover:
        await self._events.subscribe("+switch-master")
        await self._events.get_message(timeout=_SECONDS)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._events.aclose()
        await self._client.aclose()

    async def done(self) -> None:
        message = await self._events.get_message(ignore_subscribe_messages=True, timeout=_SECONDS)
        assert message is not None, "no failover"


async def test_a_master_that_dies(
    serve: Serve, client: Redis, master: RedisServer, replica: RedisServer, watching: RedisSentinel
) -> None:
    """Until a replica has taken over every use is 503; then the session goes on there, without a restart."""
    browser = await serve(client)
    assert await get(browser, "/increment") == (200, "1")
    assert (await get(browser, "/login"))[0] == 200
    assert await client.wait(1, 1000) == 1
    async with Failover(watching) as failover:
        master.kill()
        for path in ("/increment", "/read", "/login"):
            assert (await get(browser, path))[0] == 503
        await failover.done()
    async with asyncio.timeout(_SECONDS):
        while (await get(browser, "/read"))[0] == 503:
            pass
    assert await seen(browser) == {"new": False, "n": 1}
    assert await get(browser, "/increment") == (200, "2")
    assert b"role:master" in replica.call("INFO replication")


@pytest.mark.long  # a Sentinel asks how its servers are every ten seconds
async def test_a_master_that_hands_over(
    serve: Serve, client: Redis, master: RedisServer, replica: RedisServer, watching: RedisSentinel
) -> None:
    """What the old master still has is never served: reads go to the new one, like writes."""
    browser = await serve(client)
    assert await get(browser, "/increment") == (200, "1")
    assert await client.wait(1, 1000) == 1
    async with Failover(watching) as failover:
        while (answer := watching.call("SENTINEL FAILOVER sessions")) != b"+OK\r\n":
            assert answer.startswith(b"-NOGOODSLAVE"), "it has yet to ask the replica how it is"
        await failover.done()
    async with asyncio.timeout(_SECONDS):
        while b"role:master" in master.call("INFO replication"):
            await get(browser, "/read")
        while (await get(browser, "/increment")) != (200, "2"):
            pass
    # The old one copies from the new one, unless it is told not to: then what it has is out of date.
    master.call("REPLICAOF 127.0.0.1 1")
    assert await get(browser, "/increment") == (200, "3")
    assert await seen(browser) == {"new": False, "n": 3}
