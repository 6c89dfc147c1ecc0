"""A cookie that was decided is no longer true when it leaves; a change that came too late for it is lost in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    HeadersSentError,
    Session,
    SessionEndedError,
    get_session,
    session_middleware,
    setup,
)

from ..support import Barrier, Pause, identifier_in, sending
from .conftest import Visitor
from .handlers import PATHS, read

HALF = 20 * 60 / 2


def slowly(pause: Pause, *actions: Callable[[Session], Awaitable[object]]):
    """A handler that does these things, and then takes its time."""

    async def handler(request: web.Request) -> web.Response:
        for action in actions:
            await action(get_session(request))
        await pause.here()
        return web.Response(text="done")

    return handler


@pytest.mark.parametrize("rolling", [False, True], ids=["renewal", "rolling"])
@pytest.mark.parametrize("meanwhile", ["bind", "rotate"])
async def test_renewal_before_a_commit_point_brings_no_dead_cookie(visit, make_manager, clock, meanwhile, rolling):
    """Renewed, or past half of the lifetime, and committed before somebody signed in: the newer cookie stays."""
    pause = Pause()
    actions = () if rolling else (lambda session: session.renew(),)
    slow = slowly(pause, *actions, lambda session: session.increment("x"))
    visitor = await visit(make_manager(rolling=rolling), slow=slow)
    clock.advance(HALF + 1 if rolling else 0)
    late = visitor.twin()
    response = await pause.during(late.ask("/slow"), lambda: visitor.ask(f"/do/{meanwhile}"))
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert await (await visitor.ask("/read")).json() == {"n": 1, "x": 1}


@pytest.mark.parametrize("meanwhile", ["bind", "rotate"])
async def test_rolling_under_a_slow_outer_middleware(serve, make_manager, clock, meanwhile):
    """A page that only reads is answered late, since something around the session's middleware takes its time."""
    pause = Pause()
    started = asyncio.Event()

    @web.middleware
    async def outer(request: web.Request, handler) -> web.StreamResponse:
        response = await handler(request)
        if request.path == "/read" and not started.is_set():
            started.set()
            await pause.here()
        return response

    visitor = Visitor(await serve(make_manager(rolling=True), middlewares=(outer,), **PATHS))
    await visitor.ask("/write?n=1")
    clock.advance(HALF + 1)
    late = visitor.twin()
    response = await pause.during(late.ask("/read"), lambda: visitor.ask(f"/do/{meanwhile}"))
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert await (await visitor.ask("/read")).json() == {"n": 1}


async def test_rolling_cookie_is_written_where_nobody_moved_the_session(visit, make_manager, clock):
    """The renewal itself is not lost by that: it takes effect when the headers leave."""
    pause = Pause()
    visitor = await visit(make_manager(rolling=True), slow=slowly(pause, lambda session: session.increment("x")))
    clock.advance(HALF + 1)
    late = visitor.twin()
    response = await pause.during(late.ask("/slow"), lambda: visitor.ask("/read"))
    # The reading page was faster: it renewed, and the slow one has no need to any more, but says so too or not at all.
    assert identifier_in(response.headers) in (None, visitor.identifier)
    clock.advance(HALF + 2)
    assert await (await visitor.ask("/read")).json() == {"n": 1, "x": 1}


@pytest.mark.parametrize("meanwhile", ["bind", "rotate"])
async def test_rotation_by_the_clock_and_a_login(visit, manager, meanwhile):
    """One request rotated with grace, and another one signed in under the old identifier before it was answered."""
    pause = Pause()
    visitor = await visit(manager, slow=slowly(pause, lambda session: session.rotate(grace=30)))
    late = visitor.twin()
    response = await pause.during(late.ask("/slow"), lambda: visitor.ask(f"/do/{meanwhile}"))
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert await (await visitor.ask("/read")).json() == {"n": 1}


async def test_rotation_by_the_clock_and_a_plain_write(visit, manager):
    """What another request changed under the old identifier is no reason to withhold the new one."""
    pause = Pause()
    visitor = await visit(manager, slow=slowly(pause, lambda session: session.rotate(grace=30)))
    other = visitor.twin()
    await pause.during(visitor.ask("/slow"), lambda: other.ask("/write?m=2"))
    assert visitor.identifier != other.identifier
    assert await (await visitor.ask("/read")).json() == {"n": 1, "m": 2}


