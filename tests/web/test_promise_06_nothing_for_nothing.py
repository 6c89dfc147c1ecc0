"""Promise 6: a visitor who only reads gets no cookie and no row, and a request makes few store calls."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from aiohttp_spry_session import Session, SessionNotLoadedError, get_session

from ..support import identifier_in, lasts
from .handlers import doing, untouched

LAZY = pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])


async def read_everything(session: Session) -> None:
    for _ in range(5):
        await session.has("n")
        await session.get("n")
        await session.keys()
        await session.load()
    await session.save()
    await session.save()


async def look_at_properties(session: Session) -> None:
    await session.load()
    assert (session.is_new, session.owner, session.created_at, session.expires_at) == (True, None, None, None)
    assert session.handle is None


async def set_often(session: Session) -> None:
    for number in range(5):
        await session.set(f"key {number}", number)
        await session.get("key 0")
        await session.remove("key 4")


async def set_and_read_identifier(session: Session) -> None:
    await session.set("x", 1)
    assert len(session.identifier) == 43


READING = {
    "nothing": (),
    "reads": (read_everything,),
    "properties": (look_at_properties,),
    "remove": ("remove",),
    "clear": ("clear",),
    "pop": ("pop",),
    "set and removed again": ("set", lambda session: session.remove("x")),
    "set and cleared again": ("set", "clear"),
    "destroy": ("destroy",),
    "destroy for good": ("destroy_for_good",),
}


@LAZY
@pytest.mark.parametrize("actions", READING.values(), ids=READING)
async def test_visitor_who_only_reads(visit, make_manager, store, actions, lazy):
    """No cookie, no row, and without a session cookie not one store call."""
    visitor = await visit(make_manager(lazy=lazy), new=True, x=doing(*actions))
    response = await visitor.ask("/x")
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert store.calls == []


BUDGETS = {
    "nothing": ((), {"load": 1}),
    "reads": ((read_everything,), {"load": 1}),
    "set": ((set_often,), {"load": 1, "update": 1}),
    "set and identifier": ((set_and_read_identifier,), {"load": 1, "update": 1}),
    "remove": (("remove",), {"load": 1, "update": 1}),
    "clear": (("clear",), {"load": 1, "update": 1}),
    "renew": (("renew",), {"load": 1, "renew": 1}),
    "renew and set": (("renew", set_often, "renew"), {"load": 1, "update": 1}),
    "increment": (("increment",), {"load": 1, "update": 1}),
    "set, then increment": ((set_often, "increment"), {"load": 1, "update": 1}),
    "two increments": (("increment", "increment"), {"load": 1, "update": 2}),
    "increment, then set": (("increment", set_often), {"load": 1, "update": 2}),
    "pop": (("pop",), {"load": 1, "update": 1}),
    "pop of nothing": ((lambda session: session.pop("absent"),), {"load": 2}),
    "rotate": (("rotate",), {"load": 1, "rotate": 1}),
    "set and rotate": ((set_often, "rotate"), {"load": 1, "rotate": 1}),
    "bind": (("set", "bind", read_everything), {"load": 1, "rotate": 1}),
    "save": (("set", read_everything), {"load": 1, "update": 1}),
    "reload": ((lambda session: session.reload(),), {"load": 2}),
    "destroy": (("destroy_for_good",), {"load": 2, "update": 1, "destroy": 1}),
    "destroy and begin anew": (("destroy", set_often), {"load": 2, "update": 2, "destroy": 1, "create": 1}),
}


@LAZY
@pytest.mark.parametrize(("actions", "calls"), BUDGETS.values(), ids=BUDGETS)
async def test_round_trips_of_a_request_with_a_session(visit, make_manager, store, actions, calls, lazy):
    """At most one load and one write, but for what each commit point and destroy adds of its own."""
    visitor = await visit(make_manager(lazy=lazy), x=doing(*actions))
    store.calls.clear()
    assert (await visitor.ask("/x")).status == 200
    assert store.counted == ({} if lazy and not actions else calls)


NEW_BUDGETS = {
    "set": ((set_often,), {"create": 1}),
    "identifier": ((set_and_read_identifier,), {"create": 1}),
    "renew": (("renew",), {"create": 1}),
    "increment": (("increment",), {"create": 1}),
    "set and increment": ((set_often, "increment"), {"create": 1}),
    "rotate": (("rotate",), {"create": 1}),
    "set and bind": ((set_often, "bind"), {"create": 1}),
    "bind and set": (("bind", set_often), {"create": 1, "update": 1}),
}


@LAZY
@pytest.mark.parametrize(("actions", "calls"), NEW_BUDGETS.values(), ids=NEW_BUDGETS)
async def test_round_trips_of_a_request_that_starts_a_session(visit, make_manager, store, actions, calls, lazy):
    """One create and no load."""
    visitor = await visit(make_manager(lazy=lazy), new=True, x=doing(*actions))
    response = await visitor.ask("/x")
    assert identifier_in(response.headers)
    assert store.counted == calls


@pytest.mark.parametrize("path", ["/nowhere", "/post-only"])
async def test_404_and_405_cost_no_more(visit, make_manager, store, path):
    """A page that is not there makes one load with an eager session, none with a lazy one, and writes nothing."""
    for lazy, calls in ((False, {"load": 1}), (True, {})):
        visitor = await visit(make_manager(lazy=lazy), **{"POST post-only": untouched})
        store.calls.clear()
        response = await visitor.ask(path)
        assert response.status == (404 if path == "/nowhere" else 405)
        assert identifier_in(response.headers) is None
        assert store.counted == calls


async def test_lazy_properties_before_anything_was_awaited(visit, make_manager, store):
    """An unverified identifier is never handed out, nor anything else that only the store knows."""
    caught: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        for name in ("identifier", "is_new", "created_at", "expires_at", "owner"):
            with pytest.raises(SessionNotLoadedError):
                getattr(session, name)
            caught.append(name)
        assert repr(session) == "<Session unloaded>"
        assert session.handle is None
        await session.load()
        caught.append(session.handle)
        assert session.is_new is False
        assert repr(session) == "<Session live>"
        return web.Response()

    visitor = await visit(make_manager(lazy=True), x=handler)
    store.calls.clear()
    assert (await visitor.ask("/x")).status == 200
    assert caught == ["identifier", "is_new", "created_at", "expires_at", "owner", visitor.handle]
    assert store.counted == {"load": 1}


async def test_lazy_visitor_without_a_cookie_needs_no_load(visit, make_manager, store):
    """There is nothing to verify, so the properties work at once."""

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(get_session(request).is_new)

    visitor = await visit(make_manager(lazy=True), new=True, x=handler)
    assert await (await visitor.ask("/x")).json() is True
    assert store.calls == []


@LAZY
async def test_parallel_first_uses_load_once(visit, make_manager, store, lazy):
    """Several tasks of one request that all need the session share one load."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await asyncio.gather(*(session.get("n") for _ in range(5)), session.load())
        return web.Response()

    visitor = await visit(make_manager(lazy=lazy), x=handler)
    store.calls.clear()
    await visitor.ask("/x")
    assert store.counted == {"load": 1}


