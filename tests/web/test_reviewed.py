"""What a review found: each order of events that broke a promise, and what has to come of it."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    AdapterError,
    ConflictError,
    SessionEvent,
    SessionManager,
    SessionRecord,
    get_session,
    setup,
)
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FaultyAdapter

from ..minimal import MinimalAdapter
from ..support import COOKIE, Barrier, Pause, arrive, cookies_of, identifier_in, sending, session_of
from .handlers import PATHS

NEXT = f"{COOKIE}-next"


async def who(request: web.Request) -> web.Response:
    session = get_session(request)
    await session.has("n")
    return web.json_response(session.owner)


async def sign_in(request: web.Request) -> web.Response:
    await get_session(request).bind("ada")
    return web.Response()


async def rotate(request: web.Request) -> web.Response:
    await get_session(request).rotate()
    return web.Response()


async def signed_in(manager: SessionManager) -> str:
    """Return the handle of somebody's session."""
    session = session_of(arrive(manager, ()))
    await session.bind("ada")
    assert session.handle is not None
    return session.handle


def spare_in(response) -> str:
    (cookie,) = cookies_of(response.headers, NEXT)
    return cookie.partition(";")[0].partition("=")[2]


async def test_store_that_fails_while_a_doubt_is_settled(serve, make_manager, store):
    """Nobody is anonymous meanwhile, and both ways stay open (promise 9)."""
    faulty = FaultyAdapter(store)
    client = await serve(make_manager(adapter=faulty), who=who, sign_in=sign_in)
    faulty.fail("create", after=True)
    response = await client.get("/sign_in")
    assert response.status == 503
    faulty.heal()
    both = {"Cookie": f"{NEXT}={spare_in(response)}"}
    faulty.fail("load")
    failed = await client.get("/who", headers=both)
    assert (failed.status, cookies_of(failed.headers, NEXT)) == (503, [])
    settled = await client.get("/who", headers=both)
    assert (settled.status, await settled.json()) == (200, "ada")
    assert identifier_in(settled.headers) == spare_in(response)


async def test_session_that_keeps_changing_while_a_doubt_is_settled(serve, manager, store, monkeypatch):
    """That is an outage of this request, and logs nobody out."""
    client = await serve(manager, who=who, **PATHS)
    identifier = identifier_in((await client.get("/write?n=1")).headers)

    async def conflict(*details):
        raise ConflictError("others were faster")

    monkeypatch.setattr("aiohttp_spry_session.request.landing.Landing.land", conflict)
    response = await client.get("/who", headers={"Cookie": f"{COOKIE}={identifier}; {NEXT}=unknown"})
    assert response.status == 503
    assert cookies_of(response.headers) == cookies_of(response.headers, NEXT) == []


async def test_rotated_away_identifier_beside_a_spare_that_is_none(serve, manager):
    """A plain write starts nothing, as without the spare (promise 5)."""
    client = await serve(manager, rotate=rotate, **PATHS)
    old = identifier_in((await client.get("/write?n=1")).headers)
    await client.get("/rotate", headers=sending(old))
    response = await client.get("/write?n=2", headers={"Cookie": f"{COOKIE}={old}; {NEXT}=unknown"})
    assert response.status == 200
    assert cookies_of(response.headers) == []


async def test_receiver_that_waits_does_not_let_a_cookie_grow_stale(serve, manager):
    """A session that moves on while a signal of a renewal is told of is not taken back by that response (promise 5)."""
    pause = Pause()

    async def receiver(event) -> None:
        if event.name == "renewed":
            await pause.here()

    manager.on_renewed.append(receiver)

    async def renew(request: web.Request) -> web.Response:
        await get_session(request).renew()
        return web.Response()

    client = await serve(manager, renew=renew, rotate=rotate, **PATHS)
    old = identifier_in((await client.get("/write?n=1")).headers)
    response = await pause.during(
        client.get("/renew", headers=sending(old)), lambda: client.get("/rotate", headers=sending(old))
    )
    assert identifier_in(response.headers) is None


async def test_rotation_that_is_tried_again_keeps_its_identifier(serve, make_manager, store):
    """The client can hold one identifier beside its own: that which may have landed (promise 9)."""
    faulty = FaultyAdapter(store)
    client = await serve(make_manager(adapter=faulty), twice=_rotate_twice(faulty), who=who, **PATHS)
    old = identifier_in((await client.get("/write?n=1")).headers)
    response = await client.get("/twice", headers=sending(old))
    assert response.status == 503
    faulty.heal()
    both = {"Cookie": f"{COOKIE}={old}; {NEXT}={spare_in(response)}"}
    assert (await (await client.get("/read", headers=both)).json())["n"] == 1


