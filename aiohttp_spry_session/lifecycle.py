"""A session's turning points: looked up, given a new identifier, ended."""

from __future__ import annotations

from dataclasses import replace

from .adapter import SessionRecord
from .codec import unpack
from .commits import Commits, LostError, report_corrupt
from .cookies import is_cookie_value
from .exceptions import AdapterError
from .identifiers import handle_of
from .state import CookieAction, Status, merged

__all__ = ["Lifecycle"]


class Lifecycle(Commits):
    """The session of one request, from the identifiers that the client presented to what becomes of it."""

    __slots__ = ()

    async def load(self) -> None:
        """Ask the store for what the client presented, unless its answer is known already."""
        if self.status is not Status.UNLOADED:
            return
        async with self._exclusive():
            if self.status is not Status.UNLOADED:  # another task of the request was faster
                return
            await self._look_up()
            self._failure = None

    async def load_early(self) -> None:
        """Load before the handler runs; a failure waits for the handler's first use of the session."""
        try:
            await self._look_up()
        except AdapterError as error:
            self._failure = error

    def check_loaded(self) -> None:
        """Raise ``AdapterError`` where the early load failed."""
        if self._failure is not None:
            raise AdapterError(self._failure.operation, "failed when the request began") from self._failure

    async def rotate(self, *, grace: float) -> None:
        """Give the session a new identifier; the old one is dead, or will be in ``grace`` seconds."""
        await self._change_identifier("rotate", grace=grace)

    async def bind(self, owner: str) -> None:
        """Give the session an owner, a new identifier and a new beginning."""
        await self._change_identifier("bind", owner=owner)

    async def destroy(self, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        async with self._exclusive():
            if regenerate:
                self._check_cookie_possible()
            handles = dict.fromkeys([*self._known, self._handle] if self._handle else self._known)
            existed = bool(handles) or self.pending
            for handle in handles:
                ended = await self._services.store.end(handle)
                if ended is not None:
                    await self._services.events.emit("destroyed", ended.handle, ended.owner, reason="destroy")
            await self._forget()
            if regenerate and existed:
                await self._create({}, reason="destroy")

    async def _forget(self) -> None:
        self.discard()
        self._known, self._handle, self._identifier = (), "", None
        self.record, self.values = None, {}
        self._handed_out = False
        self.follows, self.is_new = False, True
        self.cookie = CookieAction.EXPIRE if self._presented else CookieAction.KEEP
        self.status = Status.ABSENT
        await self._prepare_identifier()

    async def _prepare_identifier(self) -> None:
        # Properties cannot await an asynchronous generator, so what they may need is made beforehand.
        if not self._services.identifiers.synchronous:
            self._identifier = await self._services.identifiers.new()

    async def _look_up(self) -> None:
        live: dict[str, tuple[str, str, SessionRecord]] = {}
        known: list[str] = []
        retired = False
        policy = self._services.policy
        limited = policy.max_lifetime is not None  # the other end the store has looked at
        for identifier in self._presented:
            asked = handle_of(identifier)
            if not is_cookie_value(identifier):
                await self._reject(asked, "malformed")
                continue
            handle, record = await self._services.store.resolve(asked)
            if record is None or (limited and not record.retired and policy.is_over(record, self._services.clock())):
                await self._reject(asked, "unknown")
                continue
            known.append(asked)
            if record.retired:
                retired = True
                await self._reject(asked, "retired")
            elif handle not in live or asked == handle:
                live[handle] = identifier, asked, record
        self._known = known
        if len(live) > 1:
            await self._reject(known[0], "ambiguous")
        for handle, (identifier, asked, record) in live.items():
            if len(live) == 1 and await self._adopt(identifier, handle, record):
                self.follows = handle != asked
                return
        await self._prepare_identifier()
        if retired and not live:
            self.status = Status.RETIRED
        else:
            self._begin_absent()

    async def _adopt(self, identifier: str, handle: str, record: SessionRecord) -> bool:
        try:
            self.values = unpack(record.payload)
        except ValueError:
            report_corrupt(handle)
            await self._reject(handle, "corrupt")
            return False
        self._identifier, self._handle, self.record = identifier, handle, record
        self.is_new = False
        self.status = Status.LIVE
        return True

    async def _change_identifier(self, reason: str, *, grace: float = 0.0, owner: str | None = None) -> None:
        async with self._exclusive():
            self._check_cookie_possible()
            if self.status is Status.RETIRED or self.status is Status.ABSENT:
                self.status = Status.ABSENT
                self._identifier, self._handed_out = None, False
                await self._create(self.view(), owner=owner, reason="started" if owner is None else reason)
                return
            # Within its grace an identifier has been rotated by the clock already, and goes on working.
            if not (grace and self.follows):
                await self._or_lose(self._move(reason, grace, owner))
            if self.changes:
                await self._or_lose(self._write())

    async def _move(self, reason: str, grace: float, owner: str | None) -> None:
        services = self._services
        sent = dict(self.changes)
        arrived_late = self.follows
        identifier = await services.identifiers.new()
        handle = handle_of(identifier)
        moved = False

        async def attempt() -> bool:
            nonlocal moved
            record, now = self._current()
            if self.follows and not arrived_late:  # another request rotated it meanwhile
                if not grace:
                    raise LostError("rotated")
                return True
            values = merged(self.values, sent)
            draft = replace(record, payload=self._packed(values), version=record.version + 1)
            if owner is not None:
                draft = replace(draft, owner=owner, created_at=now, expires_at=services.policy.end(now, now))
            moved = await services.store.rotate(self._handle, handle, draft, grace)
            if moved:
                self._identifier, self._handle = identifier, handle
                self._committed(draft, values, sent)
            return moved

        await self._persist(attempt)
        if moved:
            self.follows = False
            self.cookie = CookieAction.SEND
            await self._emit("rotated", reason)

    async def _reject(self, handle: str, reason: str) -> None:
        await self._services.events.emit("rejected", handle, reason=reason)
