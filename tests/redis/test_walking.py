"""Walking through a server's keys: each session once, whatever else is kept there and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import NoPermissionError

from aiohttp_spry_session import AdapterError, SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter, walking
from aiohttp_spry_session.adapters.redis.cluster import Cluster
from aiohttp_spry_session.adapters.redis.records import encode
from aiohttp_spry_session.adapters.redis.walking import KeyWalk, Seen, pattern_of
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.servers.redis import RedisCluster as ClusterServers
from tests.servers.redis import RedisServer

from .proxy import LossyProxy

MakeRecord = Callable[..., SessionRecord]


async def scanned(adapter: RedisSessionAdapter) -> list[str]:
    """The handles that a scan answers, in order."""
    return sorted([handle async for handle, _ in adapter.scan()])


class Script:
    """A server that answers a walk's commands one after the other; connects anew where the answer says so."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 1

    async def ask(self, parts: tuple[bytes, ...]) -> Any:
        self.asked.append(parts[1])
        answer = self.answers.pop(0)
        if answer == "connect":
            self.connections += 1
            answer = self.answers.pop(0)
        return answer

    async def keys(self) -> list[bytes]:
        walk = KeyWalk(self, self.ask)  # type: ignore[arg-type]
        return [key async for keys in walk.keys(b"*") for key in keys]


async def test_a_walk_follows_the_cursor() -> None:
    """Until the server says that it is back at the beginning, through steps in which nothing comes."""
    script = Script([b"7", [b"a"]], [b"9", []], [b"0", [b"b", b"c"]])
    assert await script.keys() == [b"a", b"b", b"c"]
    assert script.asked == [b"0", b"7", b"9"]


async def test_a_walk_begins_again_on_another_connection() -> None:
    """A cursor says nothing to a server that was restarted, or took over: nothing may be passed over."""
    script = Script([b"7", [b"a"]], "connect", [b"0", [b"x"]], [b"5", [b"a"]], [b"0", [b"b"]])
    assert await script.keys() == [b"a", b"a", b"b"]
    assert script.asked == [b"0", b"7", b"0", b"5"]


async def test_a_walk_fails_with_what_the_server_says() -> None:
    """No right to walk is no empty store."""
    with pytest.raises(NoPermissionError):
        await Script(NoPermissionError("no")).keys()


def test_seen_keys_are_new_once() -> None:
    """However many there are."""
    seen = Seen()
    keys = [b"%d" % number for number in range(20_000)]
    assert all(map(seen.add, keys))
    assert not any(map(seen.add, keys))


def test_seen_looks_at_whole_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of one and the beginning of the next are no third one."""

    class Digest:
        def __init__(self, key: bytes, digest_size: int) -> None:
            self.digest = lambda: b"##" + key

    monkeypatch.setattr(walking, "blake2b", Digest)
    seen = Seen()
    first, second = b"aaaaaabbbbbb", b"ccccccdddddd"
    assert seen.add(first)
    assert seen.add(second)
    assert seen.add(b"bbbbbbcccccc")
    assert not seen.add(b"bbbbbbcccccc")
    assert not seen.add(second)


@pytest.mark.parametrize("prefix", ["*", "a?b", "[a]", "a\\", "^a", "{a}", ""])
async def test_a_prefix_is_no_pattern(
    redis_server: RedisServer, client: Redis, clock: FakeClock, record: MakeRecord, prefix: str
) -> None:
    """Only the keys that begin with it come."""
    await client.select(3)
    await client.flushdb()
    adapters = [RedisSessionAdapter(f"{redis_server.url[:-1]}3", prefix=text) for text in (prefix, "aab", "other")]
    for adapter in adapters:
        adapter.clock = clock
        await adapter.open()
        await adapter.create(f"of {adapter.prefix}", record())
    assert await scanned(adapters[0]) == [f"of {prefix}"]
    for adapter in adapters:
        await adapter.close()
    await client.flushdb()


def test_a_pattern_takes_every_byte_for_itself() -> None:
    """What means something in a pattern means itself."""
    assert pattern_of(b"a*?[]^\\\xff") == b"a\\*\\?\\[\\]\\^\\\\\xff*"


async def test_what_else_is_kept_harms_nothing(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """A corrupt session is left out and reported, and so is a key that is no text; another type is no session."""
    await adapter.create("a", record(owner="ada"))
    await adapter.create("b", record())
    await client.set(f"{prefix}s:corrupt", b"garbage")
    await client.set(prefix.encode() + b"s:\xff", b"garbage")
    await client.lpush(f"{prefix}s:list", "1")  # type: ignore[misc]
    assert await scanned(adapter) == ["a", "b"]
    assert await adapter.count() == 2
    assert "the stored session corrupt is corrupt and counts as absent" in caplog.text
    assert "\\xff' is corrupt and counts as absent" in caplog.text


async def test_a_key_that_comes_again_is_one_session(
    adapter: RedisSessionAdapter, prefix: str, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCAN may answer a key several times, where its table grows or shrinks meanwhile."""
    await adapter.create("a", record())
    await adapter.create("b", record())

    async def keys(pattern: bytes) -> Any:
        first, second = f"{prefix}s:a".encode(), f"{prefix}s:b".encode()
        yield [first, first, second]
        yield [second, first]

    monkeypatch.setattr(adapter._kept.connections, "keys", keys)
    assert await scanned(adapter) == ["a", "b"]
    assert await adapter.count() == 2


