"""The manager: a session's options in one place, and the ways to sessions from outside a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from aiosignal import Signal

from .adapter import SessionAdapter
from .adapters.memory import MemorySessionAdapter
from .codec import Codec, read_codec, unpack_session
from .cookies import CookieWriter, SameSite, is_cookie_value
from .events import Events, SessionEvent
from .facts import authenticated_at, last_used_at
from .identifiers import IdentifierGenerator, IdentifierSource, generate_identifier
from .options import (
    read_flag,
    read_lifetime,
    read_max_bytes,
    read_max_sessions,
    read_rolling,
    read_timeout,
    read_when_full,
)
from .policy import Policy, WhenFull, to_datetime
from .record import SessionRecord
from .request.arrival import Place
from .request.driver import Driver, report_corrupt
from .request.state import SessionState
from .session import Session, check_owner, handle_to_keep
from .store.guard import GuardedStore
from .store.trails import Trails

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Requests", "SessionInfo", "SessionManager", "check_manager", "requests_of"]


_TOGETHER = 500
"""How many sessions are ended at a time."""


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


class Requests:
    """What of a manager the request cycle needs: the middleware, and tests that stand in for it."""

    def __init__(
        self,
        driver: Driver,
        cookies: CookieWriter,
        spares: CookieWriter,
        policy: Policy,
        codec: Codec,
        clock: Callable[[], float],
    ) -> None:
        self.driver = driver
        self.cookies = cookies
        self.spares = spares
        """Writes the cookie beside it, for a rotation whose outcome nobody knows (promise 9)."""
        self.session: Callable[[SessionState], Session] = partial(Session, driver, codec)
        """Returns what the handler sees of a request's session."""
        self._policy = policy
        self._clock = clock

    def max_age(self, place: Place) -> int | None:
        """Return the ``Max-Age`` of a session's cookie, in seconds."""
        return self._policy.max_age(place.record, self._clock())


