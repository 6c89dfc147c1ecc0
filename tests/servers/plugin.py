"""The fixtures: a server starts at its first use in a run, and works again after a test that stopped or paused it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from .postgres import PostgresServer
from .process import guardian
from .redis import RedisCluster, RedisSentinel, RedisServer
from .run import started


@pytest.fixture(scope="session")
def _guardian() -> Iterator[None]:
    yield
    guardian.dismiss()


@pytest.fixture(scope="session")
def _redis_server(_guardian: None) -> Iterator[RedisServer]:
    with started("redis") as server:
        yield server


@pytest.fixture(scope="session")
def _valkey_server(_guardian: None) -> Iterator[RedisServer]:
    with started("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def _redis_cluster(_guardian: None) -> Iterator[RedisCluster]:
    with started("cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _redis_sentinel(_redis_server: RedisServer) -> Iterator[RedisSentinel]:
    with started("sentinel", _redis_server) as sentinel:
        yield sentinel


@pytest.fixture(scope="session")
def _postgres_server(_guardian: None) -> Iterator[PostgresServer]:
    with started("postgres") as server:
        yield server


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis server: ``url``, ``host``, ``port``; ``stop()``, ``start()``, ``kill()``, ``pause()``, ``resume()``."""
    yield _redis_server
    _redis_server.recover()


@pytest.fixture
def valkey_server(_valkey_server: RedisServer) -> Iterator[RedisServer]:
    """A Valkey server, with the controls of ``redis_server``."""
    yield _valkey_server
    _valkey_server.recover()


@pytest.fixture
def redis_cluster(_redis_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """A Redis Cluster of three: ``url``, and ``nodes``, each with the controls of ``redis_server``."""
    yield _redis_cluster
    _redis_cluster.recover()


@pytest.fixture
def redis_sentinel(_redis_sentinel: RedisSentinel, redis_server: RedisServer) -> RedisSentinel:
    """A Sentinel that knows ``redis_server`` as ``sessions``."""
    return _redis_sentinel


@pytest.fixture
def postgres_server(_postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL server: ``dsn``, ``host``, ``port``, and the controls of ``redis_server``."""
    yield _postgres_server
    _postgres_server.recover()


@pytest.fixture
async def postgres_database(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The DSN of an empty database, dropped after the test, whoever is still connected to it."""
    import asyncpg

    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    yield postgres_server.database_dsn(name)
    postgres_server.recover()
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()
