"""Sessions in the memory of this process."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

from msgspec.structs import replace

from ..adapter import SessionAdapter
from ..events import logger
from ..record import SessionRecord, latest
from .hints import Hints

__all__ = ["MemorySessionAdapter"]

_SLICES_PER_LIFETIME = 64
_ENDLESS_SLICE = 3600.0
_AFTER_ALL_ENDS = 1e15
_STEP = 200


class MemorySessionAdapter(SessionAdapter):
    """Keeps sessions in this process: for development, tests, and a single process whose sessions may go with it.

    It stores the same bytes as every other adapter. Expired sessions leave by themselves: a few with each new one, and
    all of them whenever :meth:`purge` runs. It needs no opening, and closing it ends nothing but its hints.

    :param expiration: ``timedelta`` or seconds from start or renewal to the end; ``None``: never.
    :param max_sessions: how many records may be held; ``None``: no limit. What a rotation leaves behind for a minute
        counts too. One record more evicts the one that is nearest to its end (as good as: within a 64th of
        ``expiration``), and of sessions without an end the one that began first (within an hour). A warning is logged,
        at most once a minute.
    :raises ValueError: for an unusable option.
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
        # One handle stands for itself, which saves the set that most owners do not need.
        self._owners: dict[str, str | set[str]] = {}
        # Handles by the slice of time in which their record ends. A handle whose record moved or went stays until
        # it is looked at; whenever one is left so, two of its slice are looked at, so these are never the greater part.
        self._ends: dict[float, deque[str]] = {}
        self._first = math.inf  # no slice is earlier
        self._slice = _ENDLESS_SLICE if self.expiration is None else max(1.0, self.expiration / _SLICES_PER_LIFETIME)
        self._hints = Hints()
        self._evicted = 0
        self._warned_at = -math.inf

    # Every request comes through these two, so they call nothing that they can do without.

    async def load(self, handle: str) -> SessionRecord | None:
        record = self._records.get(handle)
        if record is None or (record.expires_at is not None and record.expires_at <= self.clock()):
            return None
        return record

    async def update(self, handle: str, record: SessionRecord) -> bool:
        """As in the base class; a record that keeps its end, creation and owner is in the same places as before."""
        current = self._records.get(handle)
        if (
            current is None
            or current.retired
            or current.version != record.version - 1
            or (current.expires_at is not None and current.expires_at <= self.clock())
        ):
            return False
        if (
            current.expires_at == record.expires_at
            and current.created_at == record.created_at
            and current.owner == record.owner
            and not record.retired
        ):
            self._records[handle] = record
        else:
            self._put(handle, record)
            if record.retired:
                self._hints.tell(handle)
        return True

    async def create(self, handle: str, record: SessionRecord) -> bool:
        if self._get(handle) is not None:
            return False
        if self._first <= self.clock() // self._slice:
            self._sweep()
        if self.max_sessions is not None and handle not in self._records and len(self._records) >= self.max_sessions:
            self._evict()
        self._put(handle, record)
        return True

    async def destroy(self, handle: str) -> bool:
        record = self._records.get(handle)
        if record is None:
            return False
        self._forget(handle, record)
        self._tidy(self._slice_of(record))
        self._hints.tell(handle)
        return not record.is_expired(self.clock())

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        current = self._get(handle)
        if current is None or current.retired:
            return False
        end = latest(current.expires_at, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=end))
        return True

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        current = self._get(old)
        if current is None or current.retired or current.version != record.version - 1 or self._get(new) is not None:
            return False
        self._put(new, record)
        self._put(old, retired)
        self._hints.tell(old)
        if self.max_sessions is not None and len(self._records) > self.max_sessions:
            self._evict()
        return True

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        handles = self._owners.get(owner, ())
        found: dict[str, SessionRecord] = {}
        for handle in (handles,) if isinstance(handles, str) else handles:
            record = self._get(handle)
            if record is not None and not record.retired:
                found[handle] = record
        return found

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        async for found in self.scan_all():
            if not found[1].retired:
                yield found

    async def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        for number, handle in enumerate(list(self._records), 1):
            record = self._get(handle)
            if record is not None:
                yield handle, record
            if number % _STEP == 0:
                await asyncio.sleep(0)

    async def count(self) -> int:
        live = 0
        async for _ in self.scan():
            live += 1
        return live

    def hints(self) -> AsyncIterator[str | None]:
        return self._hints.listen()

    async def purge(self) -> int:
        now = self.clock()
        purged = looked_at = 0
        for when in sorted(when for when in self._ends if when <= now // self._slice):
            for _ in range(len(self._ends.get(when, ()))):
                if when not in self._ends:  # others emptied it meanwhile
                    break
                purged += self._look(when, now)
                looked_at += 1
                if looked_at % _STEP == 0:
                    await asyncio.sleep(0)
        return purged

    async def close(self) -> None:
        await self._hints.close()

    def __len__(self) -> int:
        """How many records are held, retired and not yet purged ones included."""
        return len(self._records)

    def _get(self, handle: str) -> SessionRecord | None:
        record = self._records.get(handle)
        if record is None or (record.expires_at is not None and record.expires_at <= self.clock()):
            return None
        return record

    def _put(self, handle: str, record: SessionRecord) -> None:
        previous = self._records.get(handle)
        when = self._slice_of(record)
        past = None if previous is None else self._slice_of(previous)
        if previous is not None:
            if past == when and previous.owner == record.owner:
                self._records[handle] = record
                return
            # Taken out, so that records, owners and ends go on sharing one string: here, the one that came now.
            self._forget(handle, previous)
        self._records[handle] = record
        self._own(handle, record)
        if past != when:
            self._enqueue(handle, when)
            if past is not None:
                self._tidy(past)

    def _forget(self, handle: str, record: SessionRecord) -> None:
        del self._records[handle]
        self._disown(handle, record)

    def _own(self, handle: str, record: SessionRecord) -> None:
        if record.owner is None:
            return
        handles = self._owners.setdefault(record.owner, handle)
        if isinstance(handles, set):
            handles.add(handle)
        elif handles != handle:
            self._owners[record.owner] = {handles, handle}

    def _disown(self, handle: str, record: SessionRecord) -> None:
        if record.owner is None:
            return
        handles = self._owners[record.owner]
        if isinstance(handles, set) and len(handles) > 1:
            handles.remove(handle)
        else:
            del self._owners[record.owner]

    def _slice_of(self, record: SessionRecord) -> float:
        if record.expires_at is None:
            return _AFTER_ALL_ENDS + record.created_at // self._slice
        return record.expires_at // self._slice

    def _enqueue(self, handle: str, when: float) -> None:
        handles = self._ends.get(when)
        if handles is None:
            self._ends[when] = deque((handle,))
            self._first = min(self._first, when)
        else:
            handles.append(handle)

    def _earliest(self) -> float:
        if self._first not in self._ends:
            self._first = min(self._ends, default=math.inf)
        return self._first

    def _take(self, when: float) -> tuple[str, SessionRecord | None]:
        """Take a handle out of a slice; return it with its record, unless that is elsewhere or gone."""
        handles = self._ends[when]
        handle = handles.popleft()
        if not handles:
            del self._ends[when]
        record = self._records.get(handle)
        return handle, record if record is not None and self._slice_of(record) == when else None

    def _look(self, when: float, now: float) -> bool:
        """Look at one handle of a slice; return whether its record had expired, and was removed."""
        handle, record = self._take(when)
        if record is None:
            return False
        if record.is_expired(now):
            self._forget(handle, record)
            return True
        self._enqueue(handle, when)
        return False

    def _tidy(self, when: float) -> None:
        now = self.clock()
        for _ in range(2):
            if when in self._ends:
                self._look(when, now)

    def _sweep(self) -> None:
        now = self.clock()
        for _ in range(2):
            when = self._earliest()
            if when > now // self._slice:
                break
            self._look(when, now)

    def _evict(self) -> None:
        handle, record = self._take(self._earliest())
        while record is None:
            handle, record = self._take(self._earliest())
        self._forget(handle, record)
        self._hints.tell(handle)
        now = self.clock()
        if record.is_expired(now):
            return
        self._evicted += 1
        if now - self._warned_at >= 60.0:
            logger.warning(
                "max_sessions=%s is reached: %s sessions evicted so far, the last was %s",
                self.max_sessions,
                self._evicted,
                handle,
            )
            self._warned_at = now
