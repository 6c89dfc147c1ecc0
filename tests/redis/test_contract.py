"""The adapter keeps the contract, on one server and on a cluster."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import RedisCluster

from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing import AdapterContract
from tests.servers.redis import RedisCluster as ClusterServers
from tests.servers.redis import RedisServer

MakeAdapter = Callable[[], RedisSessionAdapter]


class TestServer(AdapterContract):
    """One server, reached through a URL."""

    purges = False

    @pytest.fixture
    def make_adapter(self, redis_server: RedisServer) -> MakeAdapter:
        prefix = f"{secrets.token_hex(4)}:"
        return lambda: RedisSessionAdapter(redis_server.url, prefix=prefix)


class TestCluster(AdapterContract):
    """Three nodes, reached through a client."""

    purges = False

    @pytest.fixture
    async def make_adapter(self, redis_cluster: ClusterServers) -> AsyncIterator[MakeAdapter]:
        prefix = f"{secrets.token_hex(4)}:"
        async with RedisCluster.from_url(redis_cluster.url) as client:
            yield lambda: RedisSessionAdapter(client, prefix=prefix)
