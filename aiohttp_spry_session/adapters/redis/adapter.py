"""Sessions in Redis or Valkey: one server, a master behind Sentinels, or a Cluster."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import AuthenticationError, AuthorizationError, ResponseError

from ...adapter import SessionAdapter
from ...events import logger
from ...exceptions import AdapterError
from ...record import SessionRecord, latest
from . import scripts
from .clients import checked, client_of
from .cluster import Cluster
from .connections import NOT_OPEN, Call, Closed, Server
from .failures import FAILURES, is_demoted
from .hints import RedisHints
from .owners import OwnerIndex
from .records import decode_plain, encode, end_of, pack_time, time_to_live, to_str
from .scripts import LEASE_SECONDS
from .sessions import KeptSessions

__all__ = ["RedisSessionAdapter"]

_MAX_ATTEMPTS = 8
_REFUSALS = (AuthenticationError, AuthorizationError, ResponseError)
_TOO_SLOW = f"the steps of the operation lie more than {LEASE_SECONDS} s apart on the server's clock"


class RedisSessionAdapter(SessionAdapter):
    """Keeps sessions in Redis or Valkey (from version 6 on), for any number of processes and machines.

    Each step of an operation is one script on one key, so the promises hold on a Cluster too: :mod:`.scripts` has them
    all, and how they depend on each other. Concurrent operations share a trip.

    A write is sent once and never repeated, whatever retries the client is configured with: one whose answer was lost
    raises, and has been applied once or not at all. (The one exception raises less: a rotation whose answer was lost
    is looked up.) A server that was away is used again as soon as it answers.

    Redis forgets a session by itself, no earlier than at its end. It has to be configured not to forget one before:
    with ``maxmemory-policy noeviction``, and persistence where a restart of the server must not end every session.

    :param client_or_url: a ``redis.asyncio.Redis`` (also one of ``Sentinel.master_for``) or ``RedisCluster``, which
        is left alone otherwise; or a URL as redis-py takes it, ``redis://user:password@host:6379/0``, ``rediss://...``
        for TLS, ``unix:///path``. The adapter makes two connections of its own (two for each node), as the client or
        the URL says, which open and close with it, and one more while open sockets or streams depend on sessions.
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
        self._source = checked(client_or_url)
        self._kept = KeptSessions(prefix, lambda: self.clock())
        self._owners = OwnerIndex(self._kept)
        self._hints = RedisHints(self._kept)

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
        return bool(await self._write_new(handle, record))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        kept, now = self._kept, self.clock()
        arguments: tuple[bytes, ...]
        arguments = (pack_time(now), encode(record), time_to_live(end_of(record.expires_at) - now), b"")
        if record.retired:
            arguments += (kept.channel,)
        answer = await kept.connections.run(Call(kept.key(handle), scripts.UPDATE, arguments))
        if answer == scripts.DONE:
            return True
        return answer != scripts.REFUSED and await self._replace(handle, record, answer)

    async def destroy(self, handle: str) -> bool:
        answer = await self._kept.remove(handle)
        if answer == scripts.IS_PENDING:
            await self.load(handle)  # which confirms it, if it is a session
            answer = await self._kept.remove(handle, even_pending=True)
        return answer == scripts.DONE

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
        """Let the session go on under a new handle, in steps of one key each.

        First the new record is reserved: written, but not live unless the old handle leads to it. Then the old record
        is retired, which is the one moment at which everybody sees the rotation. Then the reservation is confirmed.
        Cut short before the second step nothing has happened; cut short after it, whoever comes next finds the session.
        What was reserved in vain and has an owner goes with the owner's next sign-in, the rest at the session's end.
        """
        kept = self._kept
        reserved_at = await self._write_new(new, record, origin=old)
        if reserved_at == scripts.REFUSED:
            return False
        try:
            rotated = await self._replace(old, retired, lease=b"%d" % reserved_at, successor=new, until=record)
        except FAILURES:
            if not await kept.leads_to(old, new):
                raise
            rotated = True
        if not rotated:
            await kept.remove(new, even_pending=True)
            return False
        with contextlib.suppress(AdapterError, *FAILURES):  # it has happened, and whoever comes next confirms it
            await kept.confirm(old, retired, new, record)
        return True

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._owners.find(owner)

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """As in the base class; on a Cluster node by node, so that a record that moves to another may be missed."""
        async for found in self.scan_all():
            if not found[1].retired:
                yield found

    async def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        kept = self._kept
        async for handles in kept.handles():
            values = await asyncio.gather(*map(kept.get, handles))
            for handle, data in zip(handles, values, strict=True):
                stored = None if data is None else kept.read(handle, data)
                if stored is None:
                    continue
                record = await self.load(handle) if stored.pending else stored.record
                if record is not None and not record.is_expired(self.clock()):
                    yield handle, record

    async def count(self) -> int:
        live = 0
        async for _ in self.scan():
            live += 1
        return live

    def hints(self) -> AsyncIterator[str | None]:
        """As in the base class: the scripts that end a session publish its key, and one more connection subscribes.

        A user without the right to the channel ``<prefix>ended`` has no hints; the log says so.
        """
        return self._hints.listen()

    async def purge(self) -> int:
        """Do nothing: Redis lets go of what has expired by itself."""
        if isinstance(self._kept.connections, Closed):
            raise AdapterError("purge", NOT_OPEN)
        return 0

    async def open(self) -> None:
        """Connect; a server that is away now will be used once it is there, and a warning is logged.

        :raises AdapterError: where the server answers, but refuses the user or a command.
        """
        client, kept = client_of(self._source), self._kept
        kept.connections = Cluster(client) if isinstance(client, RedisCluster) else Server(client, kept.key(""))
        try:
            await kept.peek("")
        except AdapterError:
            await self.close()
            raise
        except FAILURES as error:
            if isinstance(error, _REFUSALS) and not is_demoted(error):
                await self.close()
                raise AdapterError("open", f"the server refuses the adapter ({type(error).__name__})") from error
            logger.warning("the session store does not answer yet (%s): %s", type(error).__name__, error)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is under way, and close the adapter's own connections."""
        connections, self._kept.connections = self._kept.connections, Closed()
        await self._hints.close()
        await connections.close()

    async def _write_new(self, handle: str, record: SessionRecord, *, origin: str | None = None) -> int:
        """Store a new record, in its owner's index first; return ``REFUSED``, or the server's time in seconds."""
        ttl = self._kept.ttl(record.expires_at)
        for _ in range(_MAX_ATTEMPTS):
            indexed, lease = await self._indexed(handle, record)
            value = encode(record, indexed=indexed, origin=origin)
            answer = await self._kept.run(self._kept.key(handle), scripts.CREATE, self._kept.now(), value, ttl, lease)
            if answer != scripts.BE_INDEXED:
                return int(answer)
        raise AdapterError("create", _TOO_SLOW)

    async def _replace(
        self,
        handle: str,
        record: SessionRecord,
        answer: int | None = None,
        *,
        lease: bytes = b"",
        successor: str | None = None,
        until: SessionRecord | None = None,
    ) -> bool:
        """Replace the previous version; with a ``lease`` of a reservation only as long as that holds.

        :param answer: what the server answered to the first attempt, where there was one.
        :param successor: the handle that a rotation leads to.
        :param until: a record that the key has to outlive.
        """
        indexed = -math.inf
        for _ in range(_MAX_ATTEMPTS):
            if answer is None:
                value = encode(record, indexed=indexed, successor=successor)
                ttl = self._kept.ttl(
                    record.expires_at if until is None else latest(record.expires_at, until.expires_at)
                )
                key, now = self._kept.key(handle), self._kept.now()
                told = (self._kept.channel,) if record.retired else ()
                answer = await self._kept.run(key, scripts.UPDATE, now, value, ttl, lease, *told)
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
