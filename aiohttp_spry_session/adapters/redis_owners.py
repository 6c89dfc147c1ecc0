"""Which sessions an owner has: an index that never lacks a live one, and loses the others by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ..adapter import SessionRecord
from . import redis_scripts as scripts
from .redis_records import Stored, to_bytes, to_str
from .redis_scripts import LEASE_SECONDS

if TYPE_CHECKING:
    from .redis import RedisSessionAdapter

__all__ = ["OwnerIndex"]

_MARGIN = 2 * LEASE_SECONDS


class _Entry(NamedTuple):
    handle: str
    score: bytes
    stored: Stored | None


class OwnerIndex:
    """One sorted set for each owner: handles, each with the server's time at which its entry was last written.

    An entry is written before its session, which is refused if it comes more than ``LEASE_SECONDS`` later. An entry is
    removed only where its session is gone and the entry is older than twice that. So no order of events, and no
    pause of a process, leaves a live session without its entry.
    """

    def __init__(self, adapter: RedisSessionAdapter) -> None:
        self._adapter = adapter
        self.min_age = _MARGIN
        """Seconds for which an entry stays, whether its session is there or not."""

    async def add(self, owner: str, handle: str, ttl: bytes) -> bytes:
        """Enter a session that is about to be written and to live so long; return the lease.

        The entries that nobody looked at for longest are looked at, so that an index does not outgrow its sessions.
        """
        least = b"%d" % (int(ttl) + _MARGIN * 1000) if ttl else b""
        now, oldest = await self._adapter.call(
            self._adapter.owner_key(owner), scripts.INDEX, to_bytes(handle), least, b"%d" % self.min_age
        )
        if oldest:
            await self._heal(owner, await self._look_at(oldest))
        return b"%d" % now

    async def find(self, owner: str) -> dict[str, SessionRecord]:
        """Return the owner's live records."""
        entries = await self._look_at(await self._adapter.call(self._adapter.owner_key(owner), scripts.INDEX_LIST))
        live: dict[str, SessionRecord] = {}
        gone: list[_Entry] = []
        for entry in entries:
            if self._is_gone(owner, entry):
                gone.append(entry)
            elif entry.stored is not None and await self._adapter.is_settled(entry.handle, entry.stored):
                live[entry.handle] = entry.stored.record
        if gone:
            await self._heal(owner, gone)
        return live

    async def _look_at(self, flat: list[bytes]) -> list[_Entry]:
        """Return the entries that the server named, handle and score in turn, with what is kept for each."""
        handles = [to_str(handle) for handle in flat[::2]]
        found = await asyncio.gather(*map(self._adapter.peek, handles))
        return [_Entry(*entry) for entry in zip(handles, flat[1::2], found, strict=True)]

    def _is_gone(self, owner: str, entry: _Entry) -> bool:
        """Whether an entry leads nowhere; a reservation may still become live."""
        if entry.stored is None:
            return True
        record = entry.stored.record
        return record.owner != owner or record.retired or record.is_expired(self._adapter.clock())

    async def _heal(self, owner: str, entries: list[_Entry]) -> None:
        arguments = [b"%d" % self.min_age]
        for entry in entries:
            arguments += to_bytes(entry.handle), entry.score, b"1" if self._is_gone(owner, entry) else b"0"
        await self._adapter.call(self._adapter.owner_key(owner), scripts.INDEX_HEAL, *arguments)
