"""The adapter's calls: bounded in time, their failures translated, their answers checked (promise 9)."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import Any, TypeVar

from ..adapter import SessionAdapter
from ..exceptions import AdapterError
from ..record import SessionRecord, successor_of
from .outage import Outage
from .sharing import close_shared, open_shared
from .timeouts import TimeLimit
from .turns import Turns

__all__ = ["GuardedStore"]

T = TypeVar("T")

_NUMBER = (float, int)  # a union would be made anew for each record


class GuardedStore:
    """Calls an adapter with a time limit; whatever goes wrong there is an :class:`AdapterError` here (promise 9)."""

    def __init__(self, adapter: SessionAdapter, clock: Callable[[], float], timeout: float | None) -> None:
        self._adapter = adapter
        self._clock = clock
        self._timeout = timeout
        self._limit = TimeLimit(timeout)
        self._outage = Outage()
        self.turns = Turns(self._wait)
        self.on_ended: Callable[[str], object] | None = None
        """Told each handle under which this process may have ended a session, while somebody wants to know."""

    @property
    def rotates_at_once(self) -> bool:
        """Whether a rotation lands as a whole, or not at all."""
        return self._adapter.rotates_at_once

    @types.coroutine
    def load(self, handle: str) -> Generator[Any, Any, SessionRecord | None]:
        """Return the live or retired record."""
        record = yield from self._ask("load", self._adapter.load, handle)
        if record is not None:
            try:
                _check_record("load", record)
            except AdapterError as error:
                raise self._failed("load", error) from None
            if record.expires_at is not None and record.expires_at <= self._clock():
                record = None
        if self._outage.going_on:
            self._outage.answered("load")
        return record

    def create(self, handle: str, record: SessionRecord) -> Awaitable[bool]:
        """Store a new record."""
        return self._call("create", self._adapter.create, handle, record)

    def update(self, handle: str, record: SessionRecord) -> Awaitable[bool]:
        """Replace the previous version."""
        return self._call("update", self._adapter.update, handle, record)

    def renew(self, handle: str, expires_at: float | None) -> Awaitable[bool]:
        """Move the end of a live record."""
        return self._call("renew", self._adapter.renew, handle, expires_at)

    async def destroy(self, handle: str) -> bool:
        """Remove a record; return whether there was one.

        Who removes a session tells of its end, and nobody would, were an answer lost: where the store failed, but did
        not hang, it is asked whether the record is gone.
        """
        try:
            return await self._call("destroy", self._adapter.destroy, handle)
        except AdapterError as error:
            if isinstance(error.__cause__, TimeoutError) or not await self._is_gone(handle):
                raise
            return True
        finally:
            if self.on_ended is not None:
                self.on_ended(handle)

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
        finally:
            if self.on_ended is not None:
                self.on_ended(old)

    async def _leads_to(self, old: str, new: str) -> bool:
        try:
            record = await self.load(old)
        except AdapterError:
            return False
        successor = None if record is None or not record.retired else successor_of(record)
        return successor is not None and successor.handle == new

    async def _is_gone(self, handle: str) -> bool:
        try:
            return await self.load(handle) is None
        except AdapterError:
            return False

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        """Return an owner's live records."""
        found = await self._call("find", self._find, owner)
        if isinstance(found, NotImplementedError):  # no failure of the store
            raise found
        now = self._clock()
        return {
            handle: record
            for handle, record in found.items()
            if not record.retired and record.owner == owner and not record.is_expired(now)
        }

    async def _find(self, owner: str) -> Mapping[str, SessionRecord] | NotImplementedError:
        try:
            found: object = await self._adapter.find(owner)
        except NotImplementedError as error:
            return error
        if not isinstance(found, Mapping):
            raise AdapterError("find", f"answered a {type(found).__name__} instead of a mapping")
        for record in found.values():
            _check_record("find", record)
        return found

    async def scan(self, *, retired: bool = False) -> AsyncIterator[tuple[str, SessionRecord]]:
        """Return all live records with their handles, or the retired ones too; the time limit is for each step."""
        records = self._adapter.scan_all() if retired else self._adapter.scan()
        try:
            while (found := await self._call("scan", _next, records)) is not None:
                if isinstance(found, NotImplementedError):  # no failure of the store
                    raise found
                handle, record = found
                if (retired or not record.retired) and not record.is_expired(self._clock()):
                    yield handle, record
        finally:
            close = getattr(records, "aclose", None)
            if close is not None:
                await close()

    async def count(self) -> int:
        """Return how many live records there are. It takes the time it takes, as :meth:`purge`."""
        answer = await self._unlimited("count", self._count)
        if isinstance(answer, NotImplementedError):  # no failure of the store
            raise answer
        return answer

    async def _count(self) -> int | NotImplementedError:
        try:
            return await self._adapter.count()
        except NotImplementedError as error:
            return error

    def hints(self) -> AsyncIterator[str | None]:
        """Return the adapter's hints of what ended. They take no time, and may fail in whatever way."""
        return self._adapter.hints()

    @property
    def watch_interval(self) -> float:
        """Seconds within which each watched session is looked at again."""
        return self._adapter.watch_interval

    async def purge(self) -> int:
        """Delete what has expired. It takes the time it takes: it is cut into steps, and nobody waits for it."""
        return await self._unlimited("purge", self._adapter.purge)

    async def _unlimited(self, operation: str, method: Callable[[], Awaitable[T]]) -> T:
        try:
            return await method()
        except AdapterError:
            raise
        except Exception as error:
            raise AdapterError(operation, f"failed ({type(error).__name__})") from error

    async def open(self) -> None:
        """Open the adapter for its first user; several managers of one event loop may share one."""
        await open_shared(self._adapter)

    async def close(self) -> None:
        """Close the adapter after its last user; fine where it is closed."""
        await close_shared(self._adapter)

    def _wait(self, turn: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        return self._asked("update", turn)  # the store says nothing: no outage is over by that

    @types.coroutine
    def _call(self, operation: str, method: Callable[..., Awaitable[T]], *args: Any) -> Generator[Any, Any, T]:
        answer = yield from self._ask(operation, method, *args)
        if self._outage.going_on:
            self._outage.answered(operation)
        return answer

    @types.coroutine
    def _asked(self, operation: str, method: Callable[..., Awaitable[T]], *args: Any) -> Generator[Any, Any, T]:
        return (yield from self._ask(operation, method, *args))

    def _ask(self, operation: str, method: Callable[..., Awaitable[T]], *args: Any) -> Generator[Any, Any, T]:
        """Await a method within the time limit; for ``yield from``."""
        try:
            steps = method(*args).__await__()
            try:
                waiting_for = steps.send(None)
            except StopIteration as done:  # at once, as with a store in memory
                answer: T = done.value
                return answer
            return (yield from self._limit.finish(steps, waiting_for))
        except AdapterError as error:
            raise self._failed(operation, error)  # noqa: B904 - the same one, with its own cause
        except TimeoutError as error:
            raise self._failed(operation, f"no answer in time (timeout={self._timeout})", error) from error
        except Exception as error:
            raise self._failed(operation, f"failed ({type(error).__name__})", error) from error

    def _failed(self, operation: str, problem: AdapterError | str, cause: Exception | None = None) -> AdapterError:
        """Return what is to be raised, once the log knows of it."""
        failure = problem if isinstance(problem, AdapterError) else AdapterError(operation, problem)
        if cause is not None:
            failure.__cause__ = cause  # now: the log shows it
        self._outage.failed(operation, failure)
        return failure


async def _next(
    records: AsyncIterator[tuple[str, SessionRecord]],
) -> tuple[str, SessionRecord] | NotImplementedError | None:
    """Return what comes next in a scan; ``None`` at its end."""
    try:
        found: object = await anext(records)
    except StopAsyncIteration:
        return None
    except NotImplementedError as error:
        return error
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], str):
        raise AdapterError("scan", f"answered a {type(found).__name__} instead of a handle with its record")
    return found[0], _check_record("scan", found[1])


def _check_record(operation: str, record: object) -> SessionRecord:
    """Return what is a record through and through; a store that errs here logs nobody out (promise 9)."""
    if not isinstance(record, SessionRecord):
        raise AdapterError(operation, f"answered a {type(record).__name__} instead of a SessionRecord")
    if not (
        isinstance(record.payload, bytes)
        and isinstance(record.version, int)
        and isinstance(record.created_at, _NUMBER)
        and (record.expires_at is None or isinstance(record.expires_at, _NUMBER))
        and (record.owner is None or isinstance(record.owner, str))
    ):
        raise AdapterError(operation, "answered a SessionRecord with fields of wrong types")
    return record
