"""A small application that is visited while the server behind it goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from aiohttp_spry_session import SessionManager, get_session, setup
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter

__all__ = ["ADAPTER", "Serve", "application", "get", "seen"]

Serve = Callable[..., Awaitable[TestClient]]
ADAPTER = web.AppKey("adapter", RedisSessionAdapter)


async def increment(request: web.Request) -> web.Response:
    return web.Response(text=str(await get_session(request).increment("n")))


async def write_both(request: web.Request) -> web.Response:
    session = get_session(request)
    value = int(request.query["v"])
    await session.set("left", value)
    await session.set("right", value)
    return web.Response()


async def read(request: web.Request) -> web.Response:
    session = get_session(request)
    values = {key: await session.get(key) for key in await session.keys()}
    return web.json_response({"new": session.is_new, **values})


async def login(request: web.Request) -> web.Response:
    await get_session(request).bind("ada")
    return web.Response()


async def get(browser: TestClient, path: str) -> tuple[int, str]:
    async with browser.get(path) as response:
        if response.status == 503:
            assert "Set-Cookie" not in response.headers
        return response.status, await response.text()


async def seen(browser: TestClient) -> dict[str, Any]:
    async with browser.get("/read") as response:
        assert response.status == 200
        return await response.json()


def application(client_or_url: Redis | str, prefix: str, timeout: float) -> web.Application:
    """Return the application on a store."""
    app = web.Application()
    app.router.add_get("/increment", increment)
    app.router.add_get("/both", write_both)
    app.router.add_get("/read", read)
    app.router.add_get("/login", login)
    app[ADAPTER] = RedisSessionAdapter(client_or_url, prefix=prefix)
    setup(app, SessionManager(app[ADAPTER], timeout=timeout))
    return app