class SessionManager:
    """Keeps sessions in an adapter, and carries their identifiers in a cookie.

    Every option is checked here; a ``ValueError`` says what is allowed. All of them can be read back as attributes of
    the same name (ASVS 7.1.1).

    :param adapter: where sessions are kept, and how long they live (``expiration``); by default a new
        :class:`~aiohttp_spry_session.MemorySessionAdapter`.
    :param name: the cookie's name. ``__Host-`` and ``__Secure-`` names are held to their rules.
    :param domain: the cookie's ``Domain``; ``None``: this host only.
    :param path: the cookie's ``Path``; ``None``: the whole site, ``/``.
    :param secure: the cookie's ``Secure``. Set it wherever the site is served over HTTPS.
    :param http_only: the cookie's ``HttpOnly``.
    :param identifier_generator: returns a new identifier, or an awaitable of one.
    :param same_site: ``"Strict"``, ``"Lax"``, ``"None"``, or ``None`` for no such attribute.
    :param partitioned: the cookie's ``Partitioned`` (CHIPS).
    :param persistent: send ``Max-Age``; ``False`` makes a cookie that ends with the browser.
    :param max_lifetime: ``timedelta`` or seconds from creation that no renewal passes; ``None``: no limit.
    :param rolling: renew a session by itself when a request uses it past half of its lifetime; a callable gets the
        request and says whether it counts as activity, so that polling keeps nobody signed in.
    :param track_use: ``timedelta`` or seconds: a use is stored when the stored one is older; ``None``: with other
        writes only.
    :param max_sessions: how many live sessions an owner may have; ``None``: no limit.
    :param when_full: ``"end-oldest"``: a ``bind`` ends the oldest of those that are too many; ``"refuse"``: it raises
        :class:`~aiohttp_spry_session.TooManySessionsError`.
    :param autostart: start a session for every visitor, as Spry does.
    :param lazy: ask the store only when the session is first used.
    :param codec: turns one value into bytes and back.
    :param max_bytes: the largest encoded session, without what the library keeps of it itself; ``None``: no limit.
    :param timeout: seconds that a store operation may take; ``None``: no limit.
    :param clock: returns Unix seconds.
    """

    def __init__(
        self,
        adapter: SessionAdapter | None = None,
        *,
        name: str = "SPRY_SESSION_ID",
        domain: str | None = None,
        path: str | None = None,
        secure: bool = False,
        http_only: bool = True,
        identifier_generator: IdentifierGenerator = generate_identifier,
        same_site: SameSite | None = "Lax",
        partitioned: bool = False,
        persistent: bool = True,
        max_lifetime: timedelta | float | None = None,
        rolling: bool | Callable[[web.Request], bool] = False,
        track_use: timedelta | float | None = None,
        max_sessions: int | None = None,
        when_full: WhenFull = "end-oldest",
        autostart: bool = False,
        lazy: bool = False,
        codec: Codec | None = None,
        max_bytes: int | None = 65536,
        timeout: timedelta | float | None = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if adapter is None:
            adapter = MemorySessionAdapter()
        if not isinstance(adapter, SessionAdapter):
            raise ValueError(f"adapter must be a SessionAdapter or None, not {type(adapter).__name__}")
        if not callable(clock):
            raise ValueError("clock must be a callable that returns Unix seconds")
        cookies = CookieWriter(
            name=name,
            domain=domain,
            path=path,
            secure=read_flag("secure", secure),
            http_only=read_flag("http_only", http_only),
            same_site=same_site,
            partitioned=read_flag("partitioned", partitioned),
        )
        self.adapter = adapter
        self.name = name
        self.domain = domain
        self.path = path
        self.secure = secure
        self.http_only = http_only
        self.identifier_generator = identifier_generator
        self.same_site = same_site
        self.partitioned = partitioned
        self.persistent = read_flag("persistent", persistent)
        self.max_lifetime = read_lifetime("max_lifetime", max_lifetime)
        self.rolling = read_rolling(rolling)
        self.track_use = read_lifetime("track_use", track_use)
        self.max_sessions = read_max_sessions(max_sessions)
        self.when_full: WhenFull = read_when_full(when_full)
        if max_sessions is not None and not adapter.finds_owners:
            raise ValueError(
                f"max_sessions needs an adapter that can find() an owner's sessions: {type(adapter).__name__} cannot"
            )
        self.autostart = read_flag("autostart", autostart)
        self.lazy = read_flag("lazy", lazy)
        self.codec = read_codec(codec)
        self.max_bytes = read_max_bytes(max_bytes)
        self.timeout = read_timeout(timeout)
        self.clock = clock
        self.adapter.clock = clock
        self._events = Events(self)
        self._store = GuardedStore(adapter, clock, self.timeout)
        self._trails = Trails(self._store, clock)
        self._policy = Policy(
            adapter.expiration,
            self.max_lifetime,
            self.rolling is not False,
            autostart,
            persistent,
            self.max_bytes,
            self.track_use,
            self.max_sessions,
            self.when_full,
        )
        spares = cookies.named(f"{name}-next")
        # The longer name: an identifier goes into either cookie.
        identifiers = IdentifierSource(identifier_generator, max_length=spares.max_value_length)
        driver = Driver(self._store, self._trails, self._policy, identifiers, self._events, clock)
        self._requests = Requests(driver, cookies, spares, self._policy, self.codec, clock)

    @property
    def on_created(self) -> Signal[SessionEvent]:
        """A session was started."""
        return self._events.created

    @property
    def on_renewed(self) -> Signal[SessionEvent]:
        """A session's expiration was restarted."""
        return self._events.renewed

    @property
    def on_rotated(self) -> Signal[SessionEvent]:
        """A session got a new identifier."""
        return self._events.rotated

    @property
    def on_destroyed(self) -> Signal[SessionEvent]:
        """A session was ended, by a request or by :meth:`revoke`."""
        return self._events.destroyed

    @property
    def on_rejected(self) -> Signal[SessionEvent]:
        """An identifier was not accepted, or a request's changes were dropped (ASVS 16.3.3)."""
        return self._events.rejected

    async def find(self, owner: str) -> list[SessionInfo]:
        """Return an owner's live sessions, the newest first (ASVS 7.5.2).

        :raises AdapterError: where the store failed.
        :raises NotImplementedError: where the adapter keeps no index of owners.
        """
        found = await self._store.find(check_owner(owner))
        now = self.clock()
        infos = [
            info
            for handle, record in found.items()
            if not self._policy.is_over(record, now) and (info := self._info(handle, record)) is not None
        ]
        return sorted(infos, key=lambda info: info.created_at, reverse=True)

    async def revoke(self, handle: str) -> bool:
        """End a session, wherever a rotation has taken it; return whether there was one (ASVS 7.4.5).

        :raises AdapterError: where the store failed.
        """
        check_handle(handle)
        # What comes from a form may be anything; a store need not even be able to express it.
        ended = await self._trails.end(handle) if is_cookie_value(handle) else None
        if ended is None:
            return False
        await self._events.emit("destroyed", ended.handle, ended.owner, reason="revoke")
        return True

    async def revoke_owner(self, owner: str, *, keep: Session | None = None) -> int:
        """End all of an owner's sessions, but for ``keep``; return how many (ASVS 7.4.2, 7.4.3).

        Sessions that the owner starts while this runs may live on.

        :raises AdapterError: where the store failed.
        :raises NotImplementedError: where the adapter keeps no index of owners.
        :raises SessionEndedError: where the one to keep is over: nothing is ended then.
        """
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
            ended += await self._revoke_all([handle for handle in found if handle not in kept])
        return ended

    async def _revoke_all(self, handles: Sequence[str]) -> int:
        """End sessions, many at a time: adapters carry out together what comes together."""
        ended = 0
        for start in range(0, len(handles), _TOGETHER):
            part = handles[start : start + _TOGETHER]
            ended += sum(await asyncio.gather(*map(self.revoke, part)))
        return ended

    def edit(self, handle: str) -> AbstractAsyncContextManager[Session]:
        """Return the session under a handle, outside a request: ``async with manager.edit(handle) as session``.

        Its changes are committed at the block's end, where they raise ``SessionEndedError`` if it is gone by then, and
        discarded where the block raises. What would need a response raises ``HeadersSentError``.

        :raises SessionEndedError: at entry, where no session lives under the handle, or a rotation has taken it to.
        :raises AdapterError: where the store failed.
        """
        return edited(self._requests, check_handle(handle))

    async def purge(self) -> int:
        """Delete expired sessions from the store; return how many (ASVS 14.2.7).

        :raises AdapterError: where the store failed.
        """
        return await self._store.purge()

    async def open(self) -> None:
        """Open the adapter, unless another manager or application has already."""
        await self._store.open()

    async def close(self) -> None:
        """Close the adapter, unless another manager or application still uses it."""
        await self._store.close()

    async def __aenter__(self) -> SessionManager:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _info(self, handle: str, record: SessionRecord) -> SessionInfo | None:
        try:
            stored, facts, _ = unpack_session(record.payload, record.created_at)
            values = {key: self.codec.decode(data) for key, data in stored.items()}
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
        )


