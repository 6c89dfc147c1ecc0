"""Fixtures for tests of applications, on top of pytest-aiohttp.

Enable them in the ``conftest.py`` at the root of the tests::

    pytest_plugins = ["aiohttp_spry_session.testing.plugin"]
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient

from ..manager import SessionManager
from .sessions import StoredSession, start_session

if TYPE_CHECKING:
    from ..dbsc.keys import Algorithm
    from .dbsc import SoftwareDevice

__all__ = ["MakeDeviceClient", "MakeSessionClient", "device_client", "session_client"]


class MakeSessionClient(Protocol):
    """What the fixture :func:`session_client` is."""

    def __call__(
        self,
        app: web.Application,
        *,
        owner: str | None = None,
        values: Mapping[str, Any] | None = None,
        key: str = "session",
        manager: SessionManager | None = None,
    ) -> Awaitable[tuple[TestClient[web.Request, web.Application], StoredSession]]:
        """Serve an application; return a client that has a session already, and that session."""
        ...


@pytest.fixture
def session_client(aiohttp_server: Any, aiohttp_client: Any) -> MakeSessionClient:
    """Serve an application to a client that has a session already.

    ::

        async def test_checkout(session_client):
            client, session = await session_client(make_app(), owner="ada", values={"basket": ["tea"]})
            response = await client.post("/checkout")
            assert response.status == 200
            assert await session.get("basket") == []

    The arguments are those of :func:`~aiohttp_spry_session.testing.start_session`. The client sends back ``Secure``
    cookies too, although the test server speaks plain HTTP.
    """

    async def make(
        app: web.Application, **options: Any
    ) -> tuple[TestClient[web.Request, web.Application], StoredSession]:
        client = await _serve(app, aiohttp_server, aiohttp_client)
        return client, await start_session(client, **options)

    return make


class MakeDeviceClient(Protocol):
    """What the fixture :func:`device_client` is."""

    def __call__(
        self,
        app: web.Application,
        *,
        owner: str,
        values: Mapping[str, Any] | None = None,
        key: str = "session",
        manager: SessionManager | None = None,
        alg: Algorithm = "ES256",
    ) -> Awaitable[tuple[SoftwareDevice, StoredSession]]:
        """Serve an application; return a device that is signed in there and bound, and its session."""
        ...


@pytest.fixture
def device_client(aiohttp_server: Any, aiohttp_client: Any) -> MakeDeviceClient:
    """Serve an application to a device that is signed in already, its session bound to it.

    ::

        async def test_theft(device_client):
            device, session = await device_client(make_app(clock), owner="ada")
            async with device.steal() as thief:
                clock.advance(700)
                assert (await thief.get("/account")).status == 401
            assert (await device.get("/account")).status == 200

    The arguments are those of :func:`session_client`, and how the device signs.
    """
    from .dbsc import SoftwareDevice, sign_in

    async def make(
        app: web.Application, *, alg: Algorithm = "ES256", **options: Any
    ) -> tuple[SoftwareDevice, StoredSession]:
        device = SoftwareDevice(await _serve(app, aiohttp_server, aiohttp_client), alg=alg)
        return device, await sign_in(device, **options)

    return make


async def _serve(app: web.Application, aiohttp_server: Any, aiohttp_client: Any) -> TestClient[Any, Any]:
    server = await aiohttp_server(app)
    jar = CookieJar(unsafe=True, quote_cookie=False, treat_as_secure_origin=server.make_url("/"))
    client: TestClient[Any, Any] = await aiohttp_client(server, cookie_jar=jar)
    return client
