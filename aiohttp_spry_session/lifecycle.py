"""A session's turning points: looked up, given a new identifier, ended."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from .codec import pack, unpack
from .commits import Commits, LostError, report_corrupt
from .cookies import COOKIE_VALUE
from .exceptions import AdapterError
from .identifiers import handle_of
from .record import SessionRecord, retire
from .state import LIVE, CookieAction, Status

__all__ = ["Lifecycle"]

_is_cookie_value = COOKIE_VALUE.fullmatch


class Lifecycle(Commits):
    """The session of one request, from the identifiers that the client presented to what becomes of it."""

    __slots__ = ()

    async def load(self) -> None:
        """Ask the store for what the client presented, unless its answer is known already."""
        if self.status is Status.UNLOADED:
            await self._in_turn(self._load)

    def check_loaded(self) -> None:
        """Raise ``AdapterError`` where the look-up before the handler failed."""
        if self.failure is not None:
            raise AdapterError(self.failure.operation, "failed when the request began") from self.failure

    async def rotate(self, *, grace: float) -> None:
        """Give the session a new identifier; the old one is dead, or will be in ``grace`` seconds."""
        await self._in_turn(partial(self._change_identifier, "rotate", grace=grace))

    async def bind(self, owner: str) -> None:
        """Give the session an owner, a new identifier and a new beginning."""
        await self._in_turn(partial(self._change_identifier, "bind", owner=owner))

    async def destroy(self, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        await self._in_turn(partial(self._destroy, regenerate=regenerate))

    async def look_up(self) -> None:
        """Ask the store for what the client presented: before the handler runs, while nobody else uses the session."""
        services = self.services
        store, policy = services.store, services.policy
        found: tuple[str, str, str, SessionRecord] | None = None  # handle, identifier, its own handle, record
        known: list[str] = []
        retired = ambiguous = False
        limited = policy.max_lifetime is not None  # the other end the store has looked at
        for identifier in self._presented:
            handle = asked = handle_of(identifier)
            if not _is_cookie_value(identifier):
                await self._reject(asked, "malformed")
                continue
            record = await store.load(asked)
            if record is not None and record.retired:
                handle, record = await store.follow(asked, record)
            if record is None or (limited and not record.retired and policy.is_over(record, services.clock())):
                await self._reject(asked, "unknown")
                continue
            known.append(asked)
            if record.retired:
                retired = True
                await self._reject(asked, "retired")
            elif found is None or (found[0] == handle and asked == handle):
                found = handle, identifier, asked, record
            elif found[0] != handle:
                ambiguous = True
        self._known = known
        if ambiguous:
            await self._reject(known[0], "ambiguous")
        elif found is not None:
            handle, identifier, asked, record = found
            try:
                self.values = unpack(record.payload)
            except ValueError:
                report_corrupt(handle)
                await self._reject(handle, "corrupt")
            else:
                self._identifier, self._handle, self.record = identifier, handle, record
                self.follows = handle != asked
                self.is_new = False
                self.status = LIVE
                return
        await self._prepare_identifier()
        if retired and found is None:
            self.status = Status.RETIRED
        else:
            self._begin_absent()

    async def _load(self) -> None:
        if self.status is Status.UNLOADED:  # no other task of the request was faster
            await self.look_up()
            self.failure = None

    async def _destroy(self, *, regenerate: bool) -> None:
        if regenerate:
            self._check_cookie_possible()
        handles = dict.fromkeys([*self._known, self._handle] if self._handle else self._known)
        existed = bool(handles) or self.pending
        for handle in handles:
            ended = await self.services.store.end(handle)
            if ended is not None:
                await self.services.events.emit("destroyed", ended.handle, ended.owner, reason="destroy")
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
        if not self.services.identifiers.synchronous:
            self._identifier = await self.services.identifiers.new()

    async def _change_identifier(self, reason: str, *, grace: float = 0.0, owner: str | None = None) -> None:
        self._check_cookie_possible()
        if self.status is Status.RETIRED or self.status is Status.ABSENT:
            await self._begin_anew(owner, "started" if owner is None else reason)
            return
        # Within its grace an identifier has been rotated by the clock already, and goes on working.
        if not (grace and self.follows):
            await self._move(reason, grace, owner)
        if self.changes:
            await self._persist(self._write)

    async def _begin_anew(self, owner: str | None, reason: str) -> None:
        arrived = self.status
        self._identifier, self._handed_out = await self.services.identifiers.new(), False
        self.status = Status.ABSENT
        try:
            await self._create(self.values, owner=owner, reason=reason)
        finally:
            if self.status is Status.ABSENT:  # it failed, and a plain write must not start what this did not
                self.status = arrived

    async def _move(self, reason: str, grace: float, owner: str | None) -> None:
        services = self.services
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
            sent, values = dict(self.changes), self.values
            draft = replace(record, payload=pack(values, services.policy.max_bytes), version=record.version + 1)
            if owner is not None:
                draft = replace(draft, owner=owner, created_at=now, expires_at=services.policy.end(now, now))
            retired = retire(draft, handle, now=now, grace=grace)
            moved = await services.store.rotate(self._handle, handle, draft, retired)
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
        await self.services.events.emit("rejected", handle, reason=reason)
