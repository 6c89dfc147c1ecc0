"""A sign-in that loses its race, and then fails: what it did not start, a plain write does not start either."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from aiohttp_spry_session import AdapterError, get_session

from ..support import Pause, identifier_in


@pytest.mark.parametrize("lost", ["rotated", "revoked"])
async def test_plain_write_after_a_bind_that_lost_and_failed(visit, manager, store, lost):
    """The browser holds a newer cookie by then, or none that is any good: no other one replaces it."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        await pause.here()
        store.fail("create")
        with pytest.raises(AdapterError):
            await session.bind("user")
        store.work()
        await session.set("m", 2)
        return web.Response()

    visitor = await visit(manager, slow=slow)
    late = visitor.twin()
    meanwhile = (lambda: visitor.ask("/do/bind")) if lost == "rotated" else (lambda: manager.revoke(late.handle))
    response = await pause.during(asyncio.ensure_future(late.ask("/slow")), meanwhile)
    assert response.status == 200
    assert identifier_in(response.headers) is None
    if lost == "rotated":
        assert await (await visitor.ask("/read")).json() == {"n": 1}
