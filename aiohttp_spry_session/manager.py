"""The manager: a session's options in one place, and the ways to sessions from outside a request."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from aiosignal import Signal

from .adapter import SessionAdapter, check_adapter
from .adapters.memory import MemorySessionAdapter
from .codec import Codec, read_codec
from .cookies import CookieWriter, SameSite, read_header
from .editing import edited
from .events import Events, SessionEvent
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
from .overview import Overview, SessionInfo, check_handle
from .policy import Policy, WhenFull
from .request.arrival import Place
from .request.companion import Companion, Newcomer
from .request.driver import Driver
from .request.state import SessionState
from .session import Session, check_owner
from .store.guard import GuardedStore
from .store.trails import Trails

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Requests", "SessionInfo", "SessionManager", "check_manager", "overview_of", "requests_of"]


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
        self.companions: Callable[[web.Request], Companion[SessionState]] | None = None
        """Returns what comes on top of a request's session; ``None`` where nothing does."""
        self.newcomers: Callable[[web.Request], Newcomer[SessionState] | None] | None = None
        """Returns who may come in from another session library; ``None`` where nobody does."""
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
    :param header: the name of a header that plays the cookie's part for clients without cookies, such as apps; a
        request that has it is identified by it alone, and answered in it.
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
        header: str | None = None,
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
        adapter = MemorySessionAdapter() if adapter is None else check_adapter(adapter)
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
        self.header = read_header(header)
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
        trails = Trails(self._store, clock)
        policy = Policy(
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
        driver = Driver(self._store, trails, policy, identifiers, self._events, clock)
        self._requests = Requests(driver, cookies, spares, policy, self.codec, clock)
        # What ends a session finishes that, also where it runs in a block that ends with it.
        self._hold = driver.watcher.hold
        self._overview = Overview(self._store, trails, policy, self.codec, self._events, clock)

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
        return await self._overview.find(owner)

    def sessions(self, owner: str | None = None) -> AsyncIterator[SessionInfo]:
        """Return an asynchronous iterator of everybody's live sessions, in any order, or of an owner's.

        They come as the store finds them, never all at once: of a million too. One that is rotated meanwhile may come
        under either handle, under both, or not.

        :raises AdapterError: where the store failed.
        :raises NotImplementedError: where the adapter cannot list them, or keeps no index of owners.
        """
        return self._overview.sessions(None if owner is None else check_owner(owner))

    async def count(self) -> int:
        """Return how many live sessions there are, counted in steps that hold up nobody.

        :raises AdapterError: where the store failed.
        :raises NotImplementedError: where the adapter cannot count them.
        """
        return await self._overview.count()

    async def revoke(self, handle: str) -> bool:
        """End a session, wherever a rotation has taken it; return whether there was one (ASVS 7.4.5).

        :raises AdapterError: where the store failed.
        """
        with self._hold():
            return await self._overview.revoke(handle)

    async def revoke_owner(self, owner: str, *, keep: Session | None = None) -> int:
        """End all of an owner's sessions, but for ``keep``; return how many (ASVS 7.4.2, 7.4.3).

        Sessions that the owner starts while this runs may live on.

        :raises AdapterError: where the store failed.
        :raises NotImplementedError: where the adapter keeps no index of owners.
        :raises SessionEndedError: where the one to keep is over: nothing is ended then.
        """
        with self._hold():
            return await self._overview.revoke_owner(owner, keep)

    async def revoke_all(self) -> int:
        """End everybody's sessions; return how many. For the day after a break-in.

        Whoever was signed in when it began is not any more when it returns. Sessions that start while it runs may be
        ended or live on. Where it fails half-way, those that came before are ended: call it again.

        :raises AdapterError: where the store failed.
        :raises NotImplementedError: where the adapter cannot list its sessions.
        """
        with self._hold():
            return await self._overview.revoke_all()

    async def check(self) -> None:
        """Ask the store for a sign of life, for health checks: load nothing. Returns within ``timeout``.

        :raises AdapterError: where the store fails, hangs, or is closed.
        """
        await self._overview.check()

    def edit(self, handle: str) -> AbstractAsyncContextManager[Session]:
        """Return the session under a handle, outside a request: ``async with manager.edit(handle) as session``.

        Its changes are committed at the block's end, where they raise ``SessionEndedError`` if it is gone by then, and
        discarded where the block raises. What would need a response raises ``HeadersSentError``.

        :raises SessionEndedError: at entry, where no session lives under the handle, or a rotation has taken it to.
        :raises AdapterError: where the store failed.
        """
        return edited(self._requests.driver, self._requests.session, check_handle(handle))

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


def requests_of(manager: SessionManager) -> Requests:
    """Return what the request cycle needs of a manager."""
    return manager._requests  # noqa: SLF001 - no user of a manager needs it


def overview_of(manager: SessionManager) -> Overview:
    """Return what the command line needs of a manager."""
    return manager._overview  # noqa: SLF001 - a site's own code needs no more than the manager's methods


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