def _rotate_twice(faulty: FaultyAdapter):
    async def twice(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        faulty.fail("rotate", after=True)
        faulty.fail("load", at=1)  # so that it is not found out at once
        try:
            await session.rotate()
        except AdapterError:
            faulty.fail("rotate", times=None)
            faulty.fail("load", times=None)
            await session.rotate()
        return web.Response()

    return twice


async def test_second_look_that_fails_beside_another_doubt(serve, make_manager, store):
    """Both that the response can tell of are told: where the session is, and where it may be (promise 9)."""
    faulty = FaultyAdapter(store)
    made: list[str] = []

    async def twice(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.rotate()
        made.append(session.identifier)
        faulty.fail("rotate")
        faulty.fail("load", times=None)
        try:
            await session.rotate()
        except AdapterError:
            await asyncio.sleep(0)
        return web.Response()

    client = await serve(make_manager(adapter=faulty), twice=twice, **PATHS)
    old = identifier_in((await client.get("/write?n=1")).headers)
    response = await client.get("/twice", headers=sending(old))
    assert identifier_in(response.headers) == made[0]
    assert spare_in(response) != made[0]


async def test_task_that_sets_while_the_last_commit_is_under_way(serve, manager, store):
    """Nothing is lost in silence: what it set is stored with another write (promise 8)."""
    tasks: list[asyncio.Task[None]] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await session.set("a", 1)
        barrier = Barrier(store, "update")

        async def late() -> None:
            await barrier.reached.wait()
            await session.set("b", 2)
            barrier.go_on.set()

        tasks.append(asyncio.create_task(late()))
        return response

    client = await serve(manager, stream=stream, **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers))
    await (await client.get("/stream", headers=headers)).read()
    await asyncio.gather(*tasks)
    assert await (await client.get("/read", headers=headers)).json() == {"n": 1, "a": 1, "b": 2}


async def test_task_that_sets_while_the_headers_wait_for_a_renewal(serve, manager, store):
    """The same where the response hook makes the last commit."""
    tasks: list[asyncio.Task[None]] = []

    async def renew(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.renew()
        barrier = Barrier(store, "renew")

        async def late() -> None:
            await barrier.reached.wait()
            await session.set("b", 2)
            barrier.go_on.set()

        tasks.append(asyncio.create_task(late()))
        return web.Response()

    client = await serve(manager, renew=renew, **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers))
    await (await client.get("/renew", headers=headers)).read()
    await asyncio.gather(*tasks)
    assert await (await client.get("/read", headers=headers)).json() == {"n": 1, "b": 2}


async def test_receiver_that_uses_the_session_before_the_headers_leave(serve, manager):
    """What it sets is stored with the response that is about to leave (promise 1)."""

    async def receive(event: SessionEvent) -> None:
        assert event.request is not None
        await get_session(event.request).set("seen", event.handle)

    manager.on_created.append(receive)
    client = await serve(manager, **PATHS)
    identifier = identifier_in((await client.get("/write?n=1")).headers)
    seen = await (await client.get("/read", headers=sending(identifier))).json()
    assert seen == {"n": 1, "seen": handle_of(identifier)}


async def test_receiver_that_uses_the_session_while_its_headers_wait(serve, manager):
    """What it sets when the last commit renewed the session is stored as well, before the cookie is written."""

    async def renew(request: web.Request) -> web.Response:
        await get_session(request).renew()
        return web.Response()

    async def receive(event: SessionEvent) -> None:
        assert event.request is not None
        await get_session(event.request).set("seen", event.reason)

    manager.on_renewed.append(receive)
    client = await serve(manager, renew=renew, **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers))
    assert (await client.get("/renew", headers=headers)).status == 200
    assert await (await client.get("/read", headers=headers)).json() == {"n": 1, "seen": "renew"}


async def test_task_that_never_stops_setting_holds_up_no_response_for_ever(serve, manager, store, caplog):
    """It is answered as an outage in the end: what it set last is not stored, and nobody says that it is."""

    async def endless(request: web.Request) -> web.Response:
        session = get_session(request)
        count = 0

        async def before(operation: str) -> None:
            nonlocal count
            if operation == "update":
                count += 1
                await session.set("n", count)

        store.before = before
        await session.set("n", 0)
        return web.Response()

    client = await serve(manager, endless=endless, **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers))
    response = await client.get("/endless", headers=headers)
    store.work()
    assert response.status == 503
    assert "tasks of the request kept changing the session" in caplog.text
    assert await (await client.get("/read", headers=headers)).json() == {"n": 127}


async def test_failure_of_one_manager_is_no_response_to_the_other(aiohttp_client, make_manager, store, memory, clock):
    """What the handler did with the other one's session is discarded too (promise 8)."""
    first = make_manager()
    faulty = FaultyAdapter(memory)
    second = SessionManager(faulty, name="other", clock=clock)

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        faulty.fail("create")
        await get_session(request, "other").bind("ada")
        return web.Response()

    app = web.Application()
    setup(app, first)
    setup(app, second, key="other")
    app.router.add_get("/", handler)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/")
    assert response.status == 503
    assert cookies_of(response.headers) == []


