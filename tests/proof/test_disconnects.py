"""A client that goes away leaves its request's changes whole, or not made at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from aiohttp_spry_session import SessionManager, get_session, setup
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.explorer.operations import OPERATIONS, Scene

from ..minimal import PlainAdapter
from .site import OWNER, Store


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("name", "call"), [("set", "update"), ("increment", "update"), ("renew", "renew"), ("rotate with grace", "rotate")]
)
async def test_a_client_that_disconnects(name: str, call: Any, after: bool) -> None:
    """A request that is cancelled in a store call was done whole or not at all, and the next one works."""
    store = Store(PlainAdapter(), FakeClock())
    manager = SessionManager(store, clock=store.inner.clock)
    operation = OPERATIONS[name]
    tasks: list[asyncio.Task[Any]] = []

    async def use(request: web.Request) -> web.Response:
        session = get_session(request)
        if "start" in request.query:
            await session.set("count", 1)
        elif "read" in request.query:
            return web.json_response({key: await session.get(key) for key in await session.keys()})
        else:
            await operation.run(session, Scene("a", manager, "", OWNER))
        return web.Response()

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        tasks.extend(filter(None, [asyncio.current_task()]))
        return await handler(request)

    app = web.Application(middlewares=[note])
    app.router.add_get("/", use)
    setup(app, manager)
    # aiohttp's test server cancels the handler of a client that goes away (handler_cancellation=True).
    async with TestClient(TestServer(app), cookie_jar=CookieJar(unsafe=True)) as client:
        await client.get("/?start")
        hang = store.hang(call, after=after)
        request = asyncio.create_task(client.get("/"))
        await hang.reached.wait()
        request.cancel()
        await asyncio.wait(tasks[-1:])  # the response hook included, where a renewal lands
        store.heal()
        expected = {"count": 1}
        if after:
            operation.apply(expected, "a")
        assert await (await client.get("/?read")).json() == expected
        assert (await client.get("/?start")).status == 200
