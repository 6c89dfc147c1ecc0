"""Fixtures for sessions behind a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, DummyCookieJar, web
from aiohttp.test_utils import TestClient

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SQLiteSessionAdapter, setup
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.identifiers import handle_of

from ..support import HEADER, Carrier, WatchedAdapter, identifier_in, sending, sending_nothing
from .handlers import PATHS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[..., Awaitable[TestClient]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what the promises say on sealed records too, and over a header, unless a test is about cookies as such."""
    if "store" not in metafunc.fixturenames:
        return
    stores: list[object] = ["memory", "sqlite"]
    if metafunc.module.__name__.rpartition(".")[2].startswith("test_promise_"):
        stores.append(pytest.param("sealed", marks=pytest.mark.long))
        if metafunc.definition.get_closest_marker("cookies") is None:
            stores.append("header")
    metafunc.parametrize("store", stores, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WatchedAdapter:
    """A watched store of the core install; ``sealed``: around that in memory; ``header``: without cookies."""
    if request.param == "header":
        monkeypatch.setattr(Carrier, "header", HEADER)
    if request.param == "sqlite":
        return WatchedAdapter(SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF"))
    memory = MemorySessionAdapter()
    return WatchedAdapter(SealedAdapter(memory, b"k" * 32) if request.param == "sealed" else memory)


@pytest.fixture
def serve(aiohttp_client: Any) -> Serve:
    """Serve handlers with sessions; the client keeps no cookies, each request says which it presents."""

    async def serve(
        manager: SessionManager,
        handler: Handler | None = None,
        /,
        *,
        middlewares: tuple[Any, ...] = (),
        **paths: Handler,
    ) -> TestClient:
        app = web.Application(middlewares=middlewares)
        setup(app, manager)
        if handler is not None:
            app.router.add_route("*", "/", handler)
        for path, routed in paths.items():
            method, _, name = path.rpartition(" ")
            app.router.add_route(method or "*", f"/{name}", routed)
        return await aiohttp_client(app, cookie_jar=DummyCookieJar(), headers=sending_nothing())

    return serve


class Raw:
    """A connection that sends exactly these bytes."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    async def __call__(self, *requests: bytes) -> bytes:
        """Send the requests one after the other on one connection; return all that came back until it was closed."""
        reader, writer = await asyncio.open_connection(self._client.host, self._client.port)
        try:
            for request in requests:
                writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 30)
        finally:
            writer.close()
            await writer.wait_closed()

    async def get(self, *header_lines: bytes, path: bytes = b"/") -> bytes:
        """Send one GET with these header lines."""
        lines = [b"GET " + path + b" HTTP/1.1", b"Host: test", *header_lines, b"Connection: close", b"", b""]
        return await self(b"\r\n".join(lines))


@pytest.fixture
def raw() -> Callable[[TestClient], Raw]:
    """Speak to a served application byte by byte."""
    return Raw


class Visitor:
    """A client that asks under one identifier, or none, and takes over whatever identifier it is given."""

    def __init__(self, client: TestClient, identifier: str | None = None) -> None:
        self.client = client
        self.identifier = identifier

    async def ask(self, path: str, **options: Any) -> ClientResponse:
        """Send a GET; return the response, read."""
        headers = sending_nothing() if self.identifier is None else sending(self.identifier)
        response = await self.client.get(path, headers=headers, allow_redirects=False, **options)
        await response.read()
        given = identifier_in(response.headers)
        if given is not None:
            self.identifier = given or None
        return response

    def twin(self) -> Visitor:
        """The same browser, in a request of its own."""
        return Visitor(self.client, self.identifier)

    @property
    def handle(self) -> str:
        assert self.identifier is not None
        return handle_of(self.identifier)


@pytest.fixture
def visit(serve: Serve) -> Callable[..., Awaitable[Visitor]]:
    """Serve the usual handlers and some others; return a visitor who holds the values ``n=1``, or nothing yet."""

    async def visit(manager: SessionManager, *, new: bool = False, **paths: Handler) -> Visitor:
        visitor = Visitor(await serve(manager, **{**PATHS, **paths}))
        if not new:
            await visitor.ask("/write?n=1")
        return visitor

    return visit
