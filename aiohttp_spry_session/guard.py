"""The adapter as the rest of the package sees it: bounded in time, its failures translated, its answers checked."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from .adapter import SessionAdapter
from .exceptions import AdapterError, ConflictError
from .record import SessionRecord, Successor, retire, successor_of
from .timeouts import TimeLimit

__all__ = ["MAX_ATTEMPTS", "Ended", "GuardedStore"]

T = TypeVar("T")

MAX_ATTEMPTS = 128
"""How often a commit is tried. Within a process commits of one session take turns, so only other processes compete."""


MAX_ROTATIONS = 1000
"""How many rotations are followed from one presented identifier; only a forged store has more in a minute."""


class Ended(NamedTuple):
    """A live session that was ended."""

    handle: str
    owner: str | None


class GuardedStore:
    """Calls an adapter with a time limit; whatever goes wrong there is an :class:`AdapterError` here."""

    def __init__(self, adapter: SessionAdapter, clock: Callable[[], float], timeout: float | None) -> None:
        self._adapter = adapter
        self._clock = clock
        self._timeout = timeout
        self._limit = TimeLimit(timeout)
        self.turns: dict[str, _Turn] = {}
        """Handles of the sessions whose commits are taking turns in this process, see :meth:`turn`."""

    @types.coroutine
    def load(self, handle: str) -> Generator[Any, Any, SessionRecord | None]:
        """Return the live or retired record."""
        # As _call, in place: this is the hot path.
        try:
            steps = self._adapter.load(handle).__await__()
            try:
                waiting_for = steps.send(None)
            except StopIteration as done:
                record: SessionRecord | None = done.value
            else:
                record = yield from self._limit.finish(steps, waiting_for)
        except AdapterError:
            raise
        except Exception as error:
            raise self._failure("load", error) from error
        if record is None:
            return None
        # What has just the right types, as nearly every record has, is checked here.
        if (
            type(record) is not SessionRecord
            or type(record.payload) is not bytes
            or type(record.version) is not int
            or type(record.created_at) is not float
            or type(record.expires_at) is not float
            or (record.owner is not None and type(record.owner) is not str)
        ):
            _check_record("load", record)
        expired = record.expires_at is not None and record.expires_at <= self._clock()
        return None if expired else record

    async def resolve(self, handle: str) -> tuple[str, SessionRecord | None]:
        """Return what :meth:`follow` finds, beginning with a handle."""
        record = await self.load(handle)
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
            if successor is None or successor.grace_until <= self._clock():
                break
            handle = successor.handle
            found = await self.load(handle)
        return handle, found

    async def trail(self, handle: str) -> list[str]:
        """Return a handle and those that every rotation since has given the session."""
        handles = [handle]
        while len(handles) < MAX_ROTATIONS and (successor := _next(await self.load(handles[-1]))) is not None:
            handles.append(successor.handle)
        return handles

    def create(self, handle: str, record: SessionRecord) -> Awaitable[bool]:
        """Store a new record."""
        return self._call("create", self._adapter.create, handle, record)

    def update(self, handle: str, record: SessionRecord) -> Awaitable[bool]:
        """Replace the previous version."""
        return self._call("update", self._adapter.update, handle, record)

    def renew(self, handle: str, expires_at: float | None) -> Awaitable[bool]:
        """Move the end of a live record."""
        return self._call("renew", self._adapter.renew, handle, expires_at)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        """Move the session to a new handle.

        Only this request knows the new identifier, so a rotation whose answer was lost would log its user out: where
        the store failed, but did not hang, it is asked what became of the old handle.
        """
        try:
            return await self._call("rotate", self._adapter.rotate, old, new, record, retired)
        except AdapterError as error:
            if isinstance(error.__cause__, TimeoutError) or not await self._leads_to(old, new):
                raise
            return True

    async def _leads_to(self, old: str, new: str) -> bool:
        try:
            successor = _next(await self.load(old))
        except AdapterError:
            return False
        return successor is not None and successor.handle == new

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        """Return an owner's live records."""
        try:
            found = await self._call("find", self._adapter.find, owner)
        except AdapterError as error:
            if isinstance(error.__cause__, NotImplementedError):
                raise error.__cause__ from None
            raise
        if not isinstance(found, Mapping):
            raise AdapterError("find", f"answered a {type(found).__name__} instead of a mapping")
        for record in found.values():
            _check_record("find", record)
        now = self._clock()
        return {
            handle: record
            for handle, record in found.items()
            if not record.retired and record.owner == owner and not record.is_expired(now)
        }

    async def end(self, handle: str) -> Ended | None:
        """End the session that a handle leads to, through any rotation; return it, or ``None`` where none lives.

        A live record is fenced first, by taking its place as a retired one that leads nowhere: so a rotation that runs
        at the same time either sees it gone, or is seen and followed.
        """
        passed: list[str] = []
        ended: Ended | None = None
        attempts = 0
        while handle and handle not in passed:
            record = await self.load(handle)
            if record is None:
                break
            if record.retired:
                passed.append(handle)
                successor = successor_of(record)
                handle = "" if successor is None else successor.handle
            elif await self.update(handle, _fence(record, self._clock())):
                passed.append(handle)
                ended = Ended(handle, record.owner)
                break
            else:
                attempts += 1
                if attempts == MAX_ATTEMPTS:
                    raise ConflictError("the session kept changing while it was to be ended")
        # The retired ones last: they are the way to the session, should this be cut short and tried again.
        for past in reversed(passed):
            await self._call("destroy", self._adapter.destroy, past)
        return ended

    async def purge(self) -> int:
        """Delete what has expired. It takes the time it takes: it is cut into steps, and nobody waits for it."""
        try:
            return await self._adapter.purge()
        except Exception as error:
            raise AdapterError("purge", f"failed ({type(error).__name__})") from error

    async def open(self) -> None:
        """Open the adapter for its first user; several managers may share one."""
        if not self._adapter.users:
            await self._adapter.open()
        self._adapter.users += 1

    async def close(self) -> None:
        """Close the adapter after its last user; fine where it is closed."""
        if not self._adapter.users:
            return
        self._adapter.users -= 1
        if not self._adapter.users:
            await self._adapter.close()

    @asynccontextmanager
    async def turn(self, handle: str) -> AsyncIterator[None]:
        """Take turns with the other commits of this process that lost a race for the same session."""
        turn = self.turns.setdefault(handle, _Turn())
        turn.users += 1
        try:
            await self._call("update", turn.lock.acquire)
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self.turns[handle]

    @types.coroutine
    def _call(self, operation: str, method: Callable[..., Awaitable[T]], *args: Any) -> Generator[Any, Any, T]:
        # A generator that takes the first step by itself: a store in memory needs no more, and pays for no timer.
        try:
            steps = method(*args).__await__()
            try:
                waiting_for = steps.send(None)
            except StopIteration as done:
                result: T = done.value
                return result
            return (yield from self._limit.finish(steps, waiting_for))
        except AdapterError:
            raise
        except Exception as error:
            raise self._failure(operation, error) from error

    def _failure(self, operation: str, error: Exception) -> AdapterError:
        if isinstance(error, TimeoutError):
            return AdapterError(operation, f"no answer in time (timeout={self._timeout})")
        return AdapterError(operation, f"failed ({type(error).__name__})")


class _Turn:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


def _next(record: SessionRecord | None) -> Successor | None:
    """Return what took over from a record, if it was rotated away."""
    successor = successor_of(record) if record is not None and record.retired else None
    return successor if successor is not None and successor.handle else None


def _check_record(operation: str, record: object) -> None:
    """Raise ``AdapterError`` for what is not a record through and through: a store that errs here logs nobody out."""
    if not isinstance(record, SessionRecord):
        raise AdapterError(operation, f"answered a {type(record).__name__} instead of a SessionRecord")
    if not (
        isinstance(record.payload, bytes)
        and isinstance(record.version, int)
        and isinstance(record.created_at, float | int)
        and (record.expires_at is None or isinstance(record.expires_at, float | int))
        and (record.owner is None or isinstance(record.owner, str))
    ):
        raise AdapterError(operation, "answered a SessionRecord with fields of wrong types")


def _fence(record: SessionRecord, now: float) -> SessionRecord:
    return retire(replace(record, version=record.version + 1), "", now=now)
