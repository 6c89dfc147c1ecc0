"""Promise 3: what ended never comes back through a request that was still in flight."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from aiohttp_spry_session import SessionEndedError, SessionManager, get_session

from ..support import Barrier, Pause, Recorder, identifier_in
from .handlers import ACTIONS, COMMIT_POINTS, doing

ENDS = ["destroyed", "destroyed with a successor", "revoked", "owner revoked", "rotated", "bound", "expired", "purged"]

WRITES = [action for action in ACTIONS if action != "bind" and not action.startswith("destroy")]


async def end(how: str, manager: SessionManager, visitor, clock, other=None) -> None:
    """End the visitor's session in one of the possible ways, from another request or from outside."""
    other = other or visitor.twin()
    if how == "destroyed":
        await other.ask("/do/destroy_for_good")
    elif how == "destroyed with a successor":
        await other.ask("/do/destroy")
    elif how == "revoked":
        assert await manager.revoke(visitor.handle)
    elif how == "owner revoked":
        assert await manager.revoke_owner("user") == 1
    elif how == "rotated":
        await other.ask("/do/rotate")
    elif how == "bound":
        await other.ask("/do/bind")
    else:
        clock.advance(1201)
        if how == "purged":
            await manager.purge()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("action", WRITES)
async def test_a_request_in_flight_brings_nothing_back(visit, manager, store, clock, action, how):
    """Its changes are dropped, on_rejected fires, its response carries no cookie, and the session stays gone."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.get("n")
        await pause.here()
        await ACTIONS[action](session)
        return web.Response()

    visitor = await visit(manager, slow=slow)
    if how == "owner revoked":
        await visitor.ask("/do/bind")
    old, identifier = visitor.handle, visitor.identifier
    events = Recorder(manager)
    response = await pause.during(visitor.twin().ask("/slow"), lambda: end(how, manager, visitor, clock))
    # A grace is only for identifiers: it makes no difference to a request that arrived under a live one.
    assert identifier_in(response.headers) is None
    if action in COMMIT_POINTS or action.startswith("rotate"):
        assert (response.status, await response.text()) == (409, "The session has ended. Please try again.")
    else:
        assert response.status == 200
    assert [event.handle for event in events.events if event.name == "rejected"] == [old]
    record = await store.inner.load(old)
    assert record is None or record.retired
    visitor.identifier = identifier
    assert await (await visitor.ask("/read")).json() == {}


@pytest.mark.parametrize("how", ENDS)
async def test_a_bind_in_flight_starts_a_session_of_its_own(visit, manager, store, clock, how):
    """Who has just proved who they are is not told to try again; what was ended stays so, and its values with it.

    Where a rotation or a bind of the same owner was faster, nothing was ended: the values stay, and either cookie is
    good.
    """
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("seen", 2)
        await pause.here()
        await session.bind("user")
        return web.json_response([session.owner, session.handle, session.is_new])

    visitor = await visit(manager, slow=slow)
    if how == "owner revoked":
        await visitor.ask("/do/bind")
    old, identifier = visitor.handle, visitor.identifier
    events = Recorder(manager)
    late, newest = visitor.twin(), visitor.twin()
    response = await pause.during(late.ask("/slow"), lambda: end(how, manager, visitor, clock, newest))
    assert (response.status, await response.json()) == (200, ["user", late.handle, True])
    assert late.identifier not in ("", identifier, newest.identifier)
    kept = how in ("rotated", "bound")
    assert await (await late.ask("/read")).json() == ({"n": 1, "seen": 2} if kept else {})
    assert [event.handle for event in events.events if event.name == "rejected"] == ([] if kept else [old])
    assert ("created", "bind") in events.told
    record = await store.inner.load(old)
    assert record is None or record.retired
    assert await (await visitor.ask("/read")).json() == {}
    if kept:
        assert await (await newest.ask("/read")).json() == {"n": 1}


@pytest.mark.parametrize("how", ["destroyed", "revoked", "rotated", "expired"])
async def test_a_commit_that_is_overtaken_in_the_store_brings_nothing_back(visit, manager, store, clock, how):
    """The session ends between the commit's look at it and its write."""
    visitor = await visit(manager)
    old = visitor.handle
    barrier = Barrier(store, "update")
    events = Recorder(manager)
    slow = asyncio.ensure_future(visitor.twin().ask("/write?n=2"))
    await barrier.reached.wait()
    await end(how, manager, visitor, clock)
    barrier.go_on.set()
    response = await slow
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert events.told[-1][0] == "rejected"
    record = await store.inner.load(old)
    assert record is None or record.retired


