"""Failures that have to come out right: the response that stands for them, the message that helps, or no failure."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    SESSION,
    MemorySessionAdapter,
    SessionEvent,
    SessionManager,
    SessionTooLargeError,
    SessionValueError,
    get_session,
    setup,
)
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter

from ..support import COOKIE, Barrier, Recorder, WatchedAdapter, cookies_of, identifier_in, sending
from .conftest import Raw, Visitor
from .handlers import PATHS, read, write


async def served(aiohttp_client: Any, app: web.Application, **paths: Any) -> Any:
    """Serve an application with these handlers, to a client that keeps no cookies."""
    for path, handler in paths.items():
        app.router.add_route("*", f"/{path}", handler)
    return await aiohttp_client(app, cookie_jar=DummyCookieJar())


# A commit that fails when the headers are about to leave.


@pytest.mark.parametrize("kind", ["text", "file", "stream", "raised"])
@pytest.mark.parametrize("where", ["outer middleware", "earlier hook"])
async def test_commit_that_fails_before_the_headers(
    aiohttp_client: Any, tmp_path: Path, clock: FakeClock, where: str, kind: str
) -> None:
    """A well-formed 503 that says when to try again, and not a dropped connection."""
    store = FaultyAdapter(MemorySessionAdapter())
    (tmp_path / "file").write_bytes(b"x" * 100_000)

    async def change(request: web.Request) -> None:
        if request.path == "/x":
            await get_session(request).set("m", 2)

    @web.middleware
    async def outer(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            if where == "outer middleware":
                await change(request)

    async def hook(request: web.Request, response: web.StreamResponse) -> None:
        if where == "earlier hook" and response.status != 503:
            await change(request)

    async def handler(request: web.Request) -> web.StreamResponse:
        if kind == "file":
            return web.FileResponse(tmp_path / "file")
        if kind == "stream":
            return web.StreamResponse()
        if kind == "raised":
            raise web.HTTPFound("/elsewhere")
        return web.Response(text="done")

    app = web.Application(middlewares=[outer])
    app.on_response_prepare.append(hook)
    setup(app, SessionManager(store, clock=clock))
    client = await served(aiohttp_client, app, x=handler, write=write, read=read)
    identifier = identifier_in((await client.get("/write?n=1")).headers)
    store.fail("update")
    answer = await Raw(client).get(f"Cookie: {COOKIE}={identifier}".encode(), path=b"/x")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert head.count(b"HTTP/1.1") == 1
    assert b"Retry-After: 1" in head
    assert b"Set-Cookie" not in head
    assert body == b"Sessions are not available at the moment."
    response = await client.get("/read", headers=sending(identifier))
    assert await response.json() == {"n": 1}


# Limits.


@pytest.mark.parametrize("action", ["bind", "rotate", "rotate_with_grace", "remove", "pop", "renew"])
async def test_limit_was_lowered(visit, make_manager, store, action: str) -> None:
    """A session that is larger than a new limit goes on, as long as nothing makes it larger."""
    visitor = await visit(make_manager())
    await visitor.ask('/write?a="' + "x" * 500 + '"')
    small = Visitor(await visit_served(visit, make_manager(max_bytes=100)), visitor.identifier)
    response = await small.ask(f"/do/{action}")
    assert response.status == 200
    left = await (await small.ask("/read")).json()
    assert left == ({"a": "x" * 500} if action in ("remove", "pop") else {"n": 1, "a": "x" * 500})


@pytest.mark.parametrize("query", ["m=2", 'a="' + "y" * 501 + '"'])
async def test_limit_that_was_lowered_still_holds(visit, make_manager, store, query: str) -> None:
    """What would make it larger is refused."""
    failures: list[Exception] = []

    async def handler(request: web.Request) -> web.Response:
        try:
            return await write(request)
        except SessionTooLargeError as error:
            failures.append(error)
            return web.Response()

    visitor = await visit(make_manager())
    await visitor.ask('/write?a="' + "x" * 500 + '"')
    client = await visit_served(visit, make_manager(max_bytes=100), more=handler)
    response = await Visitor(client, visitor.identifier).ask(f"/more?{query}")
    assert response.status == 200
    assert failures
    assert await (await visitor.ask("/read")).json() == {"n": 1, "a": "x" * 500}


async def visit_served(visit: Any, manager: SessionManager, **paths: Any) -> Any:
    """Serve the usual handlers once more, under another manager of the same store."""
    return (await visit(manager, new=True, **paths)).client


async def test_many_keys_from_one_request(serve, memory: WatchedAdapter) -> None:
    """Setting a key takes the same time however many were set before it."""

    async def fill(request: web.Request) -> web.Response:
        session = get_session(request)
        begun = time.process_time()
        for number in range(int(request.query["keys"])):
            await session.set(f"key {number}", number)
        return web.json_response(time.process_time() - begun)

    client = await serve(SessionManager(memory, max_bytes=190_000), fill=fill)
    spent = {
        keys: min([await (await client.get(f"/fill?keys={keys}")).json() for _ in range(3)]) for keys in (800, 8000)
    }
    assert spent[8000] < 3 * 10 * spent[800]


# Sign-ins that meet.


async def test_two_live_cookies_of_one_store(visit, manager, store) -> None:
    """Whoever holds two live ones is nobody, until a sign-in ends both and starts one of its own."""
    first, second = await visit(manager), await visit(manager)
    events = Recorder(manager)
    both = {"Cookie": f"{COOKIE}={first.identifier}; {COOKIE}={second.identifier}"}
    response = await first.client.get("/do/bind", headers=both)
    given = identifier_in(response.headers)
    assert (response.status, bool(given)) == (200, True)
    assert [info.owner for info in await manager.find("user")] == ["user"]
    for visitor in (first, second):
        assert await (await visitor.twin().ask("/read")).json() == {}
    assert sorted(events.told)[:3] == [("created", "bind"), ("destroyed", "bind"), ("destroyed", "bind")]
    assert await (await first.client.get("/read", headers=sending(given))).json() == {}


async def test_bind_twice_at_once(visit, manager, store) -> None:
    """A double click: both are answered alike, either cookie is good, and the values are there."""
    visitor = await visit(manager)
    twin = visitor.twin()
    barrier = Barrier(store, "rotate")
    first = asyncio.ensure_future(visitor.ask("/do/bind"))
    await barrier.reached.wait()
    second = await twin.ask("/do/bind")
    barrier.go_on.set()
    assert ((await first).status, second.status) == (200, 200)
    assert visitor.identifier != twin.identifier
    for browser in (visitor, twin):
        assert await (await browser.ask("/read")).json() == {"n": 1}
    assert len(await manager.find("user")) == 2


async def test_bind_over_another_owners_session(visit, manager, store) -> None:
    """Their session ends, and nothing of it, nor of what this request had set in it, is handed over."""

    async def other(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("m", 2)
        await session.bind("eve")
        await session.set("own", True)
        return web.json_response([session.owner, session.is_new])

    visitor = await visit(manager, other=other)
    await visitor.ask("/do/bind")
    before = visitor.twin()
    events = Recorder(manager)
    response = await visitor.ask("/other")
    assert await response.json() == ["eve", True]
    assert events.told == [("destroyed", "bind"), ("created", "bind")]
    assert [event.owner for event in events.events] == ["user", "eve"]
    assert await (await visitor.ask("/read")).json() == {"own": True}
    assert await (await before.ask("/read")).json() == {}
    assert await manager.find("user") == []


# Signals and handles.


@pytest.mark.parametrize("signal", ["on_created", "on_renewed", "on_rotated", "on_destroyed", "on_rejected"])
async def test_receiver_that_uses_the_session_itself(visit, manager, signal: str) -> None:
    """It has a turn of its own: nothing hangs, whichever of the signals it is."""
    current: list[web.Request] = []
    told: list[str] = []

    async def receive(event: SessionEvent) -> None:
        if event.name not in told:
            told.append(event.name)
            await get_session(current[-1]).save()

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        current.append(request)
        await session.load()
        match signal:
            case "on_renewed":
                await session.renew()
            case "on_rotated":
                await session.rotate()
            case "on_destroyed":
                await session.destroy()
            case "on_rejected":
                await manager.revoke(session.handle)
                await session.set("m", 2)
            case _:
                await session.increment("n")
        return web.Response()

    visitor = await visit(manager, new=signal == "on_created", x=handler)
    getattr(manager, signal).append(receive)
    response = await asyncio.wait_for(visitor.ask("/x"), 30)
    assert response.status == 200
    assert told == [signal.removeprefix("on_")]


async def test_receiver_that_is_a_plain_function(visit, manager, caplog) -> None:
    """It is called as well, and logs no failure."""
    told: list[str] = []

    def receive(event: SessionEvent) -> None:
        told.append(event.name)

    manager.on_created.append(receive)
    await visit(manager)
    assert told == ["created"]
    assert not caplog.records


@pytest.mark.parametrize("lazy", [False, True])
async def test_middleware_that_logs_the_handle(aiohttp_client: Any, make_manager, store, lazy: bool) -> None:
    """It changes nothing: for a visitor, for a live session, and for one that was rotated away or destroyed."""
    manager = make_manager(lazy=lazy)
    logged: list[str | None] = []

    @web.middleware
    async def log(request: web.Request, handler: Any) -> web.StreamResponse:
        session = get_session(request)
        logged.append(session.handle)
        try:
            return await handler(request)
        finally:
            logged.append(session.handle)

    app = web.Application()
    setup(app, manager)
    app.middlewares.append(log)
    visitor = Visitor(await served(aiohttp_client, app, **PATHS))
    response = await visitor.ask("/untouched")
    assert (response.status, identifier_in(response.headers), response.headers.get("Vary")) == (200, None, None)
    assert logged == [None, None]
    await visitor.ask("/write?n=1")
    live = visitor.handle
    old = visitor.twin()
    logged.clear()
    response = await visitor.ask("/read")
    assert (response.headers.get("Vary"), logged) == ("Cookie", [None if lazy else live, live])
    await visitor.ask("/do/bind")
    logged.clear()
    response = await old.ask("/untouched")
    assert (response.status, identifier_in(response.headers), logged) == (200, None, [None, None])
    await visitor.ask("/do/destroy_for_good")
    assert logged[-1] is None


# Set-up.


@pytest.mark.parametrize("keep", ["x", 7, object()])
async def test_kept_session_that_is_none(manager, keep: object) -> None:
    """The message says what it has to be."""
    async with manager:
        with pytest.raises(ValueError, match=f"keep must be the Session .* not a {type(keep).__name__}"):
            await manager.revoke_owner("ada", keep=keep)


@pytest.mark.parametrize("handle", [7, None, b"x"])
async def test_handle_that_is_none(manager, handle: object) -> None:
    """The message says what it has to be."""
    async with manager:
        with pytest.raises(ValueError, match=r"a handle must be a str, such as session\.handle"):
            await manager.revoke(handle)
        with pytest.raises(SessionValueError, match="an owner must be"):
            await manager.revoke_owner(handle)


@pytest.mark.parametrize("depth", [1, 2])
async def test_sub_application_takes_the_same_cookie(memory: WatchedAdapter, depth: int) -> None:
    """It would take the parent's cookie for its own: refused when the application starts."""
    app, inner = web.Application(), web.Application()
    setup(app, SessionManager(memory))
    setup(inner, SessionManager(MemorySessionAdapter()))
    for level in range(depth - 1):
        between = web.Application()
        between.add_subapp(f"/level{level}", inner)
        inner = between
    app.add_subapp("/inner", inner)
    runner = web.AppRunner(app)
    with pytest.raises(ValueError, match=f"'{COOKIE}', which an application around it has too: give each its own"):
        await runner.setup()
    await runner.cleanup()


