"""What Redis tells of: only what ended, over whatever way leads to it, and to nobody's harm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
from redis.asyncio import Redis, RedisCluster

from aiohttp_spry_session import SessionManager, SessionRecord
from aiohttp_spry_session.adapters.hints import closing
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import hints as redis_hints
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import opened, rotate
from tests.servers.redis import RedisCluster as ClusterServers
from tests.servers.redis import RedisServer

from ..support import heard, listening
from .proxy import LossyProxy

MakeRecord = Callable[..., SessionRecord]


async def test_only_what_ends_is_published(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """A site that only reads and writes sends nothing."""
    async with client.pubsub() as listener:
        await listener.subscribe(f"{prefix}ended")
        for handle in "abc":
            await adapter.create(handle, record(owner="ada"))
        await adapter.update("a", record(2, owner="ada"))
        await adapter.renew("a", None)
        await adapter.find("ada")
        await adapter.destroy("nothing")
        await adapter.update("a", retire(record(4), "", now=adapter.clock()))
        await rotate(adapter, "b", "d", record(2, owner="ada"))
        await adapter.destroy("c")
        told = []
        while len(told) < 3:
            message = await listener.get_message(ignore_subscribe_messages=True, timeout=20)
            if message is not None:
                told.append(message["data"].decode())
        assert told == [f"{prefix}s:{handle}" for handle in "abc"]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_versions_of_the_protocol(
    redis_server: RedisServer, adapter: RedisSessionAdapter, prefix: str, clock: FakeClock, protocol: int
) -> None:
    """Messages are answers in the one, and pushed in the other; the client may decode what it likes."""
    async with (
        Redis.from_url(redis_server.url, protocol=protocol, decode_responses=True) as client,
        opened(RedisSessionAdapter(client, prefix=prefix), clock) as listener,
        listening(listener) as hints,
    ):
        await adapter.create("a", SessionRecord(b"", 1, clock(), None))
        await adapter.destroy("a")
        assert await heard(hints) == "a"


async def test_a_lost_connection_is_followed_by_everything(
    redis_server: RedisServer, adapter: RedisSessionAdapter, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """Whatever was lost meanwhile is looked at."""
    async with Redis.from_url(redis_server.url) as client, listening(adapter) as hints:
        await client.client_kill_filter(_type="pubsub")
        assert await heard(hints) is None
        await adapter.create("a", record())
        await adapter.destroy("a")
        assert await heard(hints) == "a"


async def test_a_silent_server_is_left(
    redis_server: RedisServer, prefix: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that passes nothing on says nothing either."""
    monkeypatch.setattr(redis_hints, "PING_SECONDS", 0.02)
    monkeypatch.setattr(redis_hints, "ANSWER_SECONDS", 0.2)
    async with (
        LossyProxy(redis_server) as proxy,
        opened(RedisSessionAdapter(proxy.url, prefix=prefix), clock) as adapter,
        listening(adapter) as hints,
    ):
        proxy.server = None
        for task in list(proxy._connections):
            task.cancel()
        waiting = asyncio.create_task(heard(hints))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        proxy.server = redis_server
        assert await waiting is None


