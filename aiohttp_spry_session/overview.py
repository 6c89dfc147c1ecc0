"""The sessions of a store seen from outside a request: listed, counted, ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .codec import Codec, unpack_session
from .cookies import is_cookie_value
from .events import Events
from .facts import authenticated_at, last_used_at
from .policy import Policy, to_datetime
from .record import SessionRecord, successor_of
from .request.driver import report_corrupt
from .session import Session, check_owner, handle_to_keep
from .store.guard import GuardedStore
from .store.trails import Ended, Trails

__all__ = ["Overview", "SessionInfo", "check_handle"]

_TOGETHER = 1000
"""How many sessions are ended at a time."""

_NOBODY = "0" * 64
"""No session's handle: nobody knows what it would be the digest of."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A live session as seen from outside: no secret in it, so it is safe to show to its owner (ASVS 7.5.2)."""

    handle: str
    owner: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime
    """As exactly as ``track_use`` says."""
    authenticated_at: datetime | None
    level: str | None
    device: dict[str, str] | None
    values: dict[str, Any]
    bound_at: datetime | None = None
    """When it was bound to a device; ``None`` where it is bound to none."""


class Overview:
    """What a manager does outside of requests; its methods say what is promised."""

    def __init__(
        self,
        store: GuardedStore,
        trails: Trails,
        policy: Policy,
        codec: Codec,
        events: Events,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._trails = trails
        self._policy = policy
        self._codec = codec
        self._events = events
        self._clock = clock

    async def find(self, owner: str) -> list[SessionInfo]:
        """Return an owner's live sessions, the newest first: in the order in which a limit keeps them."""
        found = await self._store.find(check_owner(owner))
        infos = [info for handle, record in found.items() if (info := self._info(handle, record)) is not None]
        return sorted(infos, key=lambda info: (info.created_at, info.handle), reverse=True)

    async def sessions(self, owner: str | None) -> AsyncIterator[SessionInfo]:
        """Return the live sessions of an owner, or of everybody."""
        if owner is not None:
            for found in await self.find(owner):
                yield found
            return
        async for handle, record in self._store.scan():
            info = self._info(handle, record)
            if info is not None:
                yield info

    async def get(self, handle: str) -> SessionInfo | None:
        """Return the live session that a handle leads to, through any rotation."""
        if not is_cookie_value(handle):
            return None
        now = (await self._trails.trail(handle))[-1]
        record = await self._store.load(now)
        return None if record is None or record.retired else self._info(now, record)

    async def count(self) -> int:
        """Return how many live sessions there are."""
        return await self._store.count()

    async def revoke(self, handle: str) -> bool:
        """End a session; return whether there was one."""
        check_handle(handle)
        # What comes from a form may be anything; a store need not even be able to express it.
        return is_cookie_value(handle) and await self._tell(self._trails.end(handle))

    async def revoke_owner(self, owner: str, keep: Session | None) -> int:
        """End all of an owner's sessions, but for ``keep``; return how many."""
        check_owner(owner)
        if keep is not None:
            if not isinstance(keep, Session):
                raise ValueError(f"keep must be the Session that is to live on, not a {type(keep).__name__}")
            await keep.load()
        ended = 0
        # A second look, for what a rotation moved out of sight of the first.
        for _ in range(2):
            found = await self._store.find(owner)
            # Asked after the look, the trail has whatever handle the kept session was found under.
            kept_handle = None if keep is None else handle_to_keep(keep)
            kept = [] if kept_handle is None else await self._trails.trail(kept_handle)
            handles = [handle for handle in found if handle not in kept]
            for start in range(0, len(handles), _TOGETHER):
                ended += await self._end([(handle, None) for handle in handles[start : start + _TOGETHER]])
        return ended

    async def revoke_all(self, progress: Callable[[int], object] | None = None) -> int:
        """End everybody's sessions; return how many. ``progress`` is told how many more have been ended."""
        ended = 0
        # A session that was rotated meanwhile is found through what stands at its old handle for a minute. The second
        # look, which finds next to nothing and so takes no minute, is for those where that had gone already.
        for _ in range(2):
            async for part in _in_parts(self._store.scan(retired=True)):
                more = await self._end([_seen(handle, record) for handle, record in part if _may_lead_on(record)])
                ended += more
                if progress is not None:
                    progress(more)
        return ended

    async def check(self) -> None:
        """Ask the store for a sign of life."""
        await self._store.load(_NOBODY)

    async def _end(self, sessions: Sequence[tuple[str, SessionRecord | None]]) -> int:
        """End sessions together: adapters carry out together what comes together. Where one fails, none is left out."""
        results = await asyncio.gather(
            *(self._tell(self._trails.end(handle, record)) for handle, record in sessions), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results.count(True)

    async def _tell(self, ending: Awaitable[Ended | None]) -> bool:
        ended = await ending
        if ended is None:
            return False
        await self._events.emit("destroyed", ended.handle, ended.owner, reason="revoke")
        return True

    def _info(self, handle: str, record: SessionRecord) -> SessionInfo | None:
        """Return what is shown of a live record; ``None`` where it is over, or corrupt."""
        if self._policy.is_over(record, self._clock()):
            return None
        try:
            stored, facts, _ = unpack_session(record.payload, record.created_at)
            values = {key: self._codec.decode(data) for key, data in stored.items()}
        except (TypeError, ValueError, RecursionError):
            report_corrupt(handle)
            return None
        proved = authenticated_at(facts, record.owner, record.created_at)
        return SessionInfo(
            handle=handle,
            owner=record.owner,
            created_at=to_datetime(record.created_at),
            expires_at=None if record.expires_at is None else to_datetime(record.expires_at),
            last_used_at=to_datetime(last_used_at(facts, record.created_at)),
            authenticated_at=None if proved is None else to_datetime(proved),
            level=facts.level,
            device=facts.device,
            values=values,
            bound_at=None if facts.bound_at is None else to_datetime(facts.bound_at),
        )


def check_handle(handle: str) -> str:
    """Return what may be a handle; ``ValueError`` for what is no ``str``."""
    if not isinstance(handle, str):
        raise ValueError(f"a handle must be a str, such as session.handle, not a {type(handle).__name__}")
    return handle


def _may_lead_on(record: SessionRecord) -> bool:
    """Whether a session may be found here: a retired record of another kind is a mark of an adapter's, and stays."""
    return not record.retired or successor_of(record) is not None


def _seen(handle: str, record: SessionRecord) -> tuple[str, SessionRecord | None]:
    return handle, None if record.retired else record


async def _in_parts(
    found: AsyncIterator[tuple[str, SessionRecord]],
) -> AsyncIterator[list[tuple[str, SessionRecord]]]:
    """Return what comes, so many at a time."""
    part: list[tuple[str, SessionRecord]] = []
    async for one in found:
        part.append(one)
        if len(part) == _TOGETHER:
            yield part
            part = []
    if part:
        yield part
