"""The servers do what the outage tests ask of them."""

from __future__ import annotations

import socket

import asyncpg
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisCluster, RedisSentinel, RedisServer


def test_redis_keeps_its_data_over_a_stop(redis_server: RedisServer) -> None:
    """What was set before a stop is there after the start."""
    redis_server.call("SET spry:kept 1 EX 60")
    redis_server.stop()
    assert not redis_server.is_running
    assert redis_server.call("PING") == b""
    redis_server.start()
    assert redis_server.call("GET spry:kept") == b"$1\r\n1\r\n"


def test_a_paused_redis_accepts_connections_and_answers_nothing(redis_server: RedisServer) -> None:
    """A paused server hangs, and answers once it is resumed."""
    redis_server.pause()
    with socket.create_connection((redis_server.host, redis_server.port), timeout=0.05) as connection:
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(100)
        redis_server.resume()
        connection.settimeout(5)
        assert connection.recv(100) == b"+PONG\r\n"


def test_the_cluster_shares_all_slots(redis_cluster: RedisCluster) -> None:
    """Each of the three nodes knows of all slots."""
    for node in redis_cluster.nodes:
        assert b"cluster_slots_ok:16384" in node.call("CLUSTER INFO")


def test_the_sentinel_knows_the_master(redis_sentinel: RedisSentinel, redis_server: RedisServer) -> None:
    """The Sentinel names the standalone server."""
    answer = redis_sentinel.call("SENTINEL GET-MASTER-ADDR-BY-NAME sessions")
    assert str(redis_server.port).encode() in answer


async def test_each_test_has_an_empty_database(postgres_database: str) -> None:
    """The fixture's database takes statements."""
    connection = await asyncpg.connect(postgres_database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()


async def test_postgres_stops_starts_and_pauses(postgres_server: PostgresServer, postgres_database: str) -> None:
    """A connection hangs while the server is paused, ends with a stop, and can be made anew after a start."""
    connection = await asyncpg.connect(postgres_database)
    postgres_server.pause()
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.05)
    postgres_server.resume()
    await connection.execute("CREATE TABLE kept AS SELECT 1")
    postgres_server.stop()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    await connection.close()
    postgres_server.start()
    again = await asyncpg.connect(postgres_database)
    assert await again.fetchval("SELECT count(*) FROM kept") == 1
    await again.close()


def test_a_killed_postgres_starts_again(postgres_server: PostgresServer) -> None:
    """After a kill the port is silent, and the server recovers from its log."""
    postgres_server.kill()
    assert not postgres_server.is_ready()
    postgres_server.start()
    assert postgres_server.is_ready()