async def test_a_server_that_does_not_answer_is_left(
    redis_server: RedisServer, prefix: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is open, and nothing comes."""
    redis_server.must_be_own()
    monkeypatch.setattr(redis_hints, "PING_SECONDS", 0.02)
    monkeypatch.setattr(redis_hints, "ANSWER_SECONDS", 0.2)
    async with (
        opened(RedisSessionAdapter(redis_server.url, prefix=prefix), clock) as adapter,
        listening(adapter) as hints,
    ):
        redis_server.pause()
        try:
            waiting = asyncio.create_task(heard(hints))
            await asyncio.sleep(0.5)
            assert not waiting.done()
        finally:
            redis_server.resume()
        assert await waiting is None


async def test_a_server_that_was_lost_by_others_is_left(adapter: RedisSessionAdapter) -> None:
    """What the other connections learn of the server counts here too: it may be no master any more."""
    async with listening(adapter) as hints:
        adapter._kept.connections._pipes._leave()  # type: ignore[union-attr]
        assert await heard(hints) is None


async def test_what_others_publish_there_is_passed_over(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """Neither another key, nor what is no text, is a hint."""
    async with listening(adapter) as hints:
        for message in (b"elsewhere:s:a", prefix.encode() + b"s:\xff"):
            await client.publish(f"{prefix}ended", message)
        await adapter.create("a", record())
        await adapter.destroy("a")
        assert await heard(hints) == "a"


async def test_answers_that_nobody_understands_are_a_lost_connection(
    adapter: RedisSessionAdapter, record: MakeRecord
) -> None:
    """The next connection may do better."""
    async with listening(adapter) as hints:
        subscription = adapter._hints.subscription
        assert subscription is not None
        subscription.data_received(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n")  # once more: it changes nothing
        subscription.data_received(b"what is this\r\n")
        subscription.data_received(b"and this\r\n")
        assert await heard(hints) is None


@pytest.fixture
def restricted(_guardian: None) -> Iterator[RedisServer]:
    """A server whose user may do all with the keys, and nothing with channels."""
    server = RedisServer("--user", "sessions", "on", ">s3cret", "~*", "+@all", "resetchannels")
    server.start()
    yield server
    server.close()


async def test_an_acl_without_channels_breaks_no_logout(
    restricted: RedisServer, clock: FakeClock, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything ends as ever; there are no hints, which the log says once, with the channel's name."""
    url = f"redis://sessions:s3cret@{restricted.host}:{restricted.port}/0"
    async with opened(RedisSessionAdapter(url, prefix="spry:"), clock) as adapter:
        for handle in "abc":
            await adapter.create(handle, record(owner="ada"))
        for _ in range(2):
            async with closing(adapter.hints()) as hints:
                assert await heard(hints) == "the end"
        assert await rotate(adapter, "a", "d", record(2, owner="ada"))
        assert await adapter.update("b", retire(record(2), "", now=clock()))
        assert await adapter.destroy("c")
        assert await adapter.load("c") is None
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert caplog.records[0].levelno == logging.WARNING
    assert "spry:ended" in line


@pytest.mark.usefixtures("_guardian")
async def test_a_full_server_tells_all_the_same(clock: FakeClock, record: MakeRecord) -> None:
    """A logout needs no room, and neither does telling of it."""
    server = RedisServer("--maxmemory-policy", "noeviction")
    server.start()
    try:
        async with (
            opened(RedisSessionAdapter(server.url, prefix="spry:"), clock) as adapter,
            listening(adapter) as hints,
        ):
            await adapter.create("a", record())
            async with SessionManagerOn(adapter) as manager, Redis.from_url(server.url) as client:
                await client.config_set("maxmemory", 1)
                assert await manager.revoke("a")
            assert await heard(hints) == "a"
    finally:
        server.close()


class SessionManagerOn:
    """A manager on an adapter that is open."""

    def __init__(self, adapter: RedisSessionAdapter) -> None:
        self.manager = SessionManager(adapter, clock=adapter.clock)

    async def __aenter__(self) -> SessionManager:
        return self.manager

    async def __aexit__(self, *error: object) -> None:
        """Leave the adapter open."""


async def test_a_cluster_tells_what_any_of_its_nodes_ends(
    redis_cluster: ClusterServers, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """Whichever of them is listened to; and another one where that is lost."""
    handles = {f"h{number}" for number in range(20)}
    async with (
        RedisCluster.from_url(redis_cluster.url) as client,
        opened(RedisSessionAdapter(client, prefix=prefix), clock) as adapter,
    ):
        await asyncio.gather(*(adapter.create(handle, record()) for handle in handles))
        async with listening(adapter) as hints:
            await asyncio.gather(*map(adapter.destroy, handles))
            assert {await heard(hints) for _ in handles} == handles
            for node in client.get_primaries():
                async with Redis(host=str(node.host), port=int(node.port)) as one:
                    await one.client_kill_filter(_type="pubsub")
            assert await heard(hints) is None
            assert adapter._kept.connections.losses >= 0


async def test_a_closed_adapter_has_no_hints(redis_server: RedisServer, prefix: str) -> None:
    """Who listens to it waits until it is opened."""
    adapter = RedisSessionAdapter(redis_server.url, prefix=prefix)
    async with closing(adapter.hints()) as hints:
        waiting = asyncio.create_task(heard(hints))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await adapter.open()
        assert await waiting is None
        await adapter.close()
