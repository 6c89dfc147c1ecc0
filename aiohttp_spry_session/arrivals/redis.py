"""Sessions that aiohttp-session keeps in Redis."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .old import OldSession, Source, read_old

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["AiohttpSessionRedis"]


class AiohttpSessionRedis(Source):
    """Sessions of ``aiohttp_session.redis_storage.RedisStorage``. Each is deleted there once it has arrived.

    :param client: a ``redis.asyncio.Redis``, as the storage was given it; whoever made it closes it.
    :param cookie_name: as the storage was given it.
    :param max_age: likewise. It has to be the same one: the storage asks for it when it reads a session, and keys may
        outlive it. In seconds, or a ``timedelta``; ``None``: sessions live as long as their keys.
    :param owner: the key of the value that names the user, such as ``"user_id"``: sessions that have it arrive bound.
    :raises ValueError: for anything else.
    """

    removes = True

    def __init__(
        self,
        client: Redis,
        *,
        cookie_name: str = "AIOHTTP_SESSION",
        max_age: timedelta | float | None = None,
        owner: str | None = None,
    ) -> None:
        super().__init__(cookie_name=cookie_name, max_age=max_age, owner=owner)
        try:
            from redis.asyncio import Redis
        except ImportError as error:
            raise ImportError(
                "AiohttpSessionRedis needs redis: pip install 'aiohttp-spry-session[redis]'", name="redis"
            ) from error
        if not isinstance(client, Redis):
            raise ValueError(
                f"client must be the redis.asyncio.Redis that RedisStorage was given, not a {type(client).__name__}"
            )
        self._client = client

    async def find(self, value: str, now: float) -> OldSession | None:
        # Not in a pipeline: what fails there names its arguments, and the value is a secret (promise 10).
        key = self._key(value)
        data = await self._client.get(key)
        session = None if data is None else read_old(value, data, max_age=self.max_age, now=now, ends_at=None)
        if session is None:
            return None
        left = await self._client.pttl(key)
        if left == -2:  # it went in this moment
            return None
        if left == -1:
            return session
        # An old process that still runs writes a key again with its whole lifetime.
        return replace(session, ends_at=now + max(left / 1000, self.max_age or 0.0))

    async def remove(self, value: str) -> None:
        await self._client.delete(self._key(value))

    def _key(self, value: str) -> str:
        return f"{self.cookie_name}_{value}"
