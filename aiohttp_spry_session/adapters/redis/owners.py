"""Which sessions an owner has: an index that never lacks a live one, and loses the others by itself.

How an entry and its session depend on each other stands in :mod:`.scripts`.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from ...record import SessionRecord
from . import scripts
from .records import Stored, to_bytes, to_str
from .scripts import LEASE_SECONDS
from .sessions import KeptSessions

__all__ = ["OwnerIndex"]

_MIN_AGE = 2 * LEASE_SECONDS
_LONGER = _MIN_AGE + 600
"""Seconds that an index lives longer than its sessions: their ends are set by clocks that may be ten minutes apart."""


class _Entry(NamedTuple):
    handle: str
    score: bytes
    is_kept: bool
    """Whether there is anything at the session's key, readable or not."""
    stored: Stored | None

    def is_gone(self, owner: str) -> bool:
        """Whether it leads nowhere. A reservation may still become live; what has expired the server removes."""
        return not self.is_kept or (self.stored is not None and _is_elsewhere(owner, self.stored))


class OwnerIndex:
    """One sorted set for each owner: handles, each with the server's time at which its entry was last written.

    An entry is written before its session, which is refused if it comes more than ``LEASE_SECONDS`` later. An entry is
    removed only where it is older than twice that, and its session gone from the server, retired or another owner's.
    So no order of events, no pause of a process, and no clock but the server's leaves a live session without its entry.
    """

    def __init__(self, kept: KeptSessions) -> None:
        self._kept = kept
        self.min_age = _MIN_AGE
        """Seconds for which an entry stays, whether its session is there or not."""

    async def add(self, owner: str, handle: str, ttl: bytes) -> bytes:
        """Enter a session that is about to be written and to live so long; return the lease.

        The entries that nobody looked at for longest are looked at, so that an index does not outgrow its sessions.
        """
        least = b"%d" % (int(ttl) + _LONGER * 1000) if ttl else b""
        now, oldest = await self._kept.run(
            self._kept.owner_key(owner), scripts.INDEX, to_bytes(handle), least, b"%d" % self.min_age
        )
        if oldest:
            await self._heal(owner, [await self._clear(entry) for entry in await self._look_at(oldest)])
        return b"%d" % now

    async def find(self, owner: str) -> dict[str, SessionRecord]:
        """Return the owner's live records."""
        entries = await self._look_at(await self._kept.run(self._kept.owner_key(owner), scripts.INDEX_LIST))
        gone = [entry for entry in entries if entry.is_gone(owner)]
        if gone:
            await self._heal(owner, gone)
        found = {entry.handle: entry.stored for entry in entries}
        for stored in list(found.values()):
            await self._follow(stored, found)
        live = {
            handle: stored
            for handle, stored in found.items()
            if stored is not None and self._is_listed(owner, stored) and await self._kept.is_settled(handle, stored)
        }
        for origin in [stored.origin for stored in live.values() if stored.origin is not None]:
            # Both handles of a rotation: the old one was looked at before it.
            if origin in live and ((old := await self._kept.peek(origin)) is None or _is_elsewhere(owner, old)):
                del live[origin]
        return {handle: stored.record for handle, stored in live.items()}

    async def _follow(self, stored: Stored | None, found: dict[str, Stored | None]) -> None:
        """Add what a session was rotated to since the index was read, or since the new handle was looked at."""
        while stored is not None and (successor := stored.successor) and found.get(successor) is None:
            stored = found[successor] = await self._kept.peek(successor)

    async def _look_at(self, flat: list[bytes]) -> list[_Entry]:
        """Return the entries that the server named, handle and score in turn, with what is kept for each."""
        return await asyncio.gather(*map(self._entry, map(to_str, flat[::2]), flat[1::2]))

    async def _entry(self, handle: str, score: bytes) -> _Entry:
        data = await self._kept.get(handle)
        return _Entry(handle, score, data is not None, None if data is None else self._kept.read(handle, data))

    async def _clear(self, entry: _Entry) -> _Entry:
        """Remove what was reserved for a rotation that never happened; the entry is too old for it to happen still."""
        handle, score, _, stored = entry
        if stored is None or await self._kept.is_settled(handle, stored):
            return entry
        await self._kept.remove(handle, even_pending=True)
        return _Entry(handle, score, is_kept=False, stored=None)

    def _is_listed(self, owner: str, stored: Stored) -> bool:
        return not _is_elsewhere(owner, stored) and not stored.record.is_expired(self._kept.clock())

    async def _heal(self, owner: str, entries: list[_Entry]) -> None:
        arguments = [b"%d" % self.min_age]
        for entry in entries:
            arguments += to_bytes(entry.handle), entry.score, b"1" if entry.is_gone(owner) else b"0"
        await self._kept.run(self._kept.owner_key(owner), scripts.INDEX_HEAL, *arguments)


def _is_elsewhere(owner: str, stored: Stored) -> bool:
    return stored.record.retired or stored.record.owner != owner
