"""A client that holds identifiers, as a browser or as an app, and the store that its sessions are in."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from aiohttp import ClientResponse, CookieJar, DummyCookieJar, web

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, get_session, session_middleware, setup
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter

from ..support import COOKIE, HEADER
from .handlers import PATHS

__all__ = ["GIVEN_UP", "NEXT", "App", "Browser", "Holder", "begin"]

NEXT = f"{COOKIE}-next"

GIVEN_UP = 0.01
"""Seconds until a handler gives a hanging store up."""


class Holder:
    """A client, the store, and in the test's hands what a request of it does there."""

    options: ClassVar[dict[str, Any]] = {}
    jar: ClassVar[type[CookieJar] | type[DummyCookieJar]] = DummyCookieJar
    holds: Any
    """An identifier, ``old,new`` for a rotation in doubt, ``,new`` for a start in doubt, or nothing."""

    def __init__(self, client: Any, store: FaultyAdapter, inner: MemorySessionAdapter, manager: SessionManager) -> None:
        self.client = client
        self.store = store
        self.inner = inner
        self.manager = manager

    async def ask(self, path: str) -> ClientResponse:
        """Send a request; take over what the response says."""
        raise NotImplementedError

    def is_told(self, response: ClientResponse) -> bool:
        """Whether a response changes what this client holds."""
        raise NotImplementedError

    @property
    def live(self) -> list[str]:
        """The handles of all live records."""
        return [handle for handle, record in self.inner._records.items() if not record.retired]

    async def assert_settled(self) -> None:
        """The next request reads the session; afterwards there is one record, and the one identifier leads to it."""
        response = await self.ask("/read")
        assert (response.status, await response.json()) == (200, {"n": 1})
        assert self.live == [handle_of(self.holds)]
        response = await self.ask("/read")
        assert (await response.json(), self.is_told(response)) == ({"n": 1}, False)


class Browser(Holder):
    """One with a cookie jar."""

    jar = CookieJar

    async def ask(self, path: str) -> ClientResponse:
        response = await self.client.get(path)
        await response.read()
        return response

    def is_told(self, response: ClientResponse) -> bool:
        return "Set-Cookie" in response.headers

    @property
    def cookies(self) -> dict[str, str]:
        jar = self.client.session.cookie_jar.filter_cookies(self.client.make_url("/"))
        return {name: morsel.value for name, morsel in jar.items() if name.startswith(COOKIE)}

    @property
    def holds(self) -> str:  # type: ignore[override]
        cookies = self.cookies
        assert set(cookies) <= {COOKIE, NEXT}
        return cookies.get(COOKIE, "") + (f",{cookies[NEXT]}" if NEXT in cookies else "")


class App(Holder):
    """One that keeps what the header says, and takes no cookies; or a browser that is not one."""

    options: ClassVar[dict[str, Any]] = {"header": HEADER}
    holds: str = ""

    async def ask(self, path: str, method: str = "GET", **headers: str) -> ClientResponse:
        """Send a request; take over what the response says, and see that it is no cookie."""
        headers = {HEADER: self.holds, **headers}
        response = await self.client.request(method, path, headers=headers, allow_redirects=False)
        await response.read()
        assert "Set-Cookie" not in response.headers
        (value,) = response.headers.getall(HEADER, [None])
        if value is not None:
            assert response.headers["Cache-Control"] == "no-store"
            self.holds = value
        return response

    def is_told(self, response: ClientResponse) -> bool:
        return HEADER in response.headers

    async def browse(self, path: str, identifier: str | None = None, **options: Any) -> ClientResponse:
        """Send a browser's request, and see that the response has no header."""
        headers = {} if identifier is None else {"Cookie": f"{COOKIE}={identifier}"}
        response = await self.client.get(path, headers=headers, **options)
        await response.read()
        assert HEADER not in response.headers
        return response


async def give_up(request: web.Request) -> web.Response:
    """Wait for no hanging store, and answer as if nothing were."""
    session = get_session(request)
    operation = session.bind("ada") if request.query.get("what") == "bind" else session.rotate()
    try:
        await asyncio.wait_for(operation, GIVEN_UP)
    except TimeoutError:
        return web.Response(text="given up")
    return web.Response(text="done")


async def begin(
    kind: type[Holder],
    aiohttp_client: Any,
    clock: FakeClock,
    *,
    new: bool = False,
    inner: MemorySessionAdapter | None = None,
    alone: bool = False,
    paths: Any = None,
    **options: Any,
) -> Any:
    """Serve the usual handlers and some others to a client; its session holds ``n=1``, unless it has none."""
    inner = MemorySessionAdapter() if inner is None else inner
    store = FaultyAdapter(inner)
    manager = SessionManager(store, clock=clock, **kind.options, **options)
    served = web.Application(middlewares=[session_middleware(manager)] if alone else [])
    if not alone:
        setup(served, manager)
    for path, handler in {**PATHS, "give-up": give_up, **(paths or {})}.items():
        served.router.add_route("*", f"/{path}", handler)
    jar = CookieJar(unsafe=True) if kind.jar is CookieJar else DummyCookieJar()
    holder = kind(await aiohttp_client(served, cookie_jar=jar), store, inner, manager)
    if not new:
        await holder.ask("/write?n=1")
        assert holder.holds
    return holder