async def test_renew_that_is_overtaken_brings_nothing_back(visit, manager, store, clock):
    """The store's renew moves the end of a live record only."""
    visitor = await visit(manager)
    barrier = Barrier(store, "renew")
    renewing = asyncio.ensure_future(visitor.twin().ask("/do/renew"))
    await barrier.reached.wait()
    await manager.revoke(visitor.handle)
    barrier.go_on.set()
    response = await renewing
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert await (await visitor.ask("/read")).json() == {}


ROTATIONS = [
    ("rotate", "rotate"),
    ("rotate", "bind"),
    ("rotate", "rotate_with_grace"),
    ("rotate_with_grace", "rotate"),
]


@pytest.mark.parametrize("actions", ROTATIONS)
async def test_of_parallel_rotations_one_wins(visit, manager, store, actions):
    """Exactly one response has a new identifier, which leads to the session; the other is told that it ended."""
    visitor = await visit(manager)
    barrier = Barrier(store, "rotate")
    first = asyncio.ensure_future(visitor.twin().ask(f"/do/{actions[0]}"))
    await barrier.reached.wait()
    winner = visitor.twin()
    won = await winner.ask(f"/do/{actions[1]}")
    barrier.go_on.set()
    lost = await first
    assert (won.status, lost.status) == (200, 409)
    assert identifier_in(won.headers)
    assert identifier_in(lost.headers) is None
    assert await (await winner.ask("/read")).json() == {"n": 1}


@pytest.mark.parametrize("faster", ["bind", "rotate", "rotate_with_grace"])
async def test_a_bind_that_comes_second_is_good_too(visit, manager, store, faster):
    """A double click on "sign in" keeps the basket, whichever of the two cookies the browser ends up with."""
    visitor = await visit(manager)
    barrier = Barrier(store, "rotate")
    second = visitor.twin()
    binding = asyncio.ensure_future(second.ask("/do/bind"))
    await barrier.reached.wait()
    winner = visitor.twin()
    won = await winner.ask(f"/do/{faster}")
    barrier.go_on.set()
    answer = await binding
    assert (won.status, answer.status) == (200, 200)
    assert len({identifier_in(won.headers), identifier_in(answer.headers), visitor.identifier, None, ""}) == 5
    for browser in (winner, second):
        assert await (await browser.ask("/read")).json() == {"n": 1}
    assert len(await manager.find("user")) == (2 if faster == "bind" else 1)


async def test_of_parallel_rotations_with_grace_both_go_on(visit, manager, store):
    """A rotation by the clock that comes second follows the first, and disturbs nobody."""
    visitor = await visit(manager)
    barrier = Barrier(store, "rotate")
    first = asyncio.ensure_future(visitor.twin().ask("/do/rotate_with_grace"))
    await barrier.reached.wait()
    winner = visitor.twin()
    await winner.ask("/do/rotate_with_grace")
    barrier.go_on.set()
    second = await first
    assert (second.status, identifier_in(second.headers)) == (200, None)
    assert winner.identifier != visitor.identifier
    for browser in (winner, visitor):
        assert await (await browser.ask("/read")).json() == {"n": 1}


@pytest.mark.parametrize("rotation", ["rotate", "rotate_with_grace", "bind"])
@pytest.mark.parametrize("logout", ["destroy", "destroy_for_good"])
async def test_logout_under_a_rotated_away_identifier_ends_the_successor(visit, manager, store, rotation, logout):
    """A logout always logs out, although the browser did not know its newest identifier yet."""
    visitor = await visit(manager)
    newest = visitor.twin()
    for _ in range(3):
        await newest.ask(f"/do/{rotation}")
    response = await visitor.ask(f"/do/{logout}")
    assert response.status == 200
    assert bool(identifier_in(response.headers)) == (logout == "destroy")
    assert await (await newest.ask("/read")).json() == {}


