"""Promise 1: no response's headers leave before its session changes are in the store."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from aiohttp_spry_session import get_session

from ..support import Barrier, identifier_in
from .handlers import COMMIT_POINTS, PLAIN, write
from .test_promise_07_every_response import KINDS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("new", [True, False], ids=["new", "known"])
async def test_nothing_is_sent_before_the_store_has_it(visit, manager, store, kind, new):
    """While the store works on the commit, not one byte of the response has been written."""
    requests: list[web.Request] = []
    sent: list[tuple[str, int]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        await get_session(request).set("x", 2)
        return await kind(request)

    async def look(operation: str) -> None:
        if requests:
            sent.append((operation, requests[0].writer.output_size))

    visitor = await visit(manager, new=new, x=handler)
    store.after = look
    await visitor.ask("/x")
    commit, *looks = sent
    assert commit == ("create" if new else "update", 0)
    # (promise 5) Where the file took its time to open, another look: is the cookie still right?
    assert looks in ([], [("load", 0)] if new and kind.__name__ == "file" else [])


async def test_headers_wait_for_a_slow_store(visit, manager, store):
    """A response whose commit takes long is not begun before; the client gets it when the store is done."""
    requests: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        requests.append(request)
        return await write(request)

    visitor = await visit(manager, new=True, x=handler)
    barrier = Barrier(store, "create")
    asking = asyncio.ensure_future(visitor.ask("/x?n=1"))
    await barrier.reached.wait()
    assert requests[0].writer.output_size == 0
    assert not asking.done()
    barrier.go_on.set()
    assert identifier_in((await asking).headers)


@pytest.mark.parametrize("action", [*COMMIT_POINTS, *PLAIN, "destroy", "destroy_for_good"])
async def test_what_was_answered_is_in_the_store(visit, make_manager, store, action, clock):
    """Another process that looks once the response has arrived sees all of it."""
    visitor = await visit(make_manager())
    before = await store.inner.load(visitor.handle)
    clock.advance(10)
    old = visitor.handle
    assert (await visitor.ask(f"/do/{action}")).status == 200
    assert await store.inner.load(old) != before
