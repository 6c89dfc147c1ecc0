"""A site with bound sessions behind a real server, and the browsers that visit it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient

from aiohttp_spry_session import SessionManager, dbsc, get_session, setup
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.dbsc import SoftwareDevice

from ..support import Recorder, WatchedAdapter
from ..web.conftest import Handler
from ..web.handlers import PATHS

BOUND = "SPRY_SESSION_ID-bound"


async def sign_in(request: web.Request) -> web.Response:
    """As sites do: by a redirect."""
    await get_session(request).bind(request.query.get("as", "ada"))
    raise web.HTTPSeeOther("/")


async def home(request: web.Request) -> web.Response:
    """Tell who is there, and from what device."""
    session = get_session(request)
    await session.load()
    return web.json_response([session.owner, dbsc.get_device(request).state])


async def pay(request: web.Request) -> web.Response:
    """Ask for a fresh proof, and tell what came of it and of the body."""
    return web.json_response([await dbsc.prove(request, within=30), await request.text()])


class Site:
    """One application with bound sessions, served, and the first browser there."""

    def __init__(self, manager: SessionManager, devices: dbsc.DeviceBinding, clock: FakeClock, serve: Any) -> None:
        self.manager = manager
        self.devices = devices
        self.clock = clock
        self.recorder = Recorder(manager)
        self.new_client: Callable[[], Awaitable[TestClient[Any, Any]]] = serve

    async def browse(self, **options: Any) -> SoftwareDevice:
        """Return another browser."""
        return SoftwareDevice(await self.new_client(), **options)

    async def signed_in(self, **options: Any) -> SoftwareDevice:
        """Return another browser, signed in, bound, and past the grace."""
        device = await self.browse(**options)
        assert (await device.post("/sign-in")).status == 200
        self.clock.advance(20)
        return device


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def make_site(store: WatchedAdapter, clock: FakeClock, aiohttp_server: Any, aiohttp_client: Any) -> MakeSite:
    """Serve the usual handlers and some others."""

    async def make(
        *, manager: dict[str, Any] | None = None, middlewares: Any = (), paths: Any = None, **options: Any
    ) -> Site:
        app = web.Application(middlewares=middlewares)
        sessions = SessionManager(store, clock=clock, secure=True, **(manager or {}))
        devices = dbsc.DeviceBinding(sessions, **options)
        setup(app, sessions)
        dbsc.setup(app, devices)
        handlers: dict[str, Handler] = {"": home, "sign-in": sign_in, "pay": pay, **PATHS, **(paths or {})}
        for path, handler in handlers.items():
            app.router.add_route("*", f"/{path}", handler)
        server = await aiohttp_server(app)

        async def serve() -> TestClient[Any, Any]:
            jar = CookieJar(unsafe=True, quote_cookie=False, treat_as_secure_origin=server.make_url("/"))
            return await aiohttp_client(server, cookie_jar=jar)

        return Site(sessions, devices, clock, serve)

    return make


@pytest.fixture
async def site(make_site: MakeSite) -> Site:
    """One with the default options."""
    return await make_site()


def cookies_of(device: SoftwareDevice) -> dict[str, str]:
    """What a browser has."""
    return {cookie.key: cookie.value for cookie in device.client.session.cookie_jar}
