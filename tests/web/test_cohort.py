"""Requests that are ready together send together, where promise 5 leaves room for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import SessionManager, get_session, setup
from aiohttp_spry_session import middleware as module
from aiohttp_spry_session.cohort import Cohort

from ..support import COOKIE, arrive, cookies_of, identifier_in, session_of


class Told:
    """Tells when a request takes its turn."""

    turns: int = 0
    began: asyncio.Event

    async def gather(self) -> None:
        Told.turns += 1
        Told.began.set()
        await asyncio.sleep(0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    """Counts the turns of all applications."""
    monkeypatch.setattr(module, "Cohort", Told)
    Told.turns = 0
    Told.began = asyncio.Event()
    return Told


class Wire(asyncio.Transport):
    """Notes when a response is written, and when all three are."""

    def __init__(self, done: list[str], sent: asyncio.Event) -> None:
        super().__init__()
        self._done = done
        self._sent = sent

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writelines([data])

    def writelines(self, list_of_data: Any) -> None:
        self._done.append("send")
        if self._done.count("send") == 3:
            self._sent.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def started(manager: SessionManager) -> str:
    """Start a session; return its identifier."""
    life = arrive(manager, ())
    await session_of(life).set("n", 1)
    await life.commit()
    return life.identifier


@pytest.fixture
async def wires(manager) -> AsyncIterator[Callable[[], Awaitable[list[str]]]]:
    """Three connections, each with a session of its own; what they do is told in order."""
    done: list[str] = []
    sent = asyncio.Event()

    async def work(request: web.Request) -> web.Response:
        done.append(f"found {await get_session(request).get('n')}")
        if request.path == "/write":
            await get_session(request).set("n", 2)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{what}", work)
    setup(app, manager)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server is not None
    connections = [runner.server() for _ in range(3)]
    for connection in connections:
        connection.connection_made(Wire(done, sent))

    async def ask(what: str) -> list[str]:
        presented = [
            f"GET /{what} HTTP/1.1\r\nHost: test\r\nCookie: {COOKIE}={await started(manager)}\r\n\r\n" for _ in range(3)
        ]
        for connection, text in zip(connections, presented, strict=True):
            connection.data_received(text.encode())
        await asyncio.wait_for(sent.wait(), 30)
        return done

    yield ask
    for connection in connections:
        connection.connection_lost(None)
    await runner.cleanup()


@pytest.mark.parametrize("what", ["read", "write"])
async def test_requests_that_are_ready_work_before_the_first_sends(wires, what):
    """Also where their loads, and their commits, come back from a store as one batch."""
    assert await wires(what) == ["found 1"] * 3 + ["send"] * 3


@pytest.mark.parametrize("path", ["untouched", "read", "write", "do/set", "do/increment", "nothing-there"])
async def test_who_writes_no_cookie_takes_one_turn(visit, manager, told, path):
    """Whether it changed its session or left it alone; a path that is not there, too."""
    visitor = await visit(manager)
    told.turns = 0
    await visitor.ask(f"/{path}")
    assert told.turns == 1


@pytest.mark.parametrize("action", ["rotate", "bind", "destroy", "destroy_for_good"])
async def test_who_has_a_cookie_to_write_takes_none(visit, manager, told, action):
    """(promise 5) Between the commit and the headers nothing may move the session on."""
    visitor = await visit(manager)
    told.turns = 0
    assert identifier_in((await visitor.ask(f"/do/{action}")).headers) is not None
    assert told.turns == 0


async def test_who_starts_a_session_takes_none(visit, manager, told):
    """Its cookie is to be written."""
    visitor = await visit(manager, new=True)
    await visitor.ask("/write?n=1")
    assert (visitor.identifier is not None, told.turns) == (True, 0)


async def test_who_gives_the_client_a_second_cookie_takes_none(visit, manager, store, told):
    """(promise 9) What a rotation of unknown outcome left in doubt is settled by whoever presents both."""
    visitor = await visit(manager)

    async def strike(operation: str) -> None:
        if operation in ("rotate", "load") and "rotate" in store.calls:
            raise OSError("the connection broke")

    store.before = strike
    told.turns = 0
    response = await visitor.ask("/do/rotate")
    assert (len(cookies_of(response.headers, f"{COOKIE}-next")), told.turns) == (1, 0)


async def test_renewal_is_stored_after_the_turn(visit, manager, store, told):
    """What takes effect when the headers leave is committed then, and no second look is needed."""
    visitor = await visit(manager)
    told.turns = 0
    store.calls.clear()
    assert identifier_in((await visitor.ask("/do/renew")).headers) == visitor.identifier
    assert (told.turns, store.calls) == (1, ["load", "renew"])


async def test_what_a_task_sets_in_the_turn_is_stored(visit, manager, told):
    """(promise 8) It comes after the handler and before the headers: nothing is lost."""
    tasks = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)

        async def late() -> None:
            await asyncio.wait_for(told.began.wait(), 30)
            await session.set("late", 1)

        tasks.append(asyncio.create_task(late()))
        return web.Response()

    visitor = await visit(manager, late=handler)
    told.began.clear()
    await visitor.ask("/late")
    await asyncio.gather(*tasks)
    assert (await (await visitor.ask("/read")).json())["late"] == 1


async def test_second_response_takes_no_second_turn(visit, manager, told):
    """The same session set up on an application and inside it, or a response that follows one which never left."""

    async def handler(request: web.Request) -> web.Response:
        await web.Response(text="first").prepare(request)
        return web.Response(text="second")

    visitor = await visit(manager, twice=handler)
    told.turns = 0
    await visitor.ask("/twice")
    assert told.turns == 1


async def test_two_sessions_in_one_request_take_none(aiohttp_client, store, told):
    """Between the commit of the one and the headers with its cookie the turn of the other would come."""

    async def handler(request: web.Request) -> web.Response:
        await request["first"].renew()
        await request["second"].get("x")
        return web.Response()

    app = web.Application()
    for key in ("first", "second"):
        setup(app, SessionManager(store, name=key), key=key)
    app.router.add_get("/", handler)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/")
    assert (identifier_in(response.headers, "first") is not None, told.turns) == (True, 0)


async def test_alone_a_request_waits_for_nobody(visit, manager, monkeypatch):
    """One client that asks again and again pays for a turn now and then."""
    cohorts: list[Cohort] = []

    class Kept(Cohort):
        def __init__(self) -> None:
            super().__init__()
            cohorts.append(self)

    monkeypatch.setattr(module, "Cohort", Kept)
    visitor = await visit(manager)
    await visitor.ask("/read")
    left = [cohorts[0]._skipped]
    for _ in range(3):
        await visitor.ask("/read")
        left.append(cohorts[0]._skipped)
    assert left == [left[0] - number for number in range(4)]
