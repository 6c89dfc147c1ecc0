"""Rotations: the trail of handles that a session has had, followed to where it is now, and to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from ..exceptions import ConflictError
from ..record import SessionRecord, Successor, retire, successor_of
from .turns import Turns

__all__ = ["MAX_ATTEMPTS", "Ended", "Trails"]

MAX_ATTEMPTS = 128
"""How often a commit is tried. Within a process commits of one session take turns, so only other processes compete."""

MAX_ROTATIONS = 1000
"""How many rotations are followed from one presented identifier; only a forged store has more in a minute."""


class Ended(NamedTuple):
    """A live session that was ended."""

    handle: str
    owner: str | None


class _Store(Protocol):
    @property
    def turns(self) -> Turns: ...
    def load(self, handle: str, /) -> Awaitable[SessionRecord | None]: ...
    def update(self, handle: str, record: SessionRecord, /) -> Awaitable[bool]: ...
    def destroy(self, handle: str, /) -> Awaitable[bool]: ...


class Trails:
    """Where rotations have taken the sessions of a store."""

    def __init__(self, store: _Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def resolve(self, handle: str) -> tuple[str, SessionRecord | None]:
        """Return what :meth:`follow` finds, beginning with a handle."""
        record = await self._store.load(handle)
        if record is None or not record.retired:
            return handle, record
        return await self.follow(handle, record)

    async def follow(self, handle: str, record: SessionRecord) -> tuple[str, SessionRecord | None]:
        """Follow the rotations that are within their grace, beginning with a retired record.

        Return where they lead: the live record and its handle, a retired one whose grace is over, or ``None``.
        """
        found: SessionRecord | None = record
        for _ in range(MAX_ROTATIONS):
            if found is None or not found.retired:
                break
            successor = _next(found)
            # (promise 3) 0 is no grace: that is decided by no comparison of clocks.
            if successor is None or not successor.grace_until or successor.grace_until <= self._clock():
                break
            handle = successor.handle
            found = await self._store.load(handle)
        return handle, found

    async def trail(self, handle: str) -> list[str]:
        """Return a handle and those that every rotation since has given the session."""
        return (await self._trail(handle))[0]

    async def newest(self, handle: str) -> tuple[str, SessionRecord | None]:
        """Return where all rotations since have taken a session: handle and live record, or ``None``: it has ended."""
        handles, record = await self._trail(handle)
        return handles[-1], None if record is None or record.retired else record

    async def _trail(self, handle: str) -> tuple[list[str], SessionRecord | None]:
        handles = [handle]
        record = await self._store.load(handle)
        while len(handles) < MAX_ROTATIONS and (successor := _next(record)) is not None:
            handles.append(successor.handle)
            record = await self._store.load(successor.handle)
        return handles, record

    async def end(
        self, handle: str, known: SessionRecord | None = None, *, created_at: float | None = None
    ) -> Ended | None:
        """End the session that a handle leads to, through any rotation; return it, or ``None`` where none lives.

        ``known`` is the live record that was there a moment ago, where one has just been seen: it need not be loaded.
        With ``created_at`` only a session is ended that was created then: a ``bind`` moves that.

        A live record is fenced first, by taking its place as a retired one that leads nowhere: so a rotation that runs
        at the same time either sees it gone, or is seen and followed: a logout always logs out (promise 3).
        """
        passed: list[str] = []
        fence: Ended | None = None
        attempts = 0
        while handle and handle not in passed:
            # Who lost a race takes turns with this process's commits: one that rotates again and again could win each.
            async with self._store.turns.take(handle) if attempts else nullcontext():
                record, known = await self._store.load(handle) if known is None else known, None
                fenced = (
                    record is not None
                    and not record.retired
                    and created_at in (None, record.created_at)
                    and await self._store.update(handle, _fence(record, self._clock()))
                )
            if record is None:
                break
            if record.retired:
                passed.append(handle)
                successor = successor_of(record)
                if successor is not None and not successor.handle:
                    fence = Ended(handle, successor.owner)  # of an earlier attempt, which was cut short
                handle = "" if successor is None else successor.handle
            elif fenced:
                passed.append(handle)
                fence = Ended(handle, record.owner)
                break
            elif created_at not in (None, record.created_at):
                return None
            else:
                attempts += 1
                if attempts == MAX_ATTEMPTS:
                    raise ConflictError("the session kept changing while it was to be ended")
        return await self._clear_away(passed, fence)

    async def _clear_away(self, passed: list[str], fence: Ended | None) -> Ended | None:
        """Remove a trail; return the session that ended at its fence, to the one who removes that: it tells of the end.

        The retired ones go last: they are the way to the session, should this be cut short and tried again.
        """
        ended: Ended | None = None
        for past in reversed(passed):
            removed = await self._store.destroy(past)
            if removed and fence is not None and past == fence.handle:
                ended = fence
        return ended


def _next(record: SessionRecord | None) -> Successor | None:
    """Return what took over from a record, if it was rotated away."""
    successor = successor_of(record) if record is not None and record.retired else None
    return successor if successor is not None and successor.handle else None


def _fence(record: SessionRecord, now: float) -> SessionRecord:
    return retire(replace(record, version=record.version + 1), "", now=now, owner=record.owner)
