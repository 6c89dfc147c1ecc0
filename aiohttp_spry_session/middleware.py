"""Sessions in aiohttp's request cycle: the middleware, the response hook, and ``setup``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from weakref import ReferenceType, ref

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler, Middleware

from .answers import (
    ConflictAnswer,
    UnavailableAnswer,
    answer_instead,
    answer_to,
    forget_framing,
    has_left,
    may_have_left,
)
from .carriers import CookieCarrier, HeaderCarrier, add_vary
from .cohort import Cohort
from .events import logger
from .exceptions import AdapterError, ConflictError, SessionError
from .manager import SessionManager, check_manager, requests_of
from .managers import add_manager, check_inner
from .request.state import SessionState
from .request.status import UNLOADED
from .request_key import NamedKey
from .session import Session
from .watch.alive import close_all

__all__ = ["get_session", "session_middleware", "setup"]


def get_session(request: web.Request, key: str = "session") -> Session:
    """Return the request's session.

    :param key: the ``key`` that was given to :func:`setup`.
    :raises SessionError: where no manager was set up under this key.
    """
    try:
        session: Session = request[key]
    except KeyError:
        raise SessionError(
            f"this request has no session {key!r}: call setup(app, SessionManager(...), key={key!r}) on the application"
        ) from None
    return session


def setup(app: web.Application, manager: SessionManager, *, key: str = "session") -> None:
    """Give every request of an application, its sub-applications included, a session.

    Adds the middleware, the hook that writes the cookie into whatever response leaves, and the adapter's start-up,
    background purge and clean-up.

    :param key: the request key; several managers with different cookie names and keys can share one application.
    :raises ValueError: where the key, the cookie name or the ``header`` is taken by another manager of the application,
        and for what is no manager.
    """
    cycle = _Cycle(manager, key, hooked=True)
    add_manager(app, manager, key)
    app.middlewares.append(cycle.middleware)
    app.on_response_prepare.append(cycle.on_response_prepare)
    app.cleanup_ctx.append(cycle.run_adapter)
    app.on_shutdown.append(cycle.close_sockets)


def session_middleware(manager: SessionManager, *, key: str = "session") -> Middleware:
    """Return the middleware that :func:`setup` adds.

    On its own it opens no adapter, and writes the cookie only into responses that a handler returns or raises
    unprepared; prefer :func:`setup`.
    """
    return _Cycle(manager, key, hooked=False).middleware


_SESSIONS: dict[ReferenceType[AbstractStreamWriter], dict[SessionManager, SessionState]] = {}
"""The sessions of each request that is under way: by its writer, and by manager.

A request and its clones have one thing in common that no other request has: the writer that the response goes to. So

- where an outer middleware hands on a clone, as those for reverse proxies do, the response hook, which is given the
  request as it came, finds the session that the clone was given;
- a manager that is set up twice on a request's way, on the application and on a sub-application, under one key or two,
  has one session there, which the outer one looks up and commits;
- several managers have a session each.

