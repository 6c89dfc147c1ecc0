"""How managers and applications go together."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from aiohttp import DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from aiohttp_spry_session import (
    SESSION,
    AdapterError,
    MemorySessionAdapter,
    Session,
    SessionError,
    SessionManager,
    SQLiteSessionAdapter,
    get_session,
    session_middleware,
    setup,
)

from ..support import COOKIE, WatchedAdapter, identifier_in, sending
from .handlers import PATHS, read, write


async def test_ways_to_the_session(visit, manager):
    """The typed key, the plain name and the function lead to one object, and aiohttp warns of nothing."""
    seen: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        seen.extend([request[SESSION], request["session"], get_session(request), request.get("session")])
        assert SESSION in request
        assert "session" in request
        return web.Response()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visitor = await visit(manager, new=True, x=handler)
        assert (await visitor.ask("/x")).status == 200
    assert isinstance(seen[0], Session)
    assert all(way is seen[0] for way in seen)


async def test_no_session_without_setup(aiohttp_client):
    """get_session says what to do."""
    caught: list[SessionError] = []

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(SessionError, match=r"setup\(app, SessionManager\(\.\.\.\), key='session'\)") as error:
            get_session(request)
        caught.append(error.value)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    assert (await client.get("/")).status == 200
    assert caught[0].__cause__ is None


def two_managers(clock, adapters) -> web.Application:
    """An application for visitors and, under another cookie, for administrators."""

    async def handler(request: web.Request) -> web.Response:
        visits = await get_session(request).increment("n")
        admin = await get_session(request, "admin").increment("n", 10)
        return web.json_response([visits, admin])

    app = web.Application()
    setup(app, SessionManager(adapters[0], clock=clock))
    setup(app, SessionManager(adapters[1], name="admin-sid", path="/", clock=clock), key="admin")
    app.router.add_get("/", handler)
    app.router.add_get("/read", read)
    return app


@pytest.mark.parametrize("shared", [False, True], ids=["own adapters", "one adapter"])
async def test_two_managers_with_different_cookies(aiohttp_client, clock, shared, store):
    """Each has its own session, cookie and key; they may share an adapter."""
    app = two_managers(clock, (store, store) if shared else (store, MemorySessionAdapter()))
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/")
    assert await response.json() == [1, 10]
    identifiers = identifier_in(response.headers), identifier_in(response.headers, "admin-sid")
    both = {"Cookie": f"{COOKIE}={identifiers[0]}; admin-sid={identifiers[1]}"}
    response = await client.get("/", headers=both)
    assert await response.json() == [2, 20]
    assert "Set-Cookie" not in response.headers
    assert response.headers.getall("Vary") == ["Cookie"]
    assert await (await client.get("/", headers=sending(identifiers[0]))).json() == [3, 10]


async def test_two_managers_share_an_adapters_life(clock):
    """The adapter is opened once, by whoever comes first, and closed by whoever leaves last."""
    calls: list[str] = []

    class Counting(MemorySessionAdapter):
        async def open(self) -> None:
            calls.append("open")

        async def close(self) -> None:
            calls.append("close")

    adapter = Counting()
    app = two_managers(clock, (adapter, adapter))
    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        assert calls == ["open"]
        async with SessionManager(adapter, clock=clock) as third:
            assert await third.purge() == 0
        assert (await client.get("/")).status == 200
        assert calls == ["open"]
    assert calls == ["open", "close"]
    await third.close()
    assert calls == ["open", "close"]
    async with third:
        assert calls == ["open", "close", "open"]


def test_setup_refuses_what_is_taken(clock):
    """Two managers under one key, or with one cookie, would overwrite each other."""
    app = web.Application()
    setup(app, SessionManager())
    for manager, key in ((SessionManager(name="other"), "session"), (SessionManager(), "other")):
        with pytest.raises(ValueError, match="session manager") as caught:
            setup(app, manager, key=key)
        assert str(caught.value) == (
            "the application has a session manager with the key 'session' and the cookie 'SPRY_SESSION_ID' already: "
            "give each its own"
        )
    assert len(app.middlewares) == 1
    setup(app, SessionManager(name="other"), key="other")


@pytest.mark.parametrize("key", ["", None, 3])
def test_unusable_request_key(key):
    """The request key is a name."""
    for use in (
        lambda: setup(web.Application(), SessionManager(), key=key),
        lambda: session_middleware(SessionManager(), key=key),
    ):
        with pytest.raises(ValueError, match="key must be a non-empty str"):
            use()


@pytest.mark.parametrize("also_on_the_sub_application", [False, True])
async def test_sub_application(aiohttp_client, make_manager, store, also_on_the_sub_application):
    """A manager on the main application serves the others too; set up twice, it still works once a request."""
    manager = make_manager()
    app, sub = web.Application(), web.Application()
    setup(app, manager)
    if also_on_the_sub_application:
        setup(sub, manager)
    for path, handler in PATHS.items():
        sub.router.add_get(f"/{path}", handler)
    app.router.add_get("/read", read)
    app.add_subapp("/sub", sub)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/sub/write?n=1")
    identifier = identifier_in(response.headers)
    assert store.counted == {"create": 1}
    for path in ("/read", "/sub/read"):
        store.calls.clear()
        assert await (await client.get(path, headers=sending(identifier))).json() == {"n": 1}
        assert store.counted == {"load": 1}
    assert (await client.get("/sub/nowhere", headers=sending(identifier))).status == 404
    assert identifier_in((await client.get("/sub/do/rotate", headers=sending(identifier))).headers)


async def test_manager_on_a_sub_application_alone(aiohttp_client, make_manager):
    """Then the main application's own pages have no session, and need none."""
    manager = make_manager(path="/sub/")
    app, sub = web.Application(), web.Application()
    setup(sub, manager)
    sub.router.add_get("/write", write)
    sub.router.add_get("/read", read)

    async def bare(request: web.Request) -> web.Response:
        assert "session" not in request
        return web.Response()

    app.router.add_get("/", bare)
    app.add_subapp("/sub", sub)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    assert (await client.get("/")).status == 200
    response = await client.get("/sub/write?n=1")
    assert "; Path=/sub/;" in response.headers["Set-Cookie"]
    identifier = identifier_in(response.headers)
    assert await (await client.get("/sub/read", headers=sending(identifier))).json() == {"n": 1}


