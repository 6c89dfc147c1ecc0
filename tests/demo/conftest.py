"""The demo as an application under test, and clients that behave like browsers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.testing import FakeClock
from demo.accounts import ACCOUNTS, Account, Accounts
from demo.app import create_app
from demo.settings import Settings
from tests.support import WatchedAdapter

# The hash of "secret" with parameters that cost nothing.
CHEAP_HASH = (
    "scrypt$1$1$1$AAAAAAAAAAAAAAAAAAAAAA==$"
    "NiUss+Ui7BmDduiM3yCR2oCf629FD+1j+oOf6rio8E4yoArduTZbaUcktcf17tRAoOWt7ELImbtHHfLOh/jVHA=="
)

SECONDS = 30.0
"""When to give up on what should have come; nothing waits for it to pass."""

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml",
    "Sec-Fetch-Site": "same-origin",
}


class Visitor:
    """One browser."""

    def __init__(self, client: TestClient[Any, Any], headers: dict[str, str]) -> None:
        self._client = client
        self._headers = headers

    async def get(self, path: str, *, json: bool = False, follow: bool = False, **headers: str) -> ClientResponse:
        accept = {"Accept": "application/json"} if json else {}
        return await self._client.get(path, headers={**self._headers, **accept, **headers}, allow_redirects=follow)

    async def data(self, path: str) -> Any:
        return await (await self.get(path, json=True)).json()

    async def post(self, path: str, follow: bool = False, **fields: str) -> ClientResponse:
        return await self._client.post(path, headers=self._headers, data=fields, allow_redirects=follow)

    async def send(self, path: str, body: Any) -> ClientResponse:
        return await self._client.post(path, headers={**self._headers, "Accept": "application/json"}, json=body)

    async def sign_in(self, name: str = "ada", *, keep: bool = False) -> None:
        response = await self.send("/sign-in", {"name": name, "password": "secret", "keep": keep})
        assert response.status == 200, await response.text()

    async def socket(self) -> Any:
        return await self._client.ws_connect("/socket/ws", headers=self._headers)

    @property
    def raw(self) -> TestClient[Any, Any]:
        return self._client

    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self._client.session.cookie_jar}


class Crowd:
    """Lets requests write only when all of them have read: the worst interleaving, every time."""

    def __init__(self, size: int) -> None:
        self._barrier = asyncio.Barrier(size)
        self._expected = size

    async def __call__(self, operation: str) -> None:
        if operation == "load" and self._expected:
            self._expected -= 1
            await self._barrier.wait()


NewVisitor = Callable[..., Awaitable[Visitor]]


@pytest.fixture
def adapter() -> WatchedAdapter:
    """The store, which a test can watch and break."""
    return WatchedAdapter(MemorySessionAdapter(expiration=3600))


@pytest.fixture
def https() -> bool:
    """Whether the demo stands behind a proxy that speaks HTTPS."""
    return False


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the sessions; the templates go by the real one, so it begins at the real time."""
    return FakeClock(time.time())


@pytest.fixture
def app(adapter: WatchedAdapter, https: bool, clock: FakeClock) -> web.Application:
    """The demo, with customers whose passwords are cheap to check."""
    app = create_app(Settings(adapter=adapter, https=https, interval=0.01, max_devices=4, clock=clock))
    app[ACCOUNTS] = Accounts({name: Account(name, name.title(), CHEAP_HASH) for name in ("ada", "grace")})
    return app


@pytest.fixture
async def new_visitor(app: web.Application) -> AsyncIterator[NewVisitor]:
    """Open browsers on the demo, each with cookies of its own."""
    server = TestServer(app)
    clients: list[TestClient[Any, Any]] = []

    async def new(**headers: str) -> Visitor:
        client = TestClient(server, cookie_jar=CookieJar(unsafe=True))
        clients.append(client)
        await client.start_server()
        return Visitor(client, {**BROWSER, **headers})

    yield new
    for client in clients:
        await client.close()
    await server.close()


@pytest.fixture
async def visitor(new_visitor: NewVisitor) -> Visitor:
    """One browser."""
    return await new_visitor()