async def test_logout_ends_a_session_that_is_rotated_meanwhile(visit, manager, store):
    """A request that read before the rotation and destroys after it ends the successor."""
    pause = Pause()

    async def logout(request: web.Request) -> web.Response:
        await pause.here()
        await get_session(request).destroy(regenerate=False)
        return web.Response()

    visitor = await visit(manager, logout=logout)
    newest = visitor.twin()
    response = await pause.during(visitor.ask("/logout"), lambda: newest.ask("/do/rotate"))
    assert identifier_in(response.headers) == ""
    assert await (await newest.ask("/read")).json() == {}


@pytest.mark.parametrize("rotation", ["rotate", "bind"])
async def test_revoke_of_a_rotated_away_handle_ends_the_successor(visit, manager, rotation):
    """A device list that is a moment old still ends the right session."""
    visitor = await visit(manager)
    old = visitor.handle
    await visitor.ask(f"/do/{rotation}")
    assert await manager.revoke(old) is True
    assert await (await visitor.ask("/read")).json() == {}
    assert await manager.revoke(old) is False


@pytest.mark.parametrize("how", ["destroyed", "revoked", "rotated", "expired"])
async def test_reload_tells_a_websocket_that_its_session_is_over(visit, manager, clock, how):
    """An open WebSocket or stream that looks again learns of the end (CVE-2026-9162)."""
    pause = Pause()
    told: list[str] = []

    async def watching(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.reload()
        await pause.here()
        for _ in range(2):
            with pytest.raises(SessionEndedError) as caught:
                await session.reload()
            told.append(caught.value.reason)
        assert await session.keys() == []
        assert (session.owner, session.created_at, session.expires_at) == (None, None, None)
        with pytest.raises(SessionEndedError):
            _ = session.identifier
        assert repr(session) == "<Session ended>"
        return web.Response()

    visitor = await visit(manager, watching=watching)
    response = await pause.during(visitor.twin().ask("/watching"), lambda: end(how, manager, visitor, clock))
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert told == [{"rotated": "rotated", "expired": "expired"}.get(how, "ended"), "ended"]


async def test_own_session_that_was_revoked_in_the_same_request(visit, manager):
    """A request may start a session, lose it, and go on: no cookie for what is dead."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.increment("x")
        await manager.revoke(session.handle)
        await session.set("y", 1)
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    response = await visitor.ask("/x")
    assert (response.status, identifier_in(response.headers)) == (200, None)


async def test_destroy_in_a_request_whose_session_was_revoked(visit, manager):
    """destroy() after the end still gives what it promises: a new, empty session, with its cookie."""
    pause = Pause()

    async def logout(request: web.Request) -> web.Response:
        session = get_session(request)
        await pause.here()
        with pytest.raises(SessionEndedError):
            await session.increment("n")
        await session.destroy()
        return web.Response()

    visitor = await visit(manager, logout=logout)
    response = await pause.during(visitor.ask("/logout"), lambda: manager.revoke(visitor.handle))
    assert response.status == 200
    assert await (await visitor.ask("/read")).json() == {}
    assert identifier_in(response.headers) == visitor.identifier


@pytest.mark.parametrize("action", ["set", "remove", "renew", "rotate", "bind", "increment"])
async def test_max_lifetime_is_passed_by_nothing(visit, make_manager, clock, action):
    """However often it is renewed, a session ends at the absolute limit (bind begins a new one)."""
    visitor = await visit(make_manager(max_lifetime=3000, rolling=True), renew=doing("renew"), again=doing(action))
    for _ in range(3):
        clock.advance(800)
        await visitor.ask("/renew")
    assert (await visitor.ask("/again")).status == 200
    clock.advance(599)
    assert "n" in await (await visitor.ask("/read")).json() or action == "remove"
    clock.advance(2)
    alive = "n" in await (await visitor.ask("/read")).json()
    assert alive == (action == "bind")
