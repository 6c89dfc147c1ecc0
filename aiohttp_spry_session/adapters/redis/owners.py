"""Which sessions an owner has: an index that never lacks a live one, and loses the others by itself."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ...record import SessionRecord
from . import scripts
from .records import Stored, to_bytes, to_str
from .scripts import LEASE_SECONDS
from .sessions import KeptSessions, follow

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

    def __init__(self, kept: KeptSessions) -> None:
        self._kept = kept
        self.min_age = _MARGIN
        """Seconds for which an entry stays, whether its session is there or not."""

    async def add(self, owner: str, handle: str, ttl: bytes) -> bytes:
        """Enter a session that is about to be written and to live so long; return the lease.

        The entries that nobody looked at for longest are looked at, so that an index does not outgrow its sessions.
        """
        least = b"%d" % (int(ttl) + _MARGIN * 1000) if ttl else b""
        now, oldest = await self._kept.run(
            self._kept.owner_key(owner), scripts.INDEX, to_bytes(handle), least, b"%d" % self.min_age
        )
        if oldest:
            await self._heal(owner, await self._look_at(oldest))
        return b"%d" % now

    async def find(self, owner: str) -> dict[str, SessionRecord]:
        """Return the owner's live records."""
        entries = await self._look_at(await self._kept.run(self._kept.owner_key(owner), scripts.INDEX_LIST))
        gone = [entry for entry in entries if self._is_gone(owner, entry.stored)]
        if gone:
            await self._heal(owner, gone)
        found = {entry.handle: entry.stored for entry in entries}
        for stored in list(found.values()):
            await self._follow(stored, found)
        live = {
            handle: stored
            for handle, stored in found.items()
            if stored is not None and not self._is_gone(owner, stored) and await self._kept.is_settled(handle, stored)
        }
        for origin in [stored.origin for stored in live.values() if stored.origin is not None]:
            # Both handles of a rotation: the old one was looked at before it.
            if origin in live and self._is_gone(owner, await self._kept.peek(origin)):
                del live[origin]
        return {handle: stored.record for handle, stored in live.items()}

    async def _follow(self, stored: Stored | None, found: dict[str, Stored | None]) -> None:
        """Add what a session was rotated to since the index was read, or since the new handle was looked at."""
        while stored is not None and (successor := follow(stored)) and found.get(successor) is None:
            stored = found[successor] = await self._kept.peek(successor)

    async def _look_at(self, flat: list[bytes]) -> list[_Entry]:
        """Return the entries that the server named, handle and score in turn, with what is kept for each."""
        handles = [to_str(handle) for handle in flat[::2]]
        found = await asyncio.gather(*map(self._kept.peek, handles))
        return [_Entry(*entry) for entry in zip(handles, flat[1::2], found, strict=True)]

    def _is_gone(self, owner: str, stored: Stored | None) -> bool:
        """Whether an entry leads nowhere; a reservation may still become live."""
        if stored is None:
            return True
        record = stored.record
        return record.owner != owner or record.retired or record.is_expired(self._kept.clock())

    async def _heal(self, owner: str, entries: list[_Entry]) -> None:
        arguments = [b"%d" % self.min_age]
        for entry in entries:
            is_gone = self._is_gone(owner, entry.stored)
            arguments += to_bytes(entry.handle), entry.score, b"1" if is_gone else b"0"
        await self._kept.run(self._kept.owner_key(owner), scripts.INDEX_HEAL, *arguments)
