"""Promise 8: a handler that returns or raises an HTTPException commits; anything else discards."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientError, web

from aiohttp_spry_session import SessionEndedError, SessionValueError, get_session

from ..support import Pause, Recorder, identifier_in
from .handlers import ACTIONS, COMMIT_POINTS, PLAIN


class HandlerError(Exception):
    """What a handler did not expect."""


@pytest.mark.parametrize(
    "error", [HandlerError, TimeoutError, lambda: SessionValueError("told so")], ids=["own", "time-out", "library's"]
)
@pytest.mark.parametrize("new", [True, False], ids=["new", "known"])
@pytest.mark.parametrize("action", PLAIN)
async def test_unexpected_error_discards(visit, manager, store, clock, error, new, action):
    """What was only set, removed or renewed is gone, in the store and in the response."""

    async def failing(request: web.Request) -> web.Response:
        await ACTIONS[action](get_session(request))
        raise error()

    visitor = await visit(manager, new=new, failing=failing)
    before = None if new else await store.inner.load(visitor.handle)
    store.calls.clear()
    clock.advance(100)
    response = await visitor.ask("/failing")
    assert response.status in (500, 504)
    assert identifier_in(response.headers) is None
    assert store.counted == ({} if new else {"load": 1})
    assert before == (None if new else await store.inner.load(visitor.handle))


@pytest.mark.parametrize("kind", [web.HTTPFound, web.HTTPNotFound, web.HTTPInternalServerError, web.HTTPNoContent])
async def test_http_exception_commits(visit, manager, kind):
    """A redirect after a login is an answer like any other, and so is an error page that was raised."""

    async def raising(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("m", 2)
        await session.renew()
        raise kind("/") if kind is web.HTTPFound else kind()

    visitor = await visit(manager, raising=raising)
    response = await visitor.ask("/raising")
    assert response.status == kind.status_code
    assert identifier_in(response.headers) == visitor.identifier
    assert await (await visitor.ask("/read")).json() == {"n": 1, "m": 2}


@pytest.mark.parametrize("new", [True, False], ids=["new", "known"])
@pytest.mark.parametrize("action", [*COMMIT_POINTS, "rotate_with_grace", "destroy", "destroy_for_good"])
async def test_commit_points_survive_an_error_with_their_cookie(visit, manager, action, new):
    """What was done at once stays done, and the 500 tells the client of it; what came later is discarded."""

    async def failing(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("before", 1)
        await ACTIONS[action](session)
        await session.set("after", 1)
        raise HandlerError

    visitor = await visit(manager, new=new, failing=failing)
    old = visitor.identifier
    response = await visitor.ask("/failing")
    assert response.status == 500
    given = identifier_in(response.headers)
    if action == "destroy_for_good":
        assert given == (None if new else "")
    else:
        assert (given not in (None, "", old)) == (new or action not in ("update", "increment", "pop"))
    values = await (await visitor.ask("/read")).json()
    assert values.get("before") == (None if action.startswith("destroy") else 1)
    assert "after" not in values


async def test_saved_changes_survive_an_error(visit, manager, clock):
    """save() is a commit point; a renewal waits for the headers, and is discarded (promise 5)."""

    async def failing(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("saved", 1)
        await session.renew()
        await session.save()
        ends.append(session.expires_at)
        await session.set("later", 1)
        await session.remove("saved")
        raise HandlerError

    async def look(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        ends.append(session.expires_at)
        return web.Response()

    ends: list[object] = []
    visitor = await visit(manager, failing=failing, look=look)
    await visitor.ask("/look")
    clock.advance(60)
    response = await visitor.ask("/failing")
    assert (response.status, identifier_in(response.headers)) == (500, None)
    assert await (await visitor.ask("/read")).json() == {"n": 1, "saved": 1}
    await visitor.ask("/look")
    assert len(set(ends)) == 1


async def test_cancelled_handler_discards(visit, manager, store):
    """A client that goes away in the middle leaves the session as it was."""
    pause = Pause()
    ended = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        try:
            session = get_session(request)
            await session.increment("x")
            await session.set("m", 2)
            await session.renew()
            await pause.here()
        finally:
            ended.set()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    before = (await store.inner.load(visitor.handle)).expires_at
    asking = asyncio.ensure_future(visitor.twin().ask("/slow"))
    await pause.reached.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.wait_for(ended.wait(), 30)  # the test server cancels a handler whose client has gone
    assert await (await visitor.ask("/read")).json() == {"n": 1, "x": 1}
    assert (await store.inner.load(visitor.handle)).expires_at == before


async def test_cancelled_task_inside_of_a_handler(visit, manager):
    """CancelledError that a handler raises discards as well."""
    caught: list[BaseException] = []

    @web.middleware
    async def outer(request, handler):
        try:
            return await handler(request)
        except asyncio.CancelledError as error:
            caught.append(error)
            return web.Response(text="cancelled")

    async def failing(request: web.Request) -> web.Response:
        await get_session(request).set("m", 2)
        raise asyncio.CancelledError

    visitor = await visit(manager, middlewares=(outer,), failing=failing)
    response = await visitor.ask("/failing")
    assert await response.text() == "cancelled"
    assert caught
    assert await (await visitor.ask("/read")).json() == {"n": 1}


async def test_error_after_the_headers(visit, manager):
    """What a stream had set before it began is stored; what it set before it broke off is not."""

    async def failing(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        await session.set("before", 1)
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await session.set("after", 1)
        raise ConnectionResetError

    visitor = await visit(manager, failing=failing)
    with pytest.raises(ClientError):
        await visitor.ask("/failing")
    assert await (await visitor.ask("/read")).json() == {"n": 1, "before": 1}


async def test_function_of_update_that_raises_changes_nothing(visit, manager, store):
    """Its exception comes out as it is; no write is made, and what was set before stays pending."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("m", 2)
        with pytest.raises(ZeroDivisionError):
            await session.update("n", lambda value: value / 0)
        assert store.counted == {"load": 1}
        return web.Response()

    visitor = await visit(manager, x=handler)
    store.calls.clear()
    assert (await visitor.ask("/x")).status == 200
    assert await (await visitor.ask("/read")).json() == {"n": 1, "m": 2}


async def test_ended_session_discards_everything_at_a_commit_point(visit, manager, store):
    """A handler may catch SessionEndedError and go on; nothing of what it sets then is stored."""
    events = Recorder(manager)

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.get("n")
        await manager.revoke(session.handle)
        with pytest.raises(SessionEndedError):
            await session.increment("n")
        await session.set("m", 2)
        assert await session.keys() == ["m"]
        return web.Response()

    visitor = await visit(manager, x=handler)
    response = await visitor.ask("/x")
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert [event.reason for event in events.events if event.name == "rejected"] == ["ended", "ended"]
    assert await (await visitor.ask("/read")).json() == {}


async def test_unhandled_ended_session_is_409_and_in_a_stream_an_abort(visit, manager):
    """Where the headers have left, SessionEndedError goes on to aiohttp, which breaks the connection off."""

    async def handler(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await manager.revoke(session.handle)
        await session.increment("n")
        return response

    visitor = await visit(manager, x=handler)
    with pytest.raises(ClientError):
        await visitor.ask("/x")
