"""Sessions in aiohttp's request cycle: the middleware, the response hook, and ``setup``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp.typedefs import Handler, Middleware

from .cookies import add_vary_cookie, read_cookie
from .events import logger
from .exceptions import AdapterError, ConflictError, SessionEndedError, SessionError
from .lifecycle import Lifecycle
from .manager import SessionManager
from .session import Session
from .state import KEEP, UNLOADED, CookieAction

__all__ = ["SESSION", "get_session", "session_middleware", "setup"]


class _NamedRequestKey(str):
    """A typed request key that its plain name finds too.

    ``request["session"]`` and ``request[SESSION]`` are one entry, since this is a ``str``; and since it says to be a
    ``RequestKey``, aiohttp has nothing to warn about.
    """

    __slots__ = ()
    __class__ = web.RequestKey  # type: ignore[assignment]


SESSION: web.RequestKey[Session] = _NamedRequestKey("session")  # type: ignore[assignment]
"""The typed key of ``request["session"]``."""


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
    :raises ValueError: where the key or the cookie name is taken by another manager of the application.
    """
    taken = app.get(_MANAGERS, {})
    for other_key, other in taken.items():
        if other_key == key or other.name == manager.name:
            raise ValueError(
                f"the application has a session manager with the key {other_key!r} and the cookie {other.name!r} "
                "already: give each its own"
            )
    app[_MANAGERS] = {**taken, key: manager}
    cycle = _Cycle(manager, key, hooked=True)
    app.middlewares.append(cycle.middleware)
    app.on_response_prepare.append(cycle.on_response_prepare)
    app.cleanup_ctx.append(cycle.run_adapter)


def session_middleware(manager: SessionManager, *, key: str = "session") -> Middleware:
    """Return the middleware that :func:`setup` adds.

    On its own it opens no adapter, and writes the cookie only into responses that a handler returns or raises
    unprepared; prefer :func:`setup`.
    """
    return _Cycle(manager, key, hooked=False).middleware


_MANAGERS: web.AppKey[dict[str, SessionManager]] = web.AppKey("managers", dict)


_SEEN: ContextVar[web.Request | None] = ContextVar("aiohttp_spry_session.request", default=None)
"""The request as the middleware got it. An outer middleware may have handed on a clone, as those for reverse proxies
do; what the clone was given is not in the request that the response is prepared for."""


class _Slot:
    """Where a manager keeps a request's session: one key, so that it notices when it is set up twice on the way."""

    def __init__(self) -> None:
        self.key: web.RequestKey[Lifecycle] = web.RequestKey("life", Lifecycle)
        self.users = 0


_SLOTS: WeakKeyDictionary[SessionManager, _Slot] = WeakKeyDictionary()


class _Cycle:
    """One manager in the request cycle of one application."""

    def __init__(self, manager: SessionManager, key: str, *, hooked: bool) -> None:
        if not isinstance(key, str) or not key:
            raise ValueError(f"key must be a non-empty str, not {key!r}")
        self._manager = manager
        self._key: Any = SESSION if key == "session" else _NamedRequestKey(key)
        self._slot = _SLOTS.setdefault(manager, _Slot())
        self._slot.users += 1
        self._life = self._slot.key
        self._hooked = hooked

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._slot.users > 1 and self._life in request:
            return await handler(request)
        manager = self._manager
        headers = request.headers.getall(hdrs.COOKIE, ())
        life = manager.begin(read_cookie(headers, manager.name) if headers else ())
        request[self._key] = manager.session(life)
        request[self._life] = life
        _SEEN.set(request)
        if life.status is UNLOADED and not manager.lazy:
            try:
                await life.look_up()
            except AdapterError as error:
                life.failure = error  # waits for the handler's first use of the session
        try:
            response = await handler(request)
            if life.dirty:
                await life.commit()
        except BaseException as error:
            raised = await self._settle(request, life, error)
            if not self._hooked and isinstance(raised, web.HTTPException):
                self._write_headers(raised, life)
            if raised is error:
                raise
            raise raised from error
        if not self._hooked and not response.prepared:
            self._write_headers(response, life)
        return response

    async def _settle(self, request: web.Request, life: Lifecycle, error: BaseException) -> BaseException:
        """Commit what the handler did before it raised a response, or discard it; return what is to be raised.

        A failure of the session itself becomes a response, unless another one's headers have left.
        """
        if isinstance(error, web.HTTPException):
            try:
                if life.dirty:
                    await life.commit()
            except BaseException as failure:  # noqa: BLE001 - raised by the caller
                error = failure
            else:
                return error
        life.discard()
        if isinstance(error, AdapterError | ConflictError):
            # The raw path: a decoded one could bring line breaks into the log (ASVS 16.4.1).
            logger.error("%s %s: %s", request.method, request.rel_url.raw_path, error, exc_info=error)
        return error if life.headers_sent else _answer_to(error)

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Commit what is pending, then write the cookie: the last moment before the headers leave."""
        life: Lifecycle | None
        try:
            life = request[self._life]
        except KeyError:
            life = self._life_of_clone(request)
        if life is None or life.headers_sent:
            return
        if life.dirty:
            try:
                await life.commit()
            except BaseException:
                _forget_framing(request.writer)
                raise
        if life.cookie is not KEEP:
            self._write_headers(response, life)
        elif life.used:
            add_vary_cookie(response.headers)
        life.headers_sent = True

    def _life_of_clone(self, request: web.Request) -> Lifecycle | None:
        seen = _SEEN.get()
        return seen.get(self._life) if seen is not None and seen.writer is request.writer else None

    def _write_headers(self, response: web.StreamResponse, life: Lifecycle) -> None:
        headers = response.headers
        if life.used:
            add_vary_cookie(headers)
        if life.cookie is KEEP:
            return
        if not self._hooked:
            # One that the handler set becomes a header only when the response is prepared.
            response.cookies.pop(self._manager.name, None)
        if life.cookie is CookieAction.SEND:
            self._manager.cookie_writer.write(headers, life.identifier, max_age=self._manager.max_age(life))
        else:
            self._manager.cookie_writer.remove(headers)

    async def run_adapter(self, app: web.Application) -> AsyncIterator[None]:
        """Keep the adapter open, and purged, while the application runs."""
        await self._manager.open()
        purging = asyncio.create_task(self._purge())
        try:
            yield
        finally:
            purging.cancel()
            await asyncio.gather(purging, return_exceptions=True)
            await self._manager.close()

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(self._manager.adapter.purge_interval)
            try:
                await self._manager.purge()
            except AdapterError as error:
                logger.warning("purging expired sessions failed, to be tried again: %s", error)


def _answer_to(error: BaseException) -> BaseException:
    """Return the response that stands for an exception, or the exception itself where none does."""
    if isinstance(error, SessionEndedError):
        return web.HTTPConflict(text="The session has ended. Please try again.")
    if isinstance(error, AdapterError | ConflictError):
        return web.HTTPServiceUnavailable(text="Sessions are not available at the moment.")
    return error


def _forget_framing(writer: AbstractStreamWriter) -> None:
    """Undo what aiohttp set up for the body of a response that does not leave: another response will go its way."""
    if isinstance(writer, StreamWriter):
        writer.chunked = False
        writer._compress = None  # noqa: SLF001 - there is no public way back
