"""The adapter keeps the contract: on one Redis server, on one Valkey server, on a cluster."""

from __future__ import annotations

import secrets
import shutil
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


class TestValkey(AdapterContract):
    """A Valkey server, reached through a URL, where one is installed."""

    __test__ = shutil.which("valkey-server") is not None
    purges = False

    @pytest.fixture
    def make_adapter(self, valkey_server: RedisServer) -> MakeAdapter:
        prefix = f"{secrets.token_hex(4)}:"
        return lambda: RedisSessionAdapter(valkey_server.url, prefix=prefix)


class TestCluster(AdapterContract):
    """Three nodes, reached through a client."""

    purges = False

    @pytest.fixture
    async def make_adapter(self, redis_cluster: ClusterServers) -> AsyncIterator[MakeAdapter]:
        prefix = f"{secrets.token_hex(4)}:"
        async with RedisCluster.from_url(redis_cluster.url) as client:
            yield lambda: RedisSessionAdapter(client, prefix=prefix)
