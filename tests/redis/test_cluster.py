"""A real cluster: its nodes fail one by one, and its slots move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import AskError, MovedError, RedisError, SlotNotCoveredError
from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import cluster as cluster_module
from aiohttp_spry_session.adapters.redis import connections as redis_connections
from aiohttp_spry_session.adapters.redis.cluster import Cluster
from aiohttp_spry_session.adapters.redis.failures import FAILURES
from aiohttp_spry_session.adapters.redis.pipe import Pipe
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.servers.redis import RedisCluster as ClusterServers

MakeRecord = Callable[..., SessionRecord]
HANDLES = [f"h{number}" for number in range(40)]


@pytest.fixture
async def cluster_client(redis_cluster: ClusterServers) -> AsyncIterator[RedisCluster]:
    async with RedisCluster.from_url(redis_cluster.url) as client:
        yield client


@pytest.fixture
async def adapter(cluster_client: RedisCluster, prefix: str, clock: FakeClock) -> AsyncIterator[RedisSessionAdapter]:
    """An open adapter on the cluster."""
    adapter = RedisSessionAdapter(cluster_client, prefix=prefix)
    adapter.clock = clock
    await adapter.open()
    yield adapter
    await adapter.close()


def port_of(client: RedisCluster, adapter: RedisSessionAdapter, handle: str) -> int:
    """The port of the node that the client takes to hold a session."""
    node = client.get_node_from_key(adapter._kept.key(handle))  # type: ignore[arg-type]
    assert node is not None
    return int(node.port)


async def test_sessions_spread_over_all_nodes(
    adapter: RedisSessionAdapter, cluster_client: RedisCluster, record: MakeRecord
) -> None:
    """Each key lives where it likes: no operation needs two on one node."""
    await asyncio.gather(*(adapter.create(handle, record(owner="ada")) for handle in HANDLES))
    assert len({port_of(cluster_client, adapter, handle) for handle in HANDLES}) == 3
    assert sorted(await adapter.find("ada")) == sorted(HANDLES)
    rotated = await asyncio.gather(*(rotate(adapter, h, f"{h}'", record(2, owner="ada")) for h in HANDLES))
    assert all(rotated)
    assert sorted(await adapter.find("ada")) == sorted(f"{handle}'" for handle in HANDLES)


async def test_a_node_that_hangs_holds_up_no_other(
    adapter: RedisSessionAdapter,
    cluster_client: RedisCluster,
    redis_cluster: ClusterServers,
    record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sessions elsewhere are served at once; those of the node fail in time, and are back with it."""
    await asyncio.gather(*(adapter.create(handle, record()) for handle in HANDLES))
    monkeypatch.setattr(redis_connections, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(cluster_module, "_LOOK_SECONDS", 1.0)
    node = redis_cluster.nodes[1]
    away = [handle for handle in HANDLES if port_of(cluster_client, adapter, handle) == node.port]
    others = [handle for handle in HANDLES if handle not in away]
    node.pause()
    hanging = asyncio.gather(*map(adapter.load, away), return_exceptions=True)
    await asyncio.sleep(0)
    assert await asyncio.gather(*map(adapter.load, others)) == [record()] * len(others)
    assert not hanging.done()
    assert all(isinstance(result, (TimeoutError, RedisError)) for result in await hanging)
    node.resume()
    assert await eventually(adapter, away) == [record()] * len(away)


async def test_a_node_that_restarts_is_used_again(
    adapter: RedisSessionAdapter, cluster_client: RedisCluster, redis_cluster: ClusterServers, record: MakeRecord
) -> None:
    """While it is away its sessions fail, and nobody else's; its connections are made anew."""
    await asyncio.gather(*(adapter.create(handle, record()) for handle in HANDLES))
    node = redis_cluster.nodes[2]
    away = [handle for handle in HANDLES if port_of(cluster_client, adapter, handle) == node.port]
    node.stop()
    for handle in away:
        with pytest.raises(RedisError):
            await adapter.update(handle, record(2))
    redis_cluster.start()
    assert await eventually(adapter, away) == [record()] * len(away)
    assert await asyncio.gather(*(adapter.update(handle, record(2)) for handle in HANDLES)) == [True] * len(HANDLES)


async def test_connections_that_were_closed_while_idle_cost_nothing(
    adapter: RedisSessionAdapter, redis_cluster: ClusterServers, record: MakeRecord
) -> None:
    """A balancer or a firewall that ends idle connections is not noticed."""
    await asyncio.gather(*(adapter.create(handle, record()) for handle in HANDLES))
    for node in redis_cluster.nodes:
        async with Redis.from_url(node.url) as client:
            assert await client.client_kill_filter(_type="normal", skipme=True)
            await client.ping()
    assert await asyncio.gather(*map(adapter.load, HANDLES)) == [record()] * len(HANDLES)
    assert all(await asyncio.gather(*(adapter.update(handle, record(2)) for handle in HANDLES)))


async def test_a_client_that_has_not_connected_yet(
    redis_cluster: ClusterServers, prefix: str, record: MakeRecord
) -> None:
    """The adapter finds out about the cluster by itself, also when that is away at first."""
    client = RedisCluster.from_url(redis_cluster.url)
    adapter = RedisSessionAdapter(client, prefix=prefix)
    for node in redis_cluster.nodes:
        node.stop()
    await adapter.open()
    with pytest.raises(FAILURES):
        await adapter.load("h")
    redis_cluster.start()
    assert await eventually(adapter, ["h"]) == [None]
    await adapter.close()
    await client.aclose()


async def test_a_cluster_that_is_away_says_so_and_is_used_again(
    adapter: RedisSessionAdapter, redis_cluster: ClusterServers
) -> None:
    """The error is that of the operation, not of the search for another node."""
    await adapter.load("h")
    for node in redis_cluster.nodes:
        node.stop()
    with pytest.raises(LostConnectionError):
        await adapter.load("h")
    redis_cluster.start()
    assert await eventually(adapter, ["h"]) == [None]


async def eventually(adapter: RedisSessionAdapter, handles: list[str]) -> list[SessionRecord | None]:
    """Load until the store answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                return list(await asyncio.gather(*map(adapter.load, handles)))
            except FAILURES:
                continue


async def test_a_slot_that_moves(
    adapter: RedisSessionAdapter, cluster_client: RedisCluster, redis_cluster: ClusterServers, record: MakeRecord
) -> None:
    """While a slot moves, and after, each call reaches its key, once, and the client learns the new place."""
    await adapter.create("h", record())
    key = adapter._kept.key("h")
    slot = cluster_client.keyslot(key)  # type: ignore[arg-type]
    source = next(node for node in redis_cluster.nodes if node.port == port_of(cluster_client, adapter, "h"))
    target = next(node for node in redis_cluster.nodes if node is not source)
    from_node, to_node = Redis.from_url(source.url), Redis.from_url(target.url)
    names = {
        "source": await from_node.execute_command("CLUSTER MYID"),
        "target": await to_node.execute_command("CLUSTER MYID"),
    }
    await to_node.script_flush()
    await to_node.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names["source"])
    await from_node.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names["target"])
    # What other tests left in the same slot moves too: a node doesn't give a slot away while it holds keys of it.
    keys = await from_node.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
    await from_node.migrate(target.host, target.port, keys, 0, 5000)
    assert await from_node.execute_command("CLUSTER COUNTKEYSINSLOT", slot) == 0
    assert await adapter.update("h", record(2)), "asked there"
    assert await adapter.load("h") == record(2)
    for node in (to_node, from_node):
        await node.execute_command("CLUSTER SETSLOT", slot, "NODE", names["target"])
    assert port_of(cluster_client, adapter, "h") == source.port
    assert await adapter.update("h", record(3)), "moved there"
    assert port_of(cluster_client, adapter, "h") == target.port
    assert await adapter.load("h") == record(3)
    await from_node.aclose()
    await to_node.aclose()


async def test_a_redirection_to_nowhere_fails(
    adapter: RedisSessionAdapter, cluster_client: RedisCluster, monkeypatch: pytest.MonkeyPatch, record: MakeRecord
) -> None:
    """A node that nobody knows, and redirections in a circle, end in an error."""
    await adapter.create("h", record())
    real = Pipe.converse

    def answer(text: str) -> None:
        async def converse(pipe: Pipe, commands: bytes, count: int, seconds: float) -> list[object]:
            pipe._make()
            return [MovedError(text)] * count

        monkeypatch.setattr(Pipe, "converse", converse)

    answer("1 127.0.0.1:1")
    with pytest.raises(LostConnectionError, match=r"^the node has left the cluster$"):
        await adapter.load("h")
    answer(f"1 127.0.0.1:{port_of(cluster_client, adapter, 'h')}")
    with pytest.raises(MovedError):
        await adapter.load("h")
    monkeypatch.setattr(Pipe, "converse", real)
    assert await adapter.destroy("h")


@pytest.mark.parametrize("first", ["reads", "writes"])
async def test_what_one_connection_learns_counts_for_both(
    adapter: RedisSessionAdapter, record: MakeRecord, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A node's other connection is made anew too, where one was lost."""
    await adapter.create("h", record())
    await adapter.load("h")
    cluster = adapter._kept.connections
    assert isinstance(cluster, Cluster)
    pipes = (await cluster._node_of(adapter._kept.key("h"))).pipes
    links = pipes.reads._link, pipes.writes._link
    assert None not in links

    async def lost(commands: bytes, count: int, seconds: float) -> list[object]:
        return [LostConnectionError("lost")] * count

    with monkeypatch.context() as patch:
        patch.setattr(getattr(pipes, first), "converse", lost)
        with pytest.raises(LostConnectionError):
            await (adapter.load("h") if first == "reads" else adapter.renew("h", None))
    assert await adapter.load("h") == record()
    assert await adapter.update("h", record(2))
    assert not {pipes.reads._link, pipes.writes._link} & set(links)


@pytest.mark.parametrize("known", [True, False])
async def test_a_redirection_to_a_node(*, known: bool) -> None:
    """One that the client has not heard of is looked for; one that it knows is asked straight away."""
    node = object()
    client = AsyncMock()
    client.get_node = Mock(side_effect=[node] if known else [None, node])
    asked: list[Any] = []

    async def carry_out(pipe: Pipe, operations: list[bytes], *, asking: bool) -> list[object]:
        asked.append((pipe._make.args, operations, asking))  # type: ignore[attr-defined]
        return [b"answer"]

    cluster = Cluster(client)
    assert await cluster._follow(carry_out, b"key", AskError("1 host:7")) == b"answer"
    assert asked == [((node,), [b"key"], True)]
    assert client.get_node.call_args.args == ("host", 7)
    assert client.nodes_manager.initialize.await_count == (0 if known else 1)


async def test_looking_for_the_nodes_is_limited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster whose nodes hang holds up neither the first call nor the error of one that failed."""

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(cluster_module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(cluster_module, "ANSWER_SECONDS", 0.01)
    client = Mock()
    client.initialize = client.nodes_manager.initialize = hang
    client.get_node_from_key.side_effect = SlotNotCoveredError("not asked yet")
    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            await Cluster(client).get(b"key")
        await Cluster(client)._look_around()