The writer is held weakly: with it the entry goes. (This is a ``WeakKeyDictionary`` without its Python code.)
"""

_forget: Callable[[ReferenceType[AbstractStreamWriter]], object] = _SESSIONS.pop


class _Cycle:
    """One manager in the request cycle of one application."""

    def __init__(self, manager: SessionManager, key: str, *, hooked: bool) -> None:
        self._manager = check_manager(manager)
        self._key = NamedKey(key)
        self._requests = requests_of(manager)
        self._driver = self._requests.driver
        self._cookies = CookieCarrier(self._requests, hooked=hooked)
        self._header = None if manager.header is None else HeaderCarrier(manager.header)
        self._vary = "Cookie" if manager.header is None else f"Cookie, {manager.header}"
        self._rolling = manager.rolling if callable(manager.rolling) else None
        self._hooked = hooked
        self._cohort = Cohort()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give the request its session, and commit or discard what the handler did with it (promise 8)."""
        sessions = _SESSIONS.setdefault(ref(request.writer, _forget), {})
        state = sessions.get(self._manager)
        nested = state is not None and not state.handled
        if state is None:
            state = sessions[self._manager] = self._begin(request)
        request[self._key] = self._requests.session(state)
        if nested:
            return await handler(request)
        state.handled = False  # an outer middleware may try the handler again
        if state.status is UNLOADED and not self._manager.lazy:  # (promise 6) without a session cookie: no load
            try:
                await self._driver.look_up(state)
            except AdapterError as error:
                state.failure = error  # waits for the handler's first use of the session
        try:
            try:
                response = await handler(request)
            finally:
                # Where a later hook failed, or another part of ``prepare``, the response that had its hook never left.
                state.headers_sent = state.headers_sent and may_have_left(request.writer)
            if state.dirty or not self._hooked:
                await self._finish(state, response)
        except BaseException as error:
            raised = await self._settle(request, state, error)
            if raised is error:
                raise
            raise raised from error
        finally:
            state.handled = True
            if not self._hooked:
                state.headers_sent = True
        return response

    def _begin(self, request: web.Request) -> SessionState:
        header = self._header
        by_header = header is not None and header.is_in(request)
        presented, spares = header.read(request) if header is not None and by_header else self._cookies.read(request)
        state = self._driver.begin(presented, spares)
        state.by_header = by_header
        state.request = ref(request)
        if self._rolling is not None:
            state.rolling = bool(self._rolling(request))
        if not self._hooked:
            state.has_left = partial(has_left, request.writer)
        if self._requests.companions is not None:
            state.companion = self._requests.companions(request)
        if self._requests.newcomers is not None and not by_header:
            newcomer = self._requests.newcomers(request)
            if newcomer is not None:
                state.expect(newcomer)
        return state

    async def _finish(self, state: SessionState, response: object) -> None:
        """Make the last commit of a handler that returned or raised a response (promise 8).

        What only a new end asks for waits for the response hook, which writes its cookie (promise 5).
        """
        if self._hooked or not isinstance(response, web.StreamResponse) or response.prepared:
            if state.dirty and (state.has_changes or state.headers_sent or not self._hooked):
                await self._driver.commit(state)
        elif state.dirty or state.cookie.writes:
            await self._driver.leave(state, partial(self._write_headers, response, state))
        elif state.used:
            add_vary(response.headers, self._vary)

    async def _settle(self, request: web.Request, state: SessionState, error: BaseException) -> BaseException:
        """Commit what the handler did before it raised a response, or discard it (promise 8); return what to raise.

        A failure of the session itself becomes a response, unless another one's headers have left.
        """
        if isinstance(error, web.HTTPException) and not isinstance(error, ConflictAnswer | UnavailableAnswer):
            try:
                await self._finish(state, error)
            except BaseException as failure:  # noqa: BLE001 - raised by the caller
                error = failure
            else:
                return error
        state.discard()
        if isinstance(error, ConflictError):
            # The raw path: a decoded one could bring line breaks into the log (ASVS 16.4.1).
            logger.error("%s %s: %s", request.method, request.rel_url.raw_path, error)
        if state.headers_sent and self._hooked:
            return error
        answer = answer_to(error)
        if not self._hooked and isinstance(answer, web.HTTPException):
            self._write_headers(answer, state)
        return answer

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Commit what is pending, then write the cookie: before the headers of every response (promise 1) (promise 7).

        Called for a second response of one request it knows that the first one never left, and does the same again.
        """
        sessions = _SESSIONS.get(ref(request.writer))
        state = None if sessions is None else sessions.get(self._manager)
        if sessions is None or state is None:
            return
        if not state.cookie.writes and not state.headers_sent and len(sessions) == 1:
            # Not between a commit and its cookie (promise 5), which another session's may be; and once a response.
            await self._cohort.gather()
        state.headers_sent = False
        if state.dirty or state.busy or state.cookie.writes:
            try:
                await self._driver.leave(state, partial(self._write_headers, response, state))
            except BaseException as error:
                state.discard()
                forget_framing(request.writer)
                if state.handled and isinstance(error, AdapterError | ConflictError):
                    await answer_instead(request, error)
                raise
        elif state.used:
            add_vary(response.headers, self._vary)
        state.headers_sent = True

    def _write_headers(self, response: web.StreamResponse, state: SessionState) -> None:
        if state.used:
            add_vary(response.headers, self._vary)
        if state.newcomer is not None:
            state.newcomer.leaving(state, response.headers)
        carrier = self._header if state.by_header and self._header is not None else self._cookies
        carrier.write(response, state)
        if state.companion is not None:
            state.companion.leaving(state, response.headers)

    async def run_adapter(self, app: web.Application) -> AsyncIterator[None]:
        """Keep the adapter open, and purged, while the application runs."""
        check_inner(app, {self._manager.name: self._manager})
        await self._manager.open()
        purging = asyncio.create_task(self._purge())
        try:
            yield
        finally:
            purging.cancel()
            await asyncio.gather(purging, return_exceptions=True)
            await self._manager.close()

    async def close_sockets(self, app: web.Application) -> None:
        """Close the sockets that a session keeps open: the application stops."""
        await close_all(self._driver.watcher)

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(self._manager.adapter.purge_interval)
            try:
                await self._manager.purge()
            except AdapterError as error:
                logger.warning("purging expired sessions failed, to be tried again: %s", error)
