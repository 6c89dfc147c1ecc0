"""Sessions in the memory of this process."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from ..adapter import SessionAdapter, SessionRecord, latest, retire
from ..events import logger

__all__ = ["MemorySessionAdapter"]

_SLICES_PER_LIFETIME = 64
_STEP = 500


class MemorySessionAdapter(SessionAdapter):
    """Keeps sessions in this process: for development, tests, and a single process whose sessions may go with it.

    It stores the same bytes as every other adapter. Expired sessions leave by themselves: a few with each new one, and
    all of them whenever :meth:`purge` runs.

    :param expiration: ``timedelta`` or seconds from start or renewal to the end; ``None``: never.
    :param max_sessions: how many sessions may be kept; ``None``: no limit. One more evicts the session that is nearest to
        its end (as good as: within a 64th of ``expiration``), and a warning is logged, at most once a minute.
    """

    def __init__(
        self,
        *,
        expiration: timedelta | float | None = timedelta(minutes=20),
        max_sessions: int | None = None,
    ) -> None:
        super().__init__(expiration=expiration)
        if max_sessions is not None and (
            isinstance(max_sessions, bool) or not isinstance(max_sessions, int) or max_sessions < 1
        ):
            raise ValueError(f"max_sessions must be a whole number above 0, or None for no limit, not {max_sessions!r}")
        self.max_sessions = max_sessions
        self._records: dict[str, SessionRecord] = {}
        self._owners: dict[str, set[str]] = {}
        # Handles by the slice of time in which their record ends: one that was renewed since stands in a later one too.
        self._ends: dict[float, deque[str]] = {}
        self._slice = max(1.0, (self.expiration or 0.0) / _SLICES_PER_LIFETIME)
        self._evicted = 0
        self._warned_at = -math.inf

    async def load(self, handle: str) -> SessionRecord | None:
        return self._get(handle)

    async def create(self, handle: str, record: SessionRecord) -> bool:
        if self._get(handle) is not None:
            return False
        self._sweep(limit=2)
        if self.max_sessions is not None and len(self._records) >= self.max_sessions:
            self._evict()
        self._put(handle, record)
        return True

    async def update(self, handle: str, record: SessionRecord) -> bool:
        current = self._get(handle)
        if current is None or current.retired or current.version != record.version - 1:
            return False
        self._put(handle, record)
        return True

    async def destroy(self, handle: str) -> None:
        self._remove(handle)

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        current = self._get(handle)
        if current is None or current.retired:
            return False
        end = latest(current.expires_at, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=end))
        return True

    async def rotate(self, old: str, new: str, record: SessionRecord, *, grace: float = 0.0) -> bool:
        current = self._get(old)
        if current is None or current.retired or current.version != record.version - 1 or self._get(new) is not None:
            return False
        self._put(new, record)
        self._put(old, retire(record, new, now=self.clock(), grace=grace))
        return True

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        found: dict[str, SessionRecord] = {}
        for handle in self._owners.get(owner, ()):
            record = self._get(handle)
            if record is not None:
                found[handle] = record
        return found

    async def purge(self) -> int:
        purged = 0
        while True:
            removed, looked_at = self._sweep(limit=_STEP)
            purged += removed
            if looked_at < _STEP:
                return purged
            await asyncio.sleep(0)

    def __len__(self) -> int:
        """How many records are held, retired and not yet purged ones included."""
        return len(self._records)

    def _get(self, handle: str) -> SessionRecord | None:
        record = self._records.get(handle)
        return None if record is None or record.is_expired(self.clock()) else record

    def _put(self, handle: str, record: SessionRecord) -> None:
        previous = self._records.get(handle)
        if previous is not None and previous.owner != record.owner:
            self._disown(handle, previous)
        self._records[handle] = record
        if record.owner is not None:
            self._owners.setdefault(record.owner, set()).add(handle)
        when = self._slice_of(record)
        if previous is None or self._slice_of(previous) != when:
            self._ends.setdefault(when, deque()).append(handle)

    def _remove(self, handle: str) -> None:
        record = self._records.pop(handle, None)
        if record is not None:
            self._disown(handle, record)

    def _disown(self, handle: str, record: SessionRecord) -> None:
        if record.owner is not None:
            handles = self._owners[record.owner]
            handles.discard(handle)
            if not handles:
                del self._owners[record.owner]

    def _slice_of(self, record: SessionRecord) -> float:
        return math.inf if record.expires_at is None else record.expires_at // self._slice

    def _sweep(self, *, limit: int) -> tuple[int, int]:
        """Look at so many handles whose slice is past; return how many were removed and looked at."""
        now = self.clock()
        removed = looked_at = 0
        while self._ends and looked_at < limit:
            first = min(self._ends)
            if first >= now // self._slice:
                break
            handles = self._ends[first]
            while handles and looked_at < limit:
                handle = handles.popleft()
                looked_at += 1
                record = self._records.get(handle)
                if record is not None and record.is_expired(now):
                    self._remove(handle)
                    removed += 1
            if not handles:
                del self._ends[first]
        return removed, looked_at

    def _evict(self) -> None:
        while True:
            first = min(self._ends)
            handles = self._ends[first]
            handle = handles.popleft()
            if not handles:
                del self._ends[first]
            record = self._records.get(handle)
            if record is not None and self._slice_of(record) == first:
                break
        self._remove(handle)
        self._evicted += 1
        now = self.clock()
        if now - self._warned_at >= 60.0:
            logger.warning(
                "max_sessions=%s is reached: %s sessions evicted so far, the last was %s",
                self.max_sessions,
                self._evicted,
                handle,
            )
            self._warned_at = now