async def test_sub_application_with_another_cookie(aiohttp_client: Any, memory: WatchedAdapter) -> None:
    """Two managers with names of their own have a session each."""
    app, inner = web.Application(), web.Application()
    setup(app, SessionManager(memory))
    setup(inner, SessionManager(MemorySessionAdapter(), name="inner"), key="inner")

    async def both(request: web.Request) -> web.Response:
        return web.json_response(
            [await get_session(request, key).increment("n", by) for key, by in (("session", 1), ("inner", 5))]
        )

    inner.router.add_get("/", both)
    app.add_subapp("/inner", inner)
    client = await served(aiohttp_client, app)
    response = await client.get("/inner/")
    assert await response.json() == [1, 5]
    assert [len(cookies_of(response.headers, name)) for name in (COOKIE, "inner")] == [1, 1]


@pytest.mark.parametrize("key", ["session", "mine"])
async def test_one_manager_on_a_sub_application_too(aiohttp_client: Any, memory: WatchedAdapter, key: str) -> None:
    """Under another key or the same: it is one session, and one cookie."""
    manager = SessionManager(memory)
    app, inner = web.Application(), web.Application()
    setup(app, manager)
    setup(inner, manager, key=key)

    async def both(request: web.Request) -> web.Response:
        await get_session(request, key).set("m", 2)
        return web.json_response(await get_session(request).increment("n"))

    inner.router.add_get("/", both)
    app.add_subapp("/inner", inner)
    client = await served(aiohttp_client, app, read=read)
    response = await client.get("/inner/")
    assert (response.status, await response.json()) == (200, 1)
    given = identifier_in(response.headers)
    assert await (await client.get("/read", headers=sending(given))).json() == {"m": 2, "n": 1}


