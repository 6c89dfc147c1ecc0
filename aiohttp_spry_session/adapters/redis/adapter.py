"""Sessions in Redis or Valkey: one server, a master behind Sentinels, or a Cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError

from ...adapter import SessionAdapter
from ...events import logger
from ...exceptions import AdapterError
from ...record import SessionRecord
from . import scripts
from .cluster import Cluster
from .connections import FAILURES, Call, Closed, Connections, Server
from .owners import OwnerIndex
from .records import decode_plain, encode, end_of, pack_time, time_to_live, to_str
from .scripts import LEASE_SECONDS
from .sessions import KeptSessions

__all__ = ["RedisSessionAdapter"]

_MAX_ATTEMPTS = 8
_TOO_SLOW = f"the steps of the operation lie more than {LEASE_SECONDS} s apart on the server's clock"


class RedisSessionAdapter(SessionAdapter):
    """Keeps sessions in Redis or Valkey (from version 6 on), for any number of processes and machines.

    Each operation is one script on one key, so the promises hold on a Cluster too. Concurrent operations share a trip.

    A write is sent once and never repeated, whatever retries the client is configured with: one whose answer was lost
    raises, and has been applied once or not at all. (The one exception raises less: a rotation whose answer was lost
    is looked up.) A server that was away is used again as soon as it answers.

    Redis forgets a session by itself, no earlier than at its end. It has to be configured not to forget one before:
    with ``maxmemory-policy noeviction``, and persistence where a restart of the server must not end every session.

    :param client_or_url: a ``redis.asyncio.Redis`` (also one of ``Sentinel.master_for``) or ``RedisCluster``, which
        is left alone otherwise; or a URL as redis-py takes it, ``redis://user:password@host:6379/0``, ``rediss://...``
        for TLS, ``unix:///path``. The adapter makes two connections of its own (two for each node), as the client or
        the URL says, which open and close with it.
    :param expiration: ``timedelta`` or seconds from start or renewal to the end; ``None``: never.
    :param prefix: what every key begins with; applications with different prefixes do not see each other's sessions.
    :raises ValueError: for an unusable option. No message repeats the URL, which may hold a password.
    """

    def __init__(
        self,
        client_or_url: Redis | RedisCluster | str,
        *,
        expiration: timedelta | float | None = timedelta(minutes=20),
        prefix: str = "spry:",
    ) -> None:
        super().__init__(expiration=expiration)
        if not isinstance(prefix, str):
            raise ValueError(f"prefix must be a str, not {type(prefix).__name__}")
        self.prefix = prefix
        self._source = _checked(client_or_url)
        self._kept = KeptSessions(prefix, lambda: self.clock())
        self._owners = OwnerIndex(self._kept)

    async def load(self, handle: str) -> SessionRecord | None:
        kept = self._kept
        data = await kept.connections.get(kept.key(handle))
        if data is None:
            return None
        record = decode_plain(data)
        if record is None:
            stored = kept.read(handle, data)
            if stored is None:
                return None
            record = stored.record
            if stored.pending and not (record.is_expired(self.clock()) or await kept.is_settled(handle, stored)):
                return None
        return None if record.is_expired(self.clock()) else record

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return bool(await self._write_new(handle, record, ttl=self._kept.ttl(record.expires_at)))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        kept, now = self._kept, self.clock()
        arguments = (pack_time(now), encode(record), time_to_live(end_of(record.expires_at) - now), b"")
        answer = await kept.connections.run(Call(kept.key(handle), scripts.UPDATE, arguments))
        if answer == scripts.DONE:
            return True
        return answer != scripts.REFUSED and await self._replace(handle, record, answer)

    async def destroy(self, handle: str) -> None:
        await self._kept.run(self._kept.key(handle), scripts.DESTROY)

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        indexed, lease = -math.inf, b""
        for _ in range(_MAX_ATTEMPTS):
            end, ttl = end_of(expires_at), self._kept.ttl(expires_at)
            arguments = (self._kept.now(), pack_time(end), ttl, pack_time(indexed), lease)
            answer, *owner = await self._kept.run(self._kept.key(handle), scripts.RENEW, *arguments)
            if answer == scripts.BE_INDEXED:
                indexed, lease = end, await self._owners.add(to_str(owner[0]), handle, ttl)
            elif answer != scripts.IS_PENDING:
                return bool(answer == scripts.DONE)
            elif await self.load(handle) is None:
                return False
        raise AdapterError("renew", _TOO_SLOW)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        """Let the session go on under a new handle, in three steps of one key each.

        First the new record is reserved: written, but not live unless the old handle leads to it. Then the old record
        is retired, which is the one moment at which everybody sees the rotation. Then the reservation is confirmed.
        Cut short before the second step nothing has happened, and the reservation goes by itself; cut short after it,
        whoever follows the old handle finds the session.
        """
        longest = end_of(retired.expires_at) - self.clock() + 2 * LEASE_SECONDS
        ttl = time_to_live(min(end_of(record.expires_at) - self.clock(), longest))
        reserved_at = await self._write_new(new, record, origin=old, ttl=ttl)
        if reserved_at == scripts.REFUSED:
            return False
        lease = b"%d" % reserved_at
        try:
            rotated = await self._replace(old, retired, lease=lease)
        except FAILURES:
            if not await self._kept.leads_to(old, new):
                raise
            rotated = True
        if not rotated:
            await self.destroy(new)
            return False
        ttl = self._kept.ttl(record.expires_at)
        if await self._kept.run(self._kept.key(new), scripts.ACTIVATE, ttl, lease) == scripts.REFUSED:
            raise AdapterError("rotate", _TOO_SLOW)
        return True

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._owners.find(owner)

    async def open(self) -> None:
        """Connect; a server that is away now will be used once it is there, and a warning is logged.

        :raises AdapterError: where the server answers, but refuses the user or a command.
        """
        client = _client_of(self._source) if isinstance(self._source, str) else self._source
        connections: Connections = Cluster(client) if isinstance(client, RedisCluster) else Server(client)
        self._kept.connections = connections
        try:
            await self._kept.peek("")
        except AdapterError:
            await self.close()
            raise
        except (AuthenticationError, AuthorizationError, ResponseError) as error:
            await self.close()
            raise AdapterError("open", f"the server refuses the adapter ({type(error).__name__})") from error
        except FAILURES as error:
            logger.warning("the session store does not answer yet (%s): %s", type(error).__name__, error)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is under way, and close the adapter's own connections."""
        connections, self._kept.connections = self._kept.connections, Closed()
        await connections.close()

    async def _write_new(self, handle: str, record: SessionRecord, *, origin: str | None = None, ttl: bytes) -> int:
        """Store a new record, in its owner's index first; return ``REFUSED``, or the server's time in seconds."""
        for _ in range(_MAX_ATTEMPTS):
            indexed, lease = await self._indexed(handle, record)
            value = encode(record, indexed=indexed, origin=origin)
            answer = await self._kept.run(self._kept.key(handle), scripts.CREATE, self._kept.now(), value, ttl, lease)
            if answer != scripts.BE_INDEXED:
                return int(answer)
        raise AdapterError("create", _TOO_SLOW)

    async def _replace(
        self, handle: str, record: SessionRecord, answer: int | None = None, *, lease: bytes = b""
    ) -> bool:
        """Replace the previous version; with a ``lease`` of a reservation only as long as that holds.

        :param answer: what the server answered to the first attempt, where there was one.
        """
        indexed = -math.inf
        for _ in range(_MAX_ATTEMPTS):
            if answer is None:
                value, ttl = encode(record, indexed=indexed), self._kept.ttl(record.expires_at)
                key, now = self._kept.key(handle), self._kept.now()
                answer = await self._kept.run(key, scripts.UPDATE, now, value, ttl, lease)
            if answer == scripts.IS_PENDING:
                if await self.load(handle) is None:
                    return False
            elif answer != scripts.BE_INDEXED:
                return bool(answer == scripts.DONE)
            elif record.owner is None:
                return False
            else:
                indexed, lease = await self._indexed(handle, record)
            answer = None
        raise AdapterError("update", _TOO_SLOW)

    async def _indexed(self, handle: str, record: SessionRecord) -> tuple[float, bytes]:
        """Put a record into its owner's index; return until when it is there, and the lease of that."""
        if record.owner is None:
            return -math.inf, b""
        lease = await self._owners.add(record.owner, handle, self._kept.ttl(record.expires_at))
        return end_of(record.expires_at), lease


def _client_of(url: str) -> Redis:
    return Redis.from_url(url, protocol=2)


def _checked(client_or_url: Redis | RedisCluster | str) -> Redis | RedisCluster | str:
    if isinstance(client_or_url, str):
        try:
            pool: Any = _client_of(client_or_url).connection_pool
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