async def test_different_managers_on_application_and_sub_application(aiohttp_client, clock, store):
    """A part of the site may have sessions of its own, beside those of the whole."""
    app, sub = web.Application(), web.Application()
    setup(app, SessionManager(clock=clock))
    setup(sub, SessionManager(store, name="sub-sid", clock=clock), key="inner")

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(
            [await get_session(request).increment("n"), await get_session(request, "inner").increment("n")]
        )

    sub.router.add_get("/", handler)
    app.add_subapp("/sub/", sub)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/sub/")
    assert await response.json() == [1, 1]
    assert identifier_in(response.headers)
    assert identifier_in(response.headers, "sub-sid")


async def test_background_purge(monkeypatch, clock, caplog):
    """While the application runs, expired sessions go by themselves; a purge that fails is tried again."""
    monkeypatch.setattr(WatchedAdapter, "purge_interval", 0.001)
    inner = MemorySessionAdapter()
    store = WatchedAdapter(inner)
    manager = SessionManager(store, clock=clock)
    app = web.Application()
    setup(app, manager)
    app.router.add_get("/write", write)
    purged = asyncio.Event()
    failed = asyncio.Event()

    async def before(operation: str) -> None:
        if operation == "purge" and not failed.is_set():
            failed.set()
            raise OSError("once")

    async def after(operation: str) -> None:
        if operation == "purge" and not len(inner):
            purged.set()

    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        await client.get("/write?n=1")
        assert len(inner) == 1
        store.before, store.after = before, after
        clock.advance(3600)
        await asyncio.wait_for(purged.wait(), 30)
    assert failed.is_set()
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "aiohttp_spry_session"]
    assert warning == "purging expired sessions failed, to be tried again: session store: purge: failed (OSError)"
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_application_that_cannot_open_its_store_does_not_start(tmp_path):
    """A store that is not there is noticed at the start, not at the first visitor."""
    app = web.Application()
    setup(app, SessionManager(SQLiteSessionAdapter(tmp_path / "missing" / "s.db")))
    runner = web.AppRunner(app)
    with pytest.raises(AdapterError) as caught:
        await runner.setup()
    assert caught.value.operation == "open"
    await runner.cleanup()


async def test_request_without_a_connection(clock, memory):
    """A mocked request, as unit tests of handlers use, gets its 503 too."""
    manager = SessionManager(memory, clock=clock)
    app = web.Application()
    setup(app, manager)
    app.freeze()
    request = make_mocked_request("GET", "/", app=app)

    async def handler(request: web.Request) -> web.StreamResponse:
        await get_session(request).set("n", 1)
        memory.fail("create")
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    with pytest.raises(web.HTTPServiceUnavailable):
        await app.middlewares[0](request, handler)


@pytest.mark.parametrize("raised", [False, True])
async def test_outer_middleware_that_ends_what_the_handler_began(visit, manager, raised):
    """The cookie is written last: a session that is over by then leaves no trace in the response."""

    @web.middleware
    async def undo(request, handler):
        try:
            return await handler(request)
        finally:
            await get_session(request).destroy(regenerate=False)

    async def begin(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        if raised:
            raise web.HTTPFound("/")
        return web.Response()

    visitor = await visit(manager, new=True, middlewares=(undo,), begin=begin)
    response = await visitor.ask("/begin")
    assert (response.status, identifier_in(response.headers)) == (302 if raised else 200, None)
    assert "Cache-Control" not in response.headers


async def test_headers_are_spelt_as_everywhere(visit, manager, raw):
    """For who reads them by eye, or with a tool that knows one spelling only."""
    visitor = await visit(manager)
    answer = await raw(visitor.client).get(f"Cookie: {COOKIE}={visitor.identifier}".encode(), path=b"/read")
    assert b"\r\nVary: Cookie\r\n" in answer