async def test_setup_in_a_thread(aiohttp_client: Any) -> None:
    """A manager and an application may be made in any thread; both keys lead to the session."""
    made: list[web.Application] = []

    def make() -> None:
        app = web.Application()
        setup(app, SessionManager())
        setup(app, SessionManager(name="other"), key="other")
        made.append(app)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()

    async def handler(request: web.Request) -> web.Response:
        session = request[SESSION]
        assert session is request["session"] is get_session(request)
        assert get_session(request, "other") is not session
        return web.json_response(await session.increment("n"))

    client = await served(aiohttp_client, made[0], x=handler)
    response = await client.get("/x")
    assert (response.status, await response.json()) == (200, 1)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "adapter": (MemorySessionAdapter, r"not a MemorySessionAdapter: setup\(app, SessionManager\(adapter\)\)"),
    "nothing": (lambda: None, r"not None: setup\(app, SessionManager\(\)\)"),
    "object": (object, r"not a object: setup\(app, SessionManager\(\)\)"),
    "class": (lambda: SessionManager, r"not a type: setup\(app, SessionManager\(\)\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_no_manager(mistake: str) -> None:
    """It is refused at once, and the application is left as it was."""
    make, message = MISTAKES[mistake]
    app = web.Application()
    before = len(app.middlewares), len(app.on_response_prepare), len(app.cleanup_ctx)
    with pytest.raises(ValueError, match=f"^setup needs a SessionManager, {message}"):
        setup(app, make())
    assert (len(app.middlewares), len(app.on_response_prepare), len(app.cleanup_ctx)) == before


@pytest.mark.parametrize("changes", [False, True])
async def test_handler_that_returns_nothing(visit, manager, caplog, changes: bool) -> None:
    """aiohttp says so in its own words."""

    async def handler(request: web.Request) -> None:
        if changes:
            await get_session(request).set("m", 2)

    visitor = await visit(manager, x=handler)
    response = await visitor.ask("/x")
    assert response.status == 500
    assert "Missing return statement on request handler" in caplog.messages
