"""What the proof has found, each with the order of calls that showed it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SessionRecord, get_session, setup
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.request.status import CookieAction, Status
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter
from aiohttp_spry_session.testing.explorer import Explorer

from ..minimal import PlainAdapter
from ..support import arrive, session_of


@pytest.mark.parametrize("rotation", ["rotate", "bind", "rotate with grace"])
@pytest.mark.parametrize("schedule", ["abab", "abba", "abbba", "abbbba", "abbbbba"])
async def test_revoke_owner_keeps_a_session_that_is_rotated_meanwhile(rotation: str, schedule: str) -> None:
    """A session to be kept lives on where another request rotates it before or after any look of ``revoke_owner``."""
    await Explorer(MemorySessionAdapter()).replay(rotation, "revoke others", schedule=schedule)


@pytest.mark.parametrize("lazy", [False, True])
async def test_revoke_owner_keeps_a_session_that_is_not_loaded_yet(lazy: bool) -> None:
    """A session to be kept need not have been looked up before."""
    await Explorer(MemorySessionAdapter(), lazy=lazy).replay("revoke others", schedule="a")


class TwoStepIndex(PlainAdapter):
    """Reads an owner's handles first and the records afterwards, as a store with a separate index does."""

    def __init__(self) -> None:
        super().__init__()
        self.between: list[Callable[[], Awaitable[None]]] = []

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        handles = [handle for handle, record in self.records.items() if record.owner == owner]
        while self.between:
            await self.between.pop()()
        return {handle: record for handle in handles if (record := self.live(handle)) is not None}


async def test_revoke_owner_looks_twice() -> None:
    """A session that is rotated between the steps of a look is ended by the next look."""
    adapter = TwoStepIndex()
    manager = SessionManager(adapter)
    session = session_of(arrive(manager, ()))
    await session.bind("ann")
    adapter.between.append(session.rotate)
    assert await manager.revoke_owner("ann") == 1
    assert await manager.find("ann") == []


@pytest.mark.parametrize("crash", [False, True])
async def test_rolling_renews_nothing_once_the_request_has_failed(crash: bool) -> None:
    """A renewal that failed is answered 503, and a handler that crashed renews nothing: there is no second attempt.

    The hook before the 503 tried the renewal again, which broke the connection instead.
    """
    clock, store = FakeClock(), FaultyAdapter(MemorySessionAdapter())

    async def use(request: web.Request) -> web.Response:
        session = get_session(request)
        if "start" in request.query:
            await session.set("a", 1)
        await session.get("a")
        if "crash" in request.query:
            raise ZeroDivisionError
        return web.Response()

    app = web.Application()
    app.router.add_get("/", use)
    manager = SessionManager(store, clock=clock, rolling=True)
    setup(app, manager)
    async with TestClient(TestServer(app)) as client:
        cookies = (await client.get("/?start")).cookies
        client.session.cookie_jar.clear()
        clock.advance(700)
        store.calls.clear()
        store.fail("renew", times=None)
        headers = {"Cookie": f"{manager.name}={cookies[manager.name].value}"}
        response = await client.get("/?crash" if crash else "/", headers=headers)
        assert response.status == (500 if crash else 503)
        assert "Set-Cookie" not in response.headers
        assert store.calls == (["load"] if crash else ["load", "renew"])


async def test_a_spare_that_was_rotated_by_the_clock_replaces_no_newer_cookie() -> None:
    """A rotation of unknown outcome landed, and another request rotated on with a grace: that one is newer."""
    manager = SessionManager(PlainAdapter())
    requests = requests_of(manager)
    session = requests.session(requests.driver.begin(()))
    await session.bind("ann")
    old = session.identifier
    await session.rotate()
    spare = session.identifier
    await session.rotate(grace=60)
    state = requests.driver.begin([old], [spare])
    await requests.driver.look_up(state)
    cookie = state.cookie
    assert (state.status, cookie.action, cookie.spare_action) == (
        Status.LIVE,
        CookieAction.KEEP,
        CookieAction.EXPIRE,
    )


async def test_an_actor_may_call_the_store_from_several_tasks() -> None:
    """``revoke_owner`` ends many at a time; two sessions are there where a ``bind`` came too late for the first."""
    await Explorer(MemorySessionAdapter()).sample("bind", "bind", "revoke owner", orders=100)
