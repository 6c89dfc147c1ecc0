"""Bringing a request's changes to the store: whole, on the newest state, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from .codec import pack, unpack
from .events import EventName, logger
from .exceptions import ConflictError, SessionEndedError, SessionError
from .guard import MAX_ATTEMPTS
from .identifiers import handle_of
from .record import SessionRecord
from .state import ABSENT, LIVE, CookieAction, SessionState, Status, merged

__all__ = ["Commits", "LostError"]

T = TypeVar("T")

Change = Callable[[bytes | None], bytes | None]
"""Computes a key's new value from its newest one; ``None`` is a missing key."""

_Compute = Callable[[dict[str, bytes]], dict[str, bytes]]

_MAX_IDENTIFIERS = 8


class LostError(Exception):
    """The session is no longer there. Never leaves the package: it becomes a ``SessionEndedError``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Commits(SessionState):
    """The session of one request, and the ways of its changes into the store.

    Every method may be awaited from several tasks of the request: they take turns.
    """

    __slots__ = ()

    async def commit(self) -> None:
        """Store what is pending; where the session is gone, drop it (``on_rejected`` tells)."""
        # As save, without the layers between: every request that writes comes here.
        if self._busy:
            await self._wait_for_turn()
        self._busy = True
        try:
            await self._save()
        except LostError as lost:
            await self._lose(lost.reason)
            self.discard()
        finally:
            self._end_turn()

    async def save(self) -> None:
        """Store what is pending; ``SessionEndedError`` where the session is gone."""
        await self._in_turn(self._save)

    async def mutate(self, key: str, change: Change) -> bytes | None:
        """Change one key atomically in the store, with everything that is pending; return its new value."""
        return await self._in_turn(partial(self._mutate, key, change))

    async def take(self, key: str) -> bytes | None:
        """Remove one key atomically in the store and return its value; of several that try exactly one gets it."""
        if await self._in_turn(partial(self._is_missing, key)):
            return None
        taken: bytes | None = None

        def remove(value: bytes | None) -> None:
            nonlocal taken
            taken = value

        await self.mutate(key, remove)
        return taken

    async def reload(self) -> None:
        """Take over the newest stored state; ``SessionEndedError`` where the session is gone."""
        await self._in_turn(self._reload)

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what only one task of the request may do at a time.

        Where the session is gone, drop what is pending, tell, and raise ``SessionEndedError``.
        """
        if self._busy:
            await self._wait_for_turn()
        self._busy = True
        try:
            return await work()
        except LostError as lost:
            await self._lose(lost.reason)
            raise SessionEndedError(lost.reason) from None
        finally:
            self._end_turn()

    async def _wait_for_turn(self) -> None:
        while self._busy:
            if self._freed is None:
                self._freed = asyncio.Event()
            self._freed.clear()
            await self._freed.wait()

    def _end_turn(self) -> None:
        self._busy = False
        if self._freed is not None:
            self._freed.set()

    async def _save(self) -> None:
        if not self.changes and not self.pending:
            return
        if self.status is ABSENT:
            await self._start(self.values)
        elif self.changes or self.status is not LIVE:
            # _persist, in place: this is the hot path.
            if self._handle in self.services.store.turns or not await self._write():
                await self._retry(self._write)
        else:
            await self._persist(self._extend)
        # Another task of the request may have changed something meanwhile.
        self.dirty = bool(self.changes or self._rolling or self._renewing or self._started)

    async def _mutate(self, key: str, change: Change) -> bytes | None:
        outcome: bytes | None = None

        def compute(values: dict[str, bytes]) -> dict[str, bytes]:
            nonlocal outcome
            outcome = change(values.get(key))
            return merged(values, {key: outcome})

        if self.status is not Status.ABSENT:
            await self._persist(partial(self._write, compute))
            return outcome
        values = compute(self.values)
        if values or self._started:
            self._check_cookie_possible()
        await self._start(values)
        return outcome

    async def _start(self, values: dict[str, bytes]) -> None:
        """Start a session, unless there is nothing to keep in it."""
        if values or self._started:
            await self._create(values, reason="started")
        else:
            self.changes.clear()
            self.values = values

    async def _is_missing(self, key: str) -> bool:
        if self.status is not Status.LIVE or self.pending or key in self.values:
            return False
        # Another request may have set it since this one looked; another look is cheaper than a write.
        await self._refresh()
        return key not in self.values

    async def _reload(self) -> None:
        if self.status is Status.ENDED:
            raise SessionEndedError("ended")
        if self.status is Status.LIVE:
            await self._refresh()

    async def _create(self, values: dict[str, bytes], *, owner: str | None = None, reason: str) -> None:
        services = self.services
        sent = dict(self.changes)
        payload = pack(values, services.policy.max_bytes)
        for _ in range(_MAX_IDENTIFIERS):
            if self._identifier is None:
                self._identifier = await services.identifiers.new()
            handle = handle_of(self._identifier)
            now = services.clock()
            record = SessionRecord(payload, 1, now, services.policy.end(now, now), owner)
            if await services.store.create(handle, record):
                break
            if self._handed_out:
                raise SessionError("the new session's identifier is in use already: nothing was stored")
            self._identifier = None
        else:
            raise SessionError("identifier_generator keeps returning identifiers that are in use")
        self._handle = handle
        self.status = Status.LIVE
        self._committed(record, values, sent)
        self._started = self._renewing = False
        self.cookie = CookieAction.SEND
        await self._emit("created", reason)

    async def _persist(self, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Try until the attempt lands on the newest stored state."""
        if self._handle in self.services.store.turns or not await attempt():
            await self._retry(attempt)

    async def _retry(self, attempt: Callable[[], Awaitable[bool]]) -> None:
        async with self.services.store.turn(self._handle):
            for _ in range(MAX_ATTEMPTS):
                await self._refresh()
                if await attempt():
                    return
        raise ConflictError("other requests kept changing the session: nothing was stored")

    async def _write(self, compute: _Compute | None = None) -> bool:
        """Try to store what this request sees, with something computed from it: an attempt for :meth:`_persist`."""
        services = self.services
        record, now = self._current()
        sent = dict(self.changes)
        renewing = self._renewing
        rolling = self._rolling and services.policy.rolls(record, now)
        end = services.policy.renewed_end(record, now) if renewing or rolling else record.expires_at
        values = self.values if compute is None else compute(self.values)
        payload = pack(values, services.policy.max_bytes)
        draft = SessionRecord(payload, record.version + 1, record.created_at, end, record.owner)
        if not await services.store.update(self._handle, draft):
            return False
        self._committed(draft, values, sent)
        if renewing or rolling:
            await self._renewed("renew" if renewing else "rolling")
        return True

    async def _extend(self) -> bool:
        """Try to move the session's end: an attempt for :meth:`_persist`."""
        record, now = self._current()
        renewing = self._renewing
        end = self.services.policy.renewed_end(record, now)
        if not await self.services.store.renew(self._handle, end):
            return False
        self.record = replace(record, expires_at=end)
        await self._renewed("renew" if renewing else "rolling")
        return True

    async def _renewed(self, reason: str) -> None:
        self._renewing = False
        # Who came with a rotated-away identifier does not know the new one: there is no cookie to send.
        if not self.follows and not self.headers_sent:
            self.cookie = CookieAction.SEND
        await self._emit("renewed", reason)

    async def _refresh(self) -> None:
        handle, record = await self.services.store.resolve(self._handle)
        if record is None:
            self._current()  # tells an expired session from one that was ended
            raise LostError("ended")
        if record.retired:
            raise LostError("rotated")
        try:
            values = unpack(record.payload)
        except ValueError:
            report_corrupt(handle)
            raise LostError("corrupt") from None
        if handle != self._handle:
            self._handle, self.follows = handle, True
            self.cookie = CookieAction.KEEP  # whoever rotated it has written the newer one
        self.record, self.values = record, merged(values, self.changes)
        self._current()

    def _committed(self, record: SessionRecord, values: dict[str, bytes], sent: dict[str, bytes | None]) -> None:
        """Take over what was stored. ``sent`` is no change any more, unless another task changed it again meanwhile."""
        self.record = record
        for key, value in sent.items():
            if self.changes.get(key, ...) is value:
                del self.changes[key]
        if values is not self.values:
            # Not from these values: another task may have changed them, and what it changed have been discarded.
            self.values = merged(unpack(record.payload), self.changes)

    def _current(self) -> tuple[SessionRecord, float]:
        """Return the record and the time, or raise :class:`LostError` where the record is past its end."""
        record, policy = self.record, self.services.policy
        if record is None:
            raise LostError(self._why_over())
        now = self.services.clock()
        if (record.expires_at is not None and record.expires_at <= now) or (
            policy.max_lifetime is not None and policy.is_over(record, now)
        ):
            raise LostError("expired")
        return record, now

    async def _lose(self, reason: str) -> None:
        handle = self._handle or (self._known[0] if self._known else "")
        owner = None if self.record is None else self.record.owner
        self.discard()
        self.cookie = CookieAction.KEEP
        if self.status is Status.LIVE:
            self.status = Status.ENDED
            self.record, self.values = None, {}
        await self.services.events.emit("rejected", handle, owner, reason=reason)

    async def _emit(self, name: EventName, reason: str) -> None:
        owner = None if self.record is None else self.record.owner
        await self.services.events.emit(name, self._handle, owner, reason=reason)


def report_corrupt(handle: str) -> None:
    """Log a record that cannot be read; it counts as absent."""
    logger.error("the stored session %s is corrupt and counts as absent", handle)
