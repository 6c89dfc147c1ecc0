"""Bringing a request's changes to the store: whole, on the newest state, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from .adapter import SessionRecord
from .codec import unpack
from .events import EventName, logger
from .exceptions import ConflictError, SessionEndedError, SessionError
from .guard import MAX_ATTEMPTS
from .identifiers import handle_of
from .state import CookieAction, SessionState, Status, merged

__all__ = ["Commits", "LostError"]

Change = Callable[[bytes | None], bytes | None]
"""Computes a key's new value from its newest one; ``None`` is a missing key."""

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
        try:
            await self.save()
        except SessionEndedError:
            self.discard()

    async def save(self) -> None:
        """Store what is pending; ``SessionEndedError`` where the session is gone."""
        async with self._exclusive():
            if not self.pending:
                return
            if self.status is Status.ABSENT:
                await self._create(self.view(), reason="started")
            elif self.changes or self.status is not Status.LIVE:
                await self._or_lose(self._write())
            else:
                await self._or_lose(self._extend())

    async def mutate(self, key: str, change: Change) -> bytes | None:
        """Change one key atomically in the store, with everything that is pending; return its new value."""
        outcome: bytes | None = None

        def compute(values: dict[str, bytes]) -> dict[str, bytes]:
            nonlocal outcome
            outcome = change(values.get(key))
            return merged(values, {key: outcome})

        async with self._exclusive():
            if self.status is Status.ABSENT:
                values = compute(self.view())
                if values or self._started:
                    self._check_cookie_possible()
                    await self._create(values, reason="started")
                else:
                    self.changes.clear()
            else:
                await self._or_lose(self._write(compute))
        return outcome

    async def take(self, key: str) -> bytes | None:
        """Remove one key atomically in the store and return its value; of several that try exactly one gets it."""
        async with self._exclusive():
            if self.status is Status.LIVE and not self.pending and self.peek(key) is None:
                # Another request may have set it since this one looked; another look is cheaper than a write.
                await self._or_lose(self._refresh())
                if self.peek(key) is None:
                    return None
        taken: bytes | None = None

        def remove(value: bytes | None) -> None:
            nonlocal taken
            taken = value

        await self.mutate(key, remove)
        return taken

    async def reload(self) -> None:
        """Take over the newest stored state; ``SessionEndedError`` where the session is gone."""
        async with self._exclusive():
            if self.status is Status.ENDED:
                raise SessionEndedError("ended")
            if self.status is Status.LIVE:
                await self._or_lose(self._refresh())

    async def _create(self, values: dict[str, bytes], *, owner: str | None = None, reason: str) -> None:
        services = self._services
        sent = dict(self.changes)
        payload = self._packed(values)
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

    async def _write(self, compute: Callable[[dict[str, bytes]], dict[str, bytes]] | None = None) -> None:
        policy = self._services.policy
        sent = dict(self.changes)
        renewing, rolling = self._renewing, False

        async def attempt() -> bool:
            nonlocal rolling
            record, now = self._current()
            values = merged(self.values, sent)
            if compute is not None:
                values = compute(values)
            rolling = self._rolling and policy.rolls(record, now)
            end = policy.renewed_end(record, now) if renewing or rolling else record.expires_at
            draft = SessionRecord(self._packed(values), record.version + 1, record.created_at, end, record.owner)
            if not await self._services.store.update(self._handle, draft):
                return False
            self._committed(draft, values, sent)
            return True

        await self._persist(attempt)
        if renewing or rolling:
            await self._renewed("renew" if renewing else "rolling")

    async def _extend(self) -> None:
        renewing = self._renewing

        async def attempt() -> bool:
            record, now = self._current()
            end = self._services.policy.renewed_end(record, now)
            if not await self._services.store.renew(self._handle, end):
                return False
            self.record = replace(record, expires_at=end)
            return True

        await self._persist(attempt)
        await self._renewed("renew" if renewing else "rolling")

    async def _renewed(self, reason: str) -> None:
        self._renewing = False
        # Who came with a rotated-away identifier does not know the new one: there is no cookie to send.
        if not self.follows and not self.headers_sent:
            self.cookie = CookieAction.SEND
        await self._emit("renewed", reason)

    def _committed(self, record: SessionRecord, values: dict[str, bytes], sent: dict[str, bytes | None]) -> None:
        self.record, self.values = record, values
        for key, value in sent.items():
            if self.changes.get(key, ...) is value:  # another task of the request may have changed it again
                del self.changes[key]

    async def _persist(self, attempt: Callable[[], Awaitable[bool]]) -> None:
        """Try until the attempt lands on the newest stored state."""
        store = self._services.store
        if not store.is_contended(self._handle) and await attempt():
            return
        async with store.turn(self._handle):
            for _ in range(MAX_ATTEMPTS):
                await self._refresh()
                if await attempt():
                    return
        raise ConflictError("other requests kept changing the session: nothing was stored")

    async def _refresh(self) -> None:
        handle, record = await self._services.store.resolve(self._handle)
        if record is None:
            self._current()  # tells an expired session from one that was ended
            raise LostError("ended")
        if record.retired:
            raise LostError("rotated")
        try:
            self.values = unpack(record.payload)
        except ValueError:
            report_corrupt(handle)
            raise LostError("corrupt") from None
        if handle != self._handle:
            self._handle, self.follows = handle, True
        self.record = record
        self._current()

    def _current(self) -> tuple[SessionRecord, float]:
        """Return the record and the time, or raise :class:`LostError` where the record is past its end."""
        if self.record is None:
            raise LostError(self._why_over())
        now = self._services.clock()
        if self._services.policy.is_over(self.record, now):
            raise LostError("expired")
        return self.record, now

    async def _or_lose(self, work: Awaitable[None]) -> None:
        """Do the work; where the session is gone, drop what is pending, tell, and raise ``SessionEndedError``."""
        try:
            await work
        except LostError as lost:
            handle = self._handle or (self._known[0] if self._known else "")
            owner = None if self.record is None else self.record.owner
            self.discard()
            self.cookie = CookieAction.KEEP
            if self.status is Status.LIVE:
                self.status = Status.ENDED
                self.record, self.values = None, {}
            await self._services.events.emit("rejected", handle, owner, reason=lost.reason)
            raise SessionEndedError(lost.reason) from None

    async def _emit(self, name: EventName, reason: str) -> None:
        owner = None if self.record is None else self.record.owner
        await self._services.events.emit(name, self._handle, owner, reason=reason)

    def _exclusive(self) -> asyncio.Lock:
        if self._mutex is None:
            self._mutex = asyncio.Lock()
        return self._mutex


def report_corrupt(handle: str) -> None:
    """Log a record that cannot be read; it counts as absent."""
    logger.error("the stored session %s is corrupt and counts as absent", handle)