@LAZY
@pytest.mark.parametrize("path", ["/untouched", "/read", "/nowhere"])
async def test_autostart_gives_every_visitor_a_session(visit, make_manager, store, path, lazy):
    """As in Spry: one create and a cookie for a new visitor, nothing but a look for one who has it."""
    visitor = await visit(make_manager(autostart=True, lazy=lazy), new=True)
    response = await visitor.ask(path)
    assert identifier_in(response.headers)
    assert store.counted == {"create": 1}
    store.calls.clear()
    assert identifier_in((await visitor.ask(path)).headers) is None
    assert store.counted in ({"load": 1}, {})


async def test_autostart_and_an_unhandled_error(visit, make_manager, store):
    """An error starts no session: all or nothing holds here too."""

    async def handler(request: web.Request) -> web.Response:
        raise RuntimeError

    visitor = await visit(make_manager(autostart=True), new=True, x=handler)
    response = await visitor.ask("/x")
    assert (response.status, identifier_in(response.headers), store.calls) == (500, None, [])


async def test_autostart_and_an_identifier_that_was_not_accepted(visit, make_manager, store):
    """The visitor gets a session of its own; under a rotated-away identifier none, which would log its user out."""
    visitor = await visit(make_manager(autostart=True))
    late, stranger = visitor.twin(), visitor.twin()
    stranger.identifier = "x" * 43
    assert identifier_in((await stranger.ask("/untouched")).headers) not in (None, "x" * 43)
    await visitor.ask("/do/rotate")
    assert identifier_in((await late.ask("/untouched")).headers) is None


async def test_rolling_renews_past_half_of_the_lifetime(visit, make_manager, store, clock):
    """A request that uses its session then renews it by itself, once, with a cookie; others do not."""
    visitor = await visit(make_manager(rolling=True))
    clock.advance(600)
    store.calls.clear()
    assert identifier_in((await visitor.ask("/read")).headers) is None
    clock.advance(1)
    assert identifier_in((await visitor.ask("/untouched")).headers) is None
    assert store.counted == {"load": 2}
    store.calls.clear()
    response = await visitor.ask("/read")
    assert identifier_in(response.headers) == visitor.identifier
    assert lasts(response.headers, 1200)
    assert store.counted == {"load": 1, "renew": 1}
    assert identifier_in((await visitor.ask("/read")).headers) is None
    clock.advance(1199)
    assert await (await visitor.ask("/read")).json() == {"n": 1}


async def test_rolling_renews_with_the_write(visit, make_manager, store, clock):
    """A request that changes something as well makes one write of both."""
    visitor = await visit(make_manager(rolling=True))
    clock.advance(601)
    store.calls.clear()
    response = await visitor.ask("/do/set")
    assert lasts(response.headers, 1200)
    assert store.counted == {"load": 1, "update": 1}


async def test_without_rolling_a_session_ends_however_much_it_is_used(visit, manager, clock):
    """Only renew, bind and rolling restart the expiration."""
    visitor = await visit(manager)
    for _ in range(3):
        clock.advance(399)
        assert identifier_in((await visitor.ask("/do/set")).headers) is None
    clock.advance(3)
    assert await (await visitor.ask("/read")).json() == {}


async def test_never_expiring_session_never_rolls(visit, clock, make_manager, store):
    """Without an expiration there is nothing to restart."""
    store.expiration = None
    visitor = await visit(make_manager(rolling=True))
    clock.advance(10**8)
    store.calls.clear()
    assert await (await visitor.ask("/read")).json() == {"n": 1}
    assert store.counted == {"load": 1}
    response = await visitor.ask("/do/renew")
    assert lasts(response.headers, 400 * 86400)
