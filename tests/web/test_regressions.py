"""What a review of the request's path found: each case was wrong once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from aiohttp_spry_session import SESSION, AdapterError, MemorySessionAdapter, SessionManager, get_session, setup

from ..support import COOKIE, Barrier, Pause, Recorder, cookies_of, held_up_save, identifier_in, sending

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def clone(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request.clone(remote="192.0.2.1"))


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("between", [False, True])
async def test_clones_around_two_managers(aiohttp_client, make_manager, outside, between):
    """However often the request is cloned on its way to the handler, each manager writes its cookie."""
    app = web.Application(middlewares=[clone] if outside else [])
    setup(app, make_manager(name="a"), key="a")
    if between:
        app.middlewares.append(clone)
    setup(app, make_manager(name="b"), key="b")

    async def handler(request: web.Request) -> web.Response:
        await get_session(request, "a").set("n", 1)
        await get_session(request, "b").set("n", 1)
        return web.Response()

    app.router.add_get("/", handler)
    response = await (await aiohttp_client(app)).get("/")
    assert sorted(cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")) == ["a", "b"]


async def test_second_try_in_another_task(serve, manager):
    """A middleware that tries again, in a task of its own, gets the cookie of the session that was started then."""
    tries: list[int] = []

    @web.middleware
    async def try_again(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except KeyError:
            return await asyncio.create_task(handler(request))

    async def handler(request: web.Request) -> web.Response:
        tries.append(1)
        await get_session(request).set("n", 1)
        if len(tries) == 1:
            raise KeyError
        return web.Response()

    response = await (await serve(manager, handler, middlewares=(try_again,))).get("/")
    assert identifier_in(response.headers)


@web.middleware
async def wrap(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put something else in the session's place, as an application may that wraps it."""
    await get_session(request).set("seen", 1)
    request[SESSION] = object()
    return await handler(request)


async def test_wrapped_session_in_another_task(aiohttp_client, manager):
    """What an application puts in the session's place does not cost the cookie, in whatever task it runs."""

    @web.middleware
    async def shield(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await asyncio.create_task(handler(request))

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[shield])
    setup(app, manager)
    app.middlewares.append(wrap)
    app.router.add_get("/", handler)
    response = await (await aiohttp_client(app)).get("/")
    assert identifier_in(response.headers)


async def test_wrapped_session_of_a_manager_that_is_set_up_twice(aiohttp_client, manager):
    """It is noticed all the same that the sub-application's manager is the application's: one session is started."""
    recorder = Recorder(manager)

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app, sub = web.Application(), web.Application()
    setup(app, manager)
    app.middlewares.append(wrap)
    setup(sub, manager)
    sub.router.add_get("/", handler)
    app.add_subapp("/sub", sub)
    response = await (await aiohttp_client(app)).get("/sub/")
    assert identifier_in(response.headers)
    assert len(recorder.told) == 1


async def test_what_is_discarded_during_a_save_stays_discarded(visit, manager, store):
    """A failing handler's change does not come back through another task's save that was under way (promise 8)."""
    background: list[asyncio.Task[None]] = []
    barriers: list[Barrier] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        barriers.append(Barrier(store, "update"))

        async def save_twice() -> None:
            await session.set("first", 1)
            await session.save()
            await session.set("second", 2)
            await session.save()

        background.append(asyncio.create_task(save_twice()))
        await barriers[0].reached.wait()
        await session.set("discarded", 3)
        raising.set()
        raise ValueError

    raising = asyncio.Event()
    visitor = await visit(manager, x=handler)
    asking = asyncio.create_task(visitor.ask("/x"))
    await raising.wait()  # by now it is discarded; the response waits for the save (promise 1)
    barriers[0].go_on.set()
    assert (await asking).status == 500
    await background[0]
    assert await (await visitor.ask("/read")).json() == {"n": 1, "first": 1, "second": 2}