def check_handle(handle: str) -> str:
    """Return what may be a handle; ``ValueError`` for what is no ``str``."""
    if not isinstance(handle, str):
        raise ValueError(f"a handle must be a str, such as session.handle, not a {type(handle).__name__}")
    return handle


@asynccontextmanager
async def edited(requests: Requests, handle: str) -> AsyncIterator[Session]:
    """Give a session to a block, and commit or discard what it did."""
    state = requests.driver.begin((handle,))
    state.headers_sent = True
    state.rolling = state.tracking = False  # it is no use by its owner
    await requests.driver.edit(state, handle)
    yield requests.session(state)  # where the block raises, what it changed is never committed
    await requests.driver.save(state, last=True)


def requests_of(manager: SessionManager) -> Requests:
    """Return what the request cycle needs of a manager."""
    return manager._requests  # noqa: SLF001 - no user of a manager needs it


def check_manager(manager: object) -> SessionManager:
    """Return the manager; ``ValueError`` for anything else, with what helps."""
    if isinstance(manager, SessionManager):
        return manager
    if isinstance(manager, SessionAdapter):
        raise ValueError(
            f"setup needs a SessionManager, not a {type(manager).__name__}: "
            "setup(app, SessionManager(adapter)) with that adapter"
        )
    raise ValueError(
        f"setup needs a SessionManager, not {'None' if manager is None else f'a {type(manager).__name__}'}: "
        "setup(app, SessionManager()) keeps sessions in memory"
    )