@pytest.mark.parametrize("action", ["set and save", "bind", "rotate"])
async def test_cookie_of_a_session_that_was_revoked_meanwhile(visit, manager, action):
    """A commit point's new cookie is not sent once the session is gone again."""
    pause = Pause()
    handles: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        if action == "bind":
            await session.bind("ada")
        elif action == "rotate":
            await session.rotate()
        else:
            await session.increment("n")
        handles.append(session.handle)
        await pause.here()
        return web.Response()

    visitor = await visit(manager, new=True, slow=handler)
    response = await pause.during(visitor.ask("/slow"), lambda: manager.revoke(handles[0]))
    assert (response.status, identifier_in(response.headers)) == (200, None)


@pytest.mark.parametrize(("catches", "status"), [(False, 500), (True, 200)])
async def test_response_hook_that_fails_after_ours(aiohttp_client, manager, catches, status):
    """The response that leaves in place of the one that did not carries the cookie of a ``bind`` that is stored."""
    app = web.Application()
    setup(app, manager)
    failures = ["once"]

    async def hook(request: web.Request, response: web.StreamResponse) -> None:
        if request.path == "/in" and failures:
            raise RuntimeError(failures.pop())

    async def sign_in(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        await session.bind("ada")
        response = web.Response(text="signed in")  # a stream would leave its framing behind, which is aiohttp's own
        try:
            await response.prepare(request)
        except RuntimeError:
            if not catches:
                raise
            return web.Response(text="all the same")
        return response

    async def who(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        return web.Response(text=str(session.owner))

    app.on_response_prepare.append(hook)
    app.router.add_get("/in", sign_in)
    app.router.add_get("/who", who)
    client = await aiohttp_client(app)
    response = await client.get("/in")
    assert (response.status, bool(identifier_in(response.headers))) == (status, True)
    assert await (await client.get("/who")).text() == "ada"


async def test_renewal_after_a_response_that_did_not_leave(aiohttp_client, manager):
    """A second response proves that the headers of the first one never left: it has the cookie of a renewal."""
    app = web.Application()
    setup(app, manager)
    failures = ["once"]

    async def hook(request: web.Request, response: web.StreamResponse) -> None:
        if request.path == "/x" and failures:
            raise RuntimeError(failures.pop())

    async def start(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        return web.Response()

    async def handler(request: web.Request) -> web.StreamResponse:
        with pytest.raises(RuntimeError, match="once"):
            await web.Response(text="first").prepare(request)
        await get_session(request).renew()
        return web.Response(text="second")

    app.on_response_prepare.append(hook)
    app.router.add_get("/start", start)
    app.router.add_get("/x", handler)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    identifier = identifier_in((await client.get("/start")).headers)
    response = await client.get("/x", headers=sending(identifier))
    assert (await response.text(), identifier_in(response.headers)) == ("second", identifier)


@pytest.mark.parametrize("first", ["rotate", "prepare"])
async def test_rotation_and_headers_at_once(visit, manager, store, first):
    """The headers wait for a rotation under way; one that comes after them is refused, and changes nothing."""
    outcomes: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        response = web.StreamResponse()
        if first == "rotate":
            barrier = Barrier(store, "rotate")
            ways = [asyncio.ensure_future(session.rotate())]
            await barrier.reached.wait()
            ways.append(asyncio.ensure_future(response.prepare(request)))
        else:
            await session.set("m", 2)
            barrier = Barrier(store, "update")
            ways = [asyncio.ensure_future(response.prepare(request))]
            await barrier.reached.wait()
            ways.append(asyncio.ensure_future(session.rotate()))
        await asyncio.sleep(0)
        barrier.go_on.set()
        outcomes.extend(await asyncio.gather(*ways, return_exceptions=True))
        return response

    visitor = await visit(manager, x=handler)
    old = visitor.identifier
    response = await visitor.ask("/x")
    assert response.status == 200
    if first == "rotate":
        assert identifier_in(response.headers) not in (None, "", old)
    else:
        assert identifier_in(response.headers) is None
        assert isinstance(outcomes[1], HeadersSentError)
    assert (await (await visitor.ask("/read")).json())["n"] == 1


@pytest.mark.parametrize("action", ["rotate", "bind", "destroy", "set", "increment", "identifier"])
@pytest.mark.parametrize("new", [True, False])
async def test_middleware_alone_after_the_headers(aiohttp_client, make_manager, store, action, new):
    """Without the response hook too, what needs a cookie is refused once the headers have left."""
    manager = make_manager()
    failures: list[Exception] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            match action:
                case "bind":
                    await session.bind("ada")
                case "set":
                    await session.set("m", 2)
                case "identifier":
                    await session.load()
                    _ = session.identifier
                case "increment":
                    await session.increment("m")
                case _:
                    await getattr(session, action)()
        except HeadersSentError as error:
            failures.append(error)
        return response

    async def start(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        return web.Response()

    app = web.Application(middlewares=[session_middleware(manager)])
    for path, routed in {"/": handler, "/start": start, "/read": read}.items():
        app.router.add_get(path, routed)
    async with manager:
        client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
        headers = {} if new else sending(identifier_in((await client.get("/start")).headers))
        response = await client.get("/", headers=headers)
        assert (response.status, await response.read()) == (200, b"")  # the commit is made before the end of the body
        refused = new or action in ("rotate", "bind", "destroy")
        assert bool(failures) == refused
        left = await (await client.get("/read", headers=headers)).json()
        changed = {} if refused or action == "identifier" else {"m": 2 if action == "set" else 1}
        assert left == ({} if new else {"n": 1, **changed})


PLAIN: dict[str, Callable[[Session], Awaitable[None]]] = {
    "set": lambda session: session.set("m", 2),
    "remove": lambda session: session.remove("n"),
    "clear": lambda session: session.clear(),
    "renew": lambda session: session.renew(),
}


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("action", PLAIN)
async def test_plain_write_in_a_task_that_outlives_the_handler(visit, manager, clock, action, gone):
    """It commits where it is awaited, and says so where the session is gone."""
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def later(session: Session) -> None:
        await go_on.wait()
        await PLAIN[action](session)

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        tasks.append(asyncio.create_task(later(session)))
        return web.Response()

    visitor = await visit(manager, x=handler)
    await visitor.ask("/x")
    clock.advance(60)
    if gone:
        await manager.revoke(visitor.handle)
    go_on.set()
    if gone:
        with pytest.raises(SessionEndedError):
            await tasks[0]
        return
    await tasks[0]
    expected = {"set": {"n": 1, "m": 2}, "remove": {}, "clear": {}, "renew": {"n": 1}}[action]
    if action == "renew":
        clock.advance(20 * 60 - 1)
    assert await (await visitor.ask("/read")).json() == expected


@pytest.mark.parametrize("action", PLAIN)
async def test_plain_write_in_a_later_response_hook(aiohttp_client, manager, clock, action):
    """The hook that runs after ours comes too late for the last commit: it commits by itself."""
    app = web.Application()
    setup(app, manager)

    async def hook(request: web.Request, response: web.StreamResponse) -> None:
        if request.path == "/x":
            await PLAIN[action](get_session(request))

    async def start(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        return web.Response()

    async def nothing(request: web.Request) -> web.Response:
        return web.Response()

    app.on_response_prepare.append(hook)
    for path, routed in {"/start": start, "/x": nothing, "/read": read}.items():
        app.router.add_get(path, routed)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    headers = sending(identifier_in((await client.get("/start")).headers))
    clock.advance(60)
    response = await client.get("/x", headers=headers)
    assert (response.status, identifier_in(response.headers)) == (200, None)
    if action == "renew":
        clock.advance(20 * 60 - 1)
    expected = {"set": {"n": 1, "m": 2}, "remove": {}, "clear": {}, "renew": {"n": 1}}[action]
    assert await (await client.get("/read", headers=headers)).json() == expected


async def test_plain_write_of_a_visitor_without_a_session_after_the_headers(visit, manager, store):
    """Nothing can tell the browser of a session that begins now."""
    go_on = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def later(session: Session) -> None:
        await go_on.wait()
        await session.set("m", 2)

    async def handler(request: web.Request) -> web.Response:
        tasks.append(asyncio.create_task(later(get_session(request))))
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    await visitor.ask("/x")
    go_on.set()
    with pytest.raises(HeadersSentError):
        await tasks[0]
    assert "create" not in store.calls