@pytest.mark.parametrize("operation", ["remove", "clear"])
async def test_removed_while_the_session_is_being_started(aiohttp_client, manager, store, operation):
    """What a task removes while another one starts the session with it is gone from the store as well."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("a", 1)
        saving, barrier = await held_up_save(session, store, "create")
        await (session.remove("a") if operation == "remove" else session.clear())
        barrier.go_on.set()
        await saving
        return web.json_response(await session.keys())

    async def keys(request: web.Request) -> web.Response:
        return web.json_response(await get_session(request).keys())

    app = web.Application()
    setup(app, manager)
    app.router.add_get("/", handler)
    app.router.add_get("/keys", keys)
    client = await aiohttp_client(app)
    assert await (await client.get("/")).json() == []
    assert await (await client.get("/keys")).json() == []


async def test_removed_while_starting_the_session_is_cancelled(serve, manager, store):
    """A removal that came while a session was being started, which was given up, starts none by itself."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("a", 1)
        saving, _ = await held_up_save(session, store, "create")
        await session.remove("a")
        saving.cancel()
        await asyncio.wait([saving])
        assert saving.cancelled()
        return web.Response()

    response = await (await serve(manager, handler)).get("/")
    assert response.status == 200
    assert cookies_of(response.headers) == []
    # (promise 9) Nobody knows what became of the attempt that was given up.
    assert len(cookies_of(response.headers, f"{COOKIE}-next")) == 1
    assert store.counted == {"create": 1}


async def test_old_identifier_is_not_sent_again(serve, manager):
    """A renewal's cookie is dropped where the session is found under a newer identifier afterwards (promise 5)."""
    pause = Pause()

    async def start(request: web.Request) -> web.Response:
        await get_session(request).set("n", 0)
        return web.Response()

    async def renew(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.renew()
        await session.save()
        await pause.here()
        await session.increment("n")
        return web.Response()

    async def rotate(request: web.Request) -> web.Response:
        await get_session(request).rotate(grace=10)
        return web.Response()

    client = await serve(manager, start=start, renew=renew, rotate=rotate)
    identifier = identifier_in((await client.get("/start")).headers)
    presented = sending(identifier)
    response = await pause.during(
        client.get("/renew", headers=presented), lambda: client.get("/rotate", headers=presented)
    )
    assert response.status == 200
    assert "Set-Cookie" not in response.headers


async def test_plain_set_after_a_bind_that_failed(serve, manager, store):
    """Who arrived with a rotated-away identifier, and could not be bound, starts nothing by a plain set (promise 5)."""

    async def start(request: web.Request) -> web.Response:
        await get_session(request).set("n", 0)
        return web.Response()

    async def rotate(request: web.Request) -> web.Response:
        await get_session(request).rotate()
        return web.Response()

    async def bind(request: web.Request) -> web.Response:
        store.fail("create")
        with pytest.raises(AdapterError):
            await get_session(request).bind("ann")
        store.work()
        await get_session(request).set("n", 1)
        return web.Response()

    client = await serve(manager, start=start, rotate=rotate, bind=bind)
    presented = sending(identifier_in((await client.get("/start")).headers))
    await client.get("/rotate", headers=presented)
    store.calls.clear()
    response = await client.get("/bind", headers=presented)
    assert response.status == 200
    assert cookies_of(response.headers) == []
    # (promise 9) Nobody knows what became of the bind.
    assert len(cookies_of(response.headers, f"{COOKIE}-next")) == 1
    assert store.counted == {"load": 1, "create": 1}


async def test_adapter_that_fails_before_it_returns_anything_to_await(serve):
    """A method that is no coroutine, and raises at once, is a failing store as any other: 503 (promise 9)."""

    class Plain(MemorySessionAdapter):
        def load(self, handle: str):  # type: ignore[override]
            raise OSError("down")

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        return web.Response()

    response = await (await serve(SessionManager(Plain()), handler)).get("/", headers=sending("x" * 43))
    assert response.status == 503
