"""What the adapter is given to reach Redis by: a client of redis-py's, or a URL."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis, RedisCluster

__all__ = ["checked", "client_of"]


def _from_url(url: str) -> Redis:
    return Redis.from_url(url, protocol=2)


def client_of(source: Redis | RedisCluster | str) -> Redis | RedisCluster:
    """Return the client that was given, or one for the URL."""
    return _from_url(source) if isinstance(source, str) else source


def checked(client_or_url: Redis | RedisCluster | str) -> Redis | RedisCluster | str:
    """Return what was given; ``ValueError``, which does not repeat a URL, for anything else than these three."""
    if isinstance(client_or_url, str):
        try:
            pool: Any = _from_url(client_or_url).connection_pool
            pool.make_connection()
        except (TypeError, ValueError):
            raise ValueError(
                "the URL must be redis://[user:password@]host[:port][/database], rediss://... or "
                "unix://[user:password@]/path[?db=database], with options that redis-py knows"
            ) from None
    elif not isinstance(client_or_url, Redis | RedisCluster):
        raise ValueError(
            "client_or_url must be a redis.asyncio.Redis or RedisCluster client, or a URL, "
            f"not {type(client_or_url).__module__}.{type(client_or_url).__qualname__}"
        )
    return client_or_url
