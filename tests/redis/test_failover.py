"""A Cluster whose master dies: its replica takes over, and until then nobody reads from a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.cluster import LoadBalancingStrategy

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis.failures import FAILURES
from aiohttp_spry_session.testing import FakeClock
from tests.servers.redis import RedisCluster as ClusterServers

HANDLES = [f"handle {number}" for number in range(30)]


@pytest.fixture
def servers(_guardian: None) -> Iterator[ClusterServers]:
    """Three masters and a replica of the first."""
    servers = ClusterServers(replica=True)
    try:
        servers.start()
        while b"master_link_status:up" not in servers.nodes[-1].call("INFO replication"):
            pass
        yield servers
    finally:
        servers.close()


@pytest.fixture
async def client(servers: ClusterServers) -> AsyncIterator[RedisCluster]:
    """A client that prefers replicas for what only reads."""
    async with RedisCluster.from_url(servers.url, load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN) as client:
        yield client


@pytest.mark.long  # a Cluster takes seconds to be sure that a node is gone
async def test_a_replica_takes_over(
    servers: ClusterServers, client: RedisCluster, clock: FakeClock, record: Callable[..., SessionRecord]
) -> None:
    """The sessions of the master that died fail meanwhile; then all are there, and can be written."""
    adapter = RedisSessionAdapter(client)
    adapter.clock = clock
    await adapter.open()
    assert all(await asyncio.gather(*(adapter.create(handle, record()) for handle in HANDLES)))
    master, replica = servers.nodes[0], servers.nodes[-1]
    ports = {handle: client.get_node_from_key(f"spry:s:{handle}").port for handle in HANDLES}
    away = [handle for handle in HANDLES if ports[handle] == master.port]
    assert 0 < len(away) < len(HANDLES)
    async with Redis.from_url(master.url) as direct:
        assert await direct.wait(1, 1000) == 1
    replica.pause()
    assert await asyncio.gather(*map(adapter.load, HANDLES)) == [record()] * len(HANDLES), "no replica was asked"
    replica.resume()
    master.kill()
    for handle in away:
        with pytest.raises(FAILURES):
            await adapter.load(handle)
    async with asyncio.timeout(30):
        while True:
            try:
                loaded = await asyncio.gather(*map(adapter.load, HANDLES))
                break
            except FAILURES:
                continue
    assert loaded == [record()] * len(HANDLES)
    assert all(await asyncio.gather(*(adapter.update(handle, record(2)) for handle in HANDLES)))
    assert b"role:master" in replica.call("INFO replication")
    await adapter.close()