@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
async def test_answer_to_an_end_is_lost(make_manager, store, after):
    """Its end is told once, by whoever removed the session."""
    faulty = FaultyAdapter(store)
    manager = make_manager(adapter=faulty)
    told: list[str] = []

    async def receive(event: SessionEvent) -> None:
        told.append(event.reason)

    manager.on_destroyed.append(receive)
    async with manager:
        handle = await signed_in(manager)
        faulty.fail("destroy", after=after)
        if not after:
            with pytest.raises(AdapterError):
                await manager.revoke(handle)
        assert await manager.revoke(handle)
        assert told == ["revoke"]
        assert not await manager.revoke(handle)


async def test_answer_to_an_end_is_lost_and_nobody_can_ask(make_manager, store):
    """That is an outage; whether anything is left to end, the next one finds out."""
    faulty = FaultyAdapter(store)
    manager = make_manager(adapter=faulty)
    async with manager:
        handle = await signed_in(manager)
        faulty.fail("destroy", after=True)
        faulty.fail("load", at=2)
        with pytest.raises(AdapterError, match="destroy"):
            await manager.revoke(handle)


async def test_settling_with_autostart(serve, make_manager, store):
    """Whoever goes on with their session needs no other: settling makes no write of its own for that."""
    faulty = FaultyAdapter(store)
    client = await serve(make_manager(adapter=faulty, autostart=True), who=who, sign_in=sign_in)
    faulty.fail("create", after=True)
    spare = spare_in(await client.get("/sign_in"))
    store.calls.clear()
    settled = await client.get("/who", headers={"Cookie": f"{NEXT}={spare}"})
    assert await settled.json() == "ada"
    assert store.counted == {"load": 2}  # the second one when its cookie is written


async def test_rotation_in_two_steps_that_was_cut_short(serve, make_manager):
    """Whoever then signed out elsewhere is signed out: half a session that nobody knew of is none (promise 3)."""
    adapter = MinimalAdapter()
    faulty = FaultyAdapter(adapter)
    client = await serve(make_manager(adapter=faulty), who=who, sign_in=sign_in, rotate=rotate, **PATHS)
    old = identifier_in((await client.get("/sign_in")).headers)
    half = adapter.update

    async def update(handle: str, record: SessionRecord) -> bool:
        raise OSError("no answer")

    adapter.update = update
    response = await client.get("/rotate", headers=sending(old))
    adapter.update = half
    assert response.status == 503
    both = {"Cookie": f"{COOKIE}={old}; {NEXT}={spare_in(response)}"}
    await client.get("/do/destroy_for_good", headers=sending(old))
    assert await (await client.get("/who", headers=both)).json() is None
    assert adapter.records == {}


async def test_start_in_doubt_on_an_adapter_of_four_methods(serve, make_manager):
    """It takes one step: there is no half of it, also for who came with an identifier that is dead."""
    faulty = FaultyAdapter(MinimalAdapter())
    client = await serve(make_manager(adapter=faulty), who=who, sign_in=sign_in)
    faulty.fail("create", after=True)
    spare = spare_in(await client.get("/sign_in", headers=sending("dead")))
    settled = await client.get("/who", headers={"Cookie": f"{COOKIE}=dead; {NEXT}={spare}"})
    assert await settled.json() == "ada"


async def test_outer_middleware_that_tries_again(serve, make_manager, store):
    """The second try is a request of its own to promises 8 and 9: what raises is discarded, a failure is a 503."""
    faulty = FaultyAdapter(store)
    tries: list[int] = []

    @web.middleware
    async def again(request: web.Request, handler):
        try:
            return await handler(request)
        except RuntimeError:
            return await handler(request)

    async def handler(request: web.Request) -> web.Response:
        tries.append(1)
        session = get_session(request)
        await session.set("tries", len(tries))
        if len(tries) == 2:
            faulty.fail("update")
            await session.increment("tries")
        raise RuntimeError("try again")

    client = await serve(make_manager(adapter=faulty), handler, middlewares=(again,), **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers))
    assert (await client.get("/", headers=headers)).status == 503
    assert await (await client.get("/read", headers=headers)).json() == {"n": 1}


async def test_discarded_renewal_leaves_a_rotated_away_identifier_as_it_was(serve, manager):
    """A plain write after it starts nothing (promise 5)."""

    @web.middleware
    async def flash(request: web.Request, handler):
        try:
            return await handler(request)
        except ValueError:
            await get_session(request).set("flash", "sorry")
            return web.Response()

    async def fail(request: web.Request) -> web.Response:
        await get_session(request).renew()
        raise ValueError("of the handler")

    client = await serve(manager, fail=fail, rotate=rotate, middlewares=(flash,), **PATHS)
    old = identifier_in((await client.get("/write?n=1")).headers)
    await client.get("/rotate", headers=sending(old))
    response = await client.get("/fail", headers=sending(old))
    assert response.status == 200
    assert cookies_of(response.headers) == []