async def test_a_reservation_is_no_session(
    adapter: RedisSessionAdapter, client: Redis, clock: FakeClock, prefix: str, record: MakeRecord
) -> None:
    """What a rotation that was cut short left behind comes only where the rotation has happened."""
    await adapter.create("a", record())
    await client.set(f"{prefix}s:b", encode(record(2), origin="a"))
    assert await scanned(adapter) == ["a"]
    assert await rotate(adapter, "a", "c", record(2))
    assert await scanned(adapter) == ["c"]


async def test_a_walk_has_a_connection_of_its_own(
    redis_server: RedisServer, client: Redis, prefix: str, record: MakeRecord, clock: FakeClock
) -> None:
    """It is made for the first walk, used for all, and closed with the adapter, though a walk was abandoned."""

    async def connections() -> int:
        clients = await client.client_list()  # type: ignore[no-untyped-call]
        return sum(entry["name"] == "walker" for entry in clients)

    adapter = RedisSessionAdapter(f"{redis_server.url}?client_name=walker", prefix=prefix)
    adapter.clock = clock
    await adapter.open()
    await adapter.create("a", record())
    before = await connections()
    for _ in range(3):
        halfway = adapter.scan()
        await anext(halfway)
    assert await connections() == before + 1
    await adapter.close()
    while await connections():
        pass
    await halfway.aclose()


async def test_a_lost_connection_is_a_failure_and_the_next_walk_works(
    redis_server: RedisServer, prefix: str, record: MakeRecord, clock: FakeClock
) -> None:
    """Nothing is passed over in silence."""
    async with LossyProxy(redis_server) as proxy:
        adapter = RedisSessionAdapter(proxy.url, prefix=prefix)
        adapter.clock = clock
        await adapter.open()
        await adapter.create("a", record())
        proxy.marker = b"SCAN"
        with pytest.raises(LostConnectionError):
            await scanned(adapter)
        proxy.marker = None
        assert await scanned(adapter) == ["a"]
        await adapter.close()


async def test_a_closed_adapter_says_so(redis_server: RedisServer) -> None:
    """As every other operation does."""
    with pytest.raises(AdapterError, match="the adapter is not open"):
        await scanned(RedisSessionAdapter(redis_server.url))


async def test_a_cluster_is_walked_through_node_by_node(
    redis_cluster: ClusterServers, prefix: str, record: MakeRecord, clock: FakeClock
) -> None:
    """Each session comes once; where a node does not answer the walk fails, and works again with it."""
    async with RedisCluster.from_url(redis_cluster.url) as client:
        adapter = RedisSessionAdapter(client, prefix=prefix)
        adapter.clock = clock
        await adapter.open()
        handles = sorted(f"h{number}" for number in range(60))
        await asyncio.gather(*(adapter.create(handle, record(owner="ada")) for handle in handles))
        assert await scanned(adapter) == handles
        assert await adapter.count() == 60
        cluster, asked = adapter._kept.connections, []
        assert isinstance(cluster, Cluster)
        look_around = cluster._look_around

        async def looking_around() -> None:
            asked.append(1)
            await look_around()

        cluster._look_around = looking_around  # type: ignore[method-assign]
        node = cluster._node(client.get_primaries()[1].name)

        async def lost(pattern: bytes) -> Any:
            raise ConnectionError("lost")
            yield

        walk, node.pipes.walk.keys = node.pipes.walk.keys, lost
        with pytest.raises(ConnectionError):
            await scanned(adapter)
        assert asked
        node.pipes.walk.keys = walk
        assert await scanned(adapter) == handles
        await adapter.close()
