"""What pages say in prose, and no example shows: idle limits, outages, paths, receivers."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionEvent,
    SessionManager,
    SessionRecord,
    get_session,
    setup,
)
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter, generate_key
from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter, start_session

from .blocks import ROOT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def client_of(manager: SessionManager, handler: Handler) -> TestClient[Any, Any]:
    """A client of an application that answers everything with one handler."""
    app = web.Application()
    app.router.add_get("/{tail:.*}", handler)
    setup(app, manager)
    return TestClient(TestServer(app))


async def read(request: web.Request) -> web.Response:
    """Say whether the visitor has a session."""
    return web.Response(text="new" if request["session"].is_new else "live")


async def untouched(_: web.Request) -> web.Response:
    """Leave the session alone."""
    return web.Response(text="fine")


@pytest.mark.parametrize(("used_at", "idle", "found"), [(599, 601, "new"), (599, 600, "live"), (601, 1199, "live")])
async def test_the_idle_limit_with_rolling(clock: FakeClock, used_at: int, idle: int, found: str) -> None:
    """Production: a use before half-way renews nothing, so the limit is between half and all of the expiration."""
    manager = SessionManager(MemorySessionAdapter(expiration=1200), rolling=True, clock=clock)
    async with client_of(manager, read) as client:
        await start_session(client)
        clock.advance(used_at)
        assert await (await client.get("/")).text() == "live"
        clock.advance(idle)
        assert await (await client.get("/")).text() == found


@pytest.mark.parametrize(("lazy", "asked"), [(False, ["load"]), (True, [])])
async def test_an_outage_and_a_request_without_a_use(lazy: bool, asked: list[str]) -> None:
    """Promise 9: it is answered, but only a lazy one does not wait for a store that hangs."""
    store = FaultyAdapter(MemorySessionAdapter())
    async with client_of(SessionManager(store, lazy=lazy, timeout=0.01), untouched) as client:
        await start_session(client)
        store.calls.clear()
        store.hang(times=None)
        async with client.get("/") as response:
            assert (response.status, await response.text()) == (200, "fine")
        assert store.calls == asked
        store.heal()


async def test_a_session_outside_of_its_path() -> None:
    """Production: below another path than the cookie's each ``set`` starts a session that nobody finds again."""
    manager = SessionManager(path="/admin")

    async def write(request: web.Request) -> web.Response:
        await request["session"].set("seen", True)
        return await read(request)

    created: list[SessionEvent] = []

    async def note(event: SessionEvent) -> None:
        created.append(event)

    manager.on_created.append(note)
    async with client_of(manager, write) as client:
        for path in ("/", "/", "/admin/", "/admin/"):
            await client.get(path)
    assert len(created) == 2


async def test_a_slow_receiver_delays_the_response() -> None:
    """Signals: the response waits for the receivers."""
    manager = SessionManager()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: SessionEvent) -> None:
        reached.set()
        await go_on.wait()

    async def write(request: web.Request) -> web.Response:
        if request.path == "/write":
            await request["session"].set("seen", True)
        return web.Response()

    manager.on_created.append(slow)
    async with client_of(manager, write) as client:
        asking = asyncio.ensure_future(client.get("/write"))
        await reached.wait()
        assert (await client.get("/another")).status == 200  # time enough for a response that does not wait
        assert not asking.done()
        go_on.set()
        assert (await asking).status == 200


@pytest.mark.parametrize(
    ("lazy", "cookie", "asked"), [(False, False, []), (True, False, []), (False, True, ["load"]), (True, True, [])]
)
async def test_what_a_route_that_wants_nothing_costs(lazy: bool, cookie: bool, asked: list[str]) -> None:
    """Operate: calls to the store of a request that leaves its session alone."""
    store = FaultyAdapter(MemorySessionAdapter())
    async with client_of(SessionManager(store, lazy=lazy), untouched) as client:
        if cookie:
            await start_session(client)
        store.calls.clear()
        async with client.get("/") as response:
            assert await response.text() == "fine"
        assert store.calls == asked


async def test_sessions_of_a_sub_application_alone() -> None:
    """Operate: outside of it a request knows of no session, and the store of no request."""
    store = FaultyAdapter(MemorySessionAdapter())

    async def outside(request: web.Request) -> web.Response:
        return web.Response(text=str("session" in request))

    inner, app = web.Application(), web.Application()
    inner.router.add_get("/", read)
    setup(inner, SessionManager(store))
    app.router.add_get("/outside", outside)
    app.add_subapp("/inner/", inner)
    async with TestClient(TestServer(app)) as client:
        store.calls.clear()
        client.session.cookie_jar.update_cookies({"SPRY_SESSION_ID": "x" * 43})
        async with client.get("/outside") as response:
            assert await response.text() == "False"
        assert store.calls == []
        async with client.get("/inner/") as response:
            assert await response.text() == "new"
        assert store.calls == ["load"]


@pytest.mark.parametrize("sealed", [False, True])
async def test_an_old_store_is_believed_while_sessions_move(clock: FakeClock, sealed: bool) -> None:
    """Security, seal: until the move is over, who writes to an old store that is not sealed can forge there."""
    key = generate_key()
    memory = MemorySessionAdapter()
    old = SealedAdapter(memory, key) if sealed else memory
    manager = SessionManager(MigratingAdapter(SealedAdapter(MemorySessionAdapter(), key), old), clock=clock)

    async def owner(request: web.Request) -> web.Response:
        return web.Response(text=str(request["session"].owner))

    async with client_of(manager, owner) as client:
        forged = SessionRecord(pack({}), 1, clock(), clock() + 60, "administrator")
        await memory.create(handle_of("x" * 43), forged)
        client.session.cookie_jar.update_cookies({manager.name: "x" * 43})
        async with client.get("/") as response:
            assert await response.text() == ("None" if sealed else "administrator")


async def test_messages_that_troubleshooting_explains() -> None:
    """Each message in its table is one that really comes, word for word."""
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \|", page.partition("## Other messages")[2], re.MULTILINE)
    said: list[str] = []

    async def provoke(request: web.Request) -> web.Response:
        session: Any = request["session"]
        attempts: list[Callable[[], Any]] = [
            lambda: get_session(request, "another"),
            lambda: request["another"],
            lambda: session["key"],
            lambda: session.set("key", float("nan")),
            lambda: session.get("key", type=dict),
            lambda: session.set("text", "x" * 100),
            lambda: session.bind(7),
            lambda: session.bind("7", device={"agent": "\udcff"}),
        ]
        await session.set("key", 1)
        for attempt in attempts:
            with pytest.raises(Exception) as raised:  # noqa: PT011, PT012 - what it is called is on the page
                result = attempt()
                if inspect.isawaitable(result):
                    await result
            said.append(f"{type(raised.value).__name__}: {raised.value}".replace("another", "session"))
        with pytest.warns(RuntimeWarning) as warned:
            session.set("key", 1)
        said.append(str(warned[0].message))
        return web.Response()

    async with client_of(SessionManager(max_bytes=50), provoke) as client:
        assert (await client.get("/")).status == 200
    for message in listed:
        parts = message.split("…")
        assert any(all(part in text for part in parts) for text in said), message
    assert len(listed) == len(said)
