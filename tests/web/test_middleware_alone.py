"""session_middleware without setup."""

from __future__ import annotations

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionManager,
    SQLiteSessionAdapter,
    get_session,
    session_middleware,
)

from ..support import identifier_in, sending
from .handlers import read, write

KINDS = {
    "plain": lambda: web.Response(text="done"),
    "raised": lambda: web.HTTPFound("/"),
    "unhandled": lambda: RuntimeError("told so"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_middleware_alone(aiohttp_client, make_manager, store, kind):
    """Without the hook the cookie is in what a handler returns or raises, and the adapter is not opened."""
    manager = make_manager()

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).increment("n")
        answer = KINDS[kind]()
        if isinstance(answer, Exception):
            raise answer
        return answer

    app = web.Application(middlewares=[session_middleware(manager)])
    app.router.add_get("/", handler)
    app.router.add_get("/read", read)
    async with manager:
        client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
        response = await client.get("/", allow_redirects=False)
        identifier = identifier_in(response.headers)
        assert store.counted == {"create": 1}
        if kind == "unhandled":
            assert (response.status, identifier) == (500, None)
            return
        assert response.headers["Vary"] == "Cookie"
        assert await (await client.get("/read", headers=sending(identifier))).json() == {"n": 1}


async def test_middleware_alone_leaves_a_prepared_response_alone(aiohttp_client, make_manager):
    """It cannot write headers that have left."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await get_session(request).get("n")
        return response

    manager = make_manager(adapter=MemorySessionAdapter())
    app = web.Application(middlewares=[session_middleware(manager)])
    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    response = await client.get("/")
    assert response.status == 200
    assert "Vary" not in response.headers


async def test_adapter_that_is_not_open_is_503(aiohttp_client, tmp_path, caplog):
    """Who forgets to open it is told how."""
    manager = SessionManager(SQLiteSessionAdapter(tmp_path / "s.db"))
    app = web.Application(middlewares=[session_middleware(manager)])
    app.router.add_get("/write", write)
    client = await aiohttp_client(app)
    assert (await client.get("/write?n=1")).status == 503
    assert "use setup(app, manager), or 'async with manager:' in a script" in caplog.text
