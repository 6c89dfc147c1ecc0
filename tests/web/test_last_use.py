"""When a session was last used: what is stored of that, when, and for whom it is renewed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import Session, SessionEndedError, SessionManager, get_session

from ..support import Barrier, arrive, identifier_in, sending, session_of
from .handlers import PATHS, doing, read


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def start(manager: SessionManager) -> str:
    """Start a session; return its identifier."""
    session = session_of(arrive(manager, ()))
    await session.set("n", 1)
    await session.save()
    return session.identifier


async def request(manager: SessionManager, identifier: str, *, change: bool = False) -> Session:
    """A whole request that reads, or writes."""
    life = arrive(manager, (identifier,))
    session = session_of(life)
    await session.get("n")
    if change:
        await session.set("n", 2)
    await life.commit()
    return session


# With other writes only.


async def test_the_use_before(make_manager, clock):
    """A request sees when the session was used before it; its own use the next one sees."""
    manager = make_manager()
    async with manager:
        identifier = await start(manager)
        began = clock()
        for elapsed, before in ((10, 0), (20, 10), (300, 20)):
            clock.now = began + elapsed
            session = await request(manager, identifier, change=True)
            assert session.last_used_at == moment(began + before)
        assert (await request(manager, identifier)).last_used_at == moment(began + 300)


async def test_readers_leave_no_trace(make_manager, store, clock):
    """Without ``track_use`` a look at the session writes nothing (promise 6)."""
    manager = make_manager()
    async with manager:
        identifier = await start(manager)
        began = clock()
        clock.advance(600)
        store.calls.clear()
        await request(manager, identifier)
        assert store.counted == {"load": 1}
        assert (await request(manager, identifier)).last_used_at == moment(began)


@pytest.mark.parametrize(
    "action", ["set", "remove", "clear", "update", "increment", "pop", "rotate", "rotate_with_grace"]
)
async def test_every_write_takes_the_use_along(visit, make_manager, store, clock, action):
    """Without a write of its own."""
    manager = make_manager()
    plain = await visit(manager)
    store.calls.clear()
    await plain.ask(f"/do/{action}")
    without = store.counted
    visitor = await visit(manager)
    clock.advance(60)
    store.calls.clear()
    await visitor.ask(f"/do/{action}")
    assert store.counted == without
    assert (await request(manager, visitor.identifier)).last_used_at == moment(clock())


async def test_confirm_takes_the_use_along(make_manager, clock):
    """And a ``bind``, which begins the session anew, is one."""
    manager = make_manager()
    async with manager:
        session = session_of(arrive(manager, (await start(manager),)))
        clock.advance(60)
        await session.bind("ada")
        assert (await request(manager, session.identifier)).last_used_at == moment(clock())
        clock.advance(60)
        await session.confirm()
        assert (await request(manager, session.identifier)).last_used_at == moment(clock())
        (info,) = await manager.find("ada")
        assert info.last_used_at == moment(clock())


async def test_a_renewal_alone_does_not(make_manager, store, clock):
    """It moves the end, and stores nothing else."""
    manager = make_manager()
    async with manager:
        identifier = await start(manager)
        began = clock()
        clock.advance(60)
        life = arrive(manager, (identifier,))
        await session_of(life).renew()
        store.calls.clear()
        await life.commit()
        assert store.counted == {"renew": 1}
        assert (await request(manager, identifier)).last_used_at == moment(began)


async def test_many_writes_in_a_second(make_manager, clock):
    """The time is kept to the second."""
    manager = make_manager()
    async with manager:
        identifier = await start(manager)
        began = clock()
        clock.advance(0.5)
        await request(manager, identifier, change=True)
        assert (await request(manager, identifier)).last_used_at == moment(began)
        clock.advance(0.5)
        await request(manager, identifier, change=True)
        assert (await request(manager, identifier)).last_used_at == moment(began + 1)


async def test_no_session_no_use(make_manager):
    """Neither before one is started nor in the request that starts it."""
    manager = make_manager()
    async with manager:
        session = session_of(arrive(manager, ()))
        assert session.last_used_at is None
        await session.set("n", 1)
        await session.save()
        assert session.last_used_at is None


async def test_reload_does_not_move_it(make_manager, clock):
    """It is the use before this request, whatever others do meanwhile."""
    manager = make_manager()
    async with manager:
        identifier = await start(manager)
        began = clock()
        session = await request(manager, identifier)
        clock.advance(60)
        await request(manager, identifier, change=True)
        await session.reload()
        assert session.last_used_at == moment(began)


# With track_use.


async def test_readers_are_tracked(make_manager, store, clock):
    """One write each time that the stored use is older than that, and none between."""
    manager = make_manager(track_use=60)
    async with manager:
        identifier = await start(manager)
        began = clock()
        for elapsed, before, writes in ((59, 0, 0), (60, 0, 1), (61, 60, 0), (119, 60, 0), (120, 60, 1), (500, 120, 1)):
            clock.now = began + elapsed
            store.calls.clear()
            session = await request(manager, identifier)
            assert session.last_used_at == moment(began + before)
            assert store.counted == {"load": 1, **({"update": 1} if writes else {})}


async def test_a_second_is_the_shortest(make_manager, store, clock):
    """More often than it is kept nobody writes it."""
    manager = make_manager(track_use=0.1)
    async with manager:
        identifier = await start(manager)
        clock.advance(0.5)
        store.calls.clear()
        await request(manager, identifier)
        assert store.counted == {"load": 1}
        clock.advance(0.5)
        await request(manager, identifier)
        assert (await request(manager, identifier)).last_used_at == moment(clock())


async def test_who_does_not_use_it_is_not_tracked(visit, make_manager, store, clock):
    """A request that leaves the session alone writes nothing."""
    visitor = await visit(make_manager(track_use=60))
    clock.advance(100)
    store.calls.clear()
    await visitor.ask("/untouched")
    assert store.counted == {"load": 1}


async def test_a_use_is_tracked_whatever_it_is(visit, make_manager, store, clock):
    """A property is one, but ``handle`` is none: any log line may have it."""

    async def owner(request: web.Request) -> web.Response:
        return web.Response(text=str(get_session(request).owner))

    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=str(get_session(request).handle))

    visitor = await visit(make_manager(track_use=60), owner=owner, handle=handle)
    for path, writes in (("/handle", False), ("/owner", True)):
        clock.advance(100)
        store.calls.clear()
        await visitor.ask(path)
        assert ("update" in store.counted) is writes


async def test_visitors_are_not_tracked(serve, make_manager, store):
    """Who has no session gets none for looking (promise 6)."""
    client = await serve(make_manager(track_use=1), read)
    response = await client.get("/")
    assert identifier_in(response.headers) is None
    assert store.calls == []


async def test_tracking_writes_no_cookie(visit, make_manager, clock):
    """It is no renewal (promise 5), and does not move the end."""
    manager = make_manager(track_use=60)
    visitor = await visit(manager)
    before = (await request(manager, visitor.identifier)).expires_at
    clock.advance(100)
    response = await visitor.ask("/read")
    assert identifier_in(response.headers) is None
    assert (await request(manager, visitor.identifier)).expires_at == before


async def test_one_write_is_enough(visit, make_manager, store, clock):
    """What is changed, or renewed, takes the use along."""
    manager = make_manager(track_use=60, rolling=True)
    visitor = await visit(manager)
    for path in ("/write?n=2", "/do/renew", "/read"):
        clock.advance(700)
        store.calls.clear()
        response = await visitor.ask(path)
        assert store.counted == {"load": 1, "update": 1}
        assert identifier_in(response.headers) is not None
        session = await request(manager, visitor.identifier)
        assert session.last_used_at == moment(clock())
        assert session.expires_at == moment(clock() + 1200)


async def test_streams_are_tracked(visit, make_manager, clock):
    """Whether the session is used before the headers or after."""

    async def before(request: web.Request) -> web.StreamResponse:
        await get_session(request).get("n")
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def after(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await get_session(request).get("n")
        return response

    manager = make_manager(track_use=60)
    visitor = await visit(manager, before=before, after=after)
    for path in ("/before", "/after"):
        clock.advance(100)
        await visitor.ask(path)
        assert (await request(manager, visitor.identifier)).last_used_at == moment(clock())


async def test_failing_handlers_are_not_tracked(visit, make_manager, store, clock):
    """What raises is discarded, the use too (promise 8); a redirect is a success."""

    async def fail(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        raise RuntimeError("no")

    async def redirect(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        raise web.HTTPFound("/")

    manager = make_manager(track_use=60)
    visitor = await visit(manager, fail=fail, redirect=redirect)
    began = clock()
    clock.advance(100)
    store.calls.clear()
    assert (await visitor.ask("/fail")).status == 500
    assert store.counted == {"load": 1}
    assert session_of(arrive(manager, ())).last_used_at is None
    session = session_of(arrive(manager, (visitor.identifier,)))
    await session.load()
    assert session.last_used_at == moment(began)
    await visitor.ask("/redirect")
    assert (await request(manager, visitor.identifier)).last_used_at == moment(clock())


async def test_a_session_that_ended_meanwhile_is_not_tracked(make_manager, store, clock):
    """It stays ended (promise 3)."""
    manager = make_manager(track_use=60)
    async with manager:
        identifier = await start(manager)
        clock.advance(100)
        life = arrive(manager, (identifier,))
        session = session_of(life)
        await session.get("n")
        await manager.revoke(session.handle)
        await life.commit()
        assert (await request(manager, identifier)).is_new


async def test_tracking_loses_no_write(make_manager, store, clock):
    """Nor does another request's write lose the use."""
    manager = make_manager(track_use=60)
    async with manager:
        identifier = await start(manager)
        clock.advance(100)
        life = arrive(manager, (identifier,))
        await session_of(life).get("n")
        barrier = Barrier(store, "update")
        tracking = asyncio.create_task(life.commit())
        await barrier.reached.wait()
        store.work()
        clock.advance(10)
        await request(manager, identifier, change=True)
        barrier.go_on.set()
        await tracking
        session = await request(manager, identifier)
        assert (await session.get("n"), session.last_used_at) == (2, moment(clock()))


@pytest.mark.parametrize("value", [0, -1, True, "60", float("nan")])
def test_bad_times_are_refused(make_manager, value):
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="track_use must be a timedelta or a number of seconds"):
        make_manager(track_use=value)


def test_track_use_can_be_read_back(make_manager):
    """In seconds, as every option (ASVS 7.1.1)."""
    assert make_manager(track_use=60).track_use == 60.0
    assert make_manager().track_use is None


# Whom rolling keeps signed in.


def active(request: web.Request) -> bool:
    """Polling is no activity."""
    return request.path != "/poll"


async def test_polling_keeps_nobody_signed_in(visit, make_manager, clock):
    """The idle limit holds, however often a page asks for news; what its user does renews."""
    manager = make_manager(rolling=active)
    visitor = await visit(manager, poll=doing(lambda session: session.get("n")))
    for _ in range(11):
        clock.advance(100)
        assert identifier_in((await visitor.ask("/poll")).headers) is None
    response = await visitor.ask("/read")
    assert identifier_in(response.headers) is not None
    clock.advance(1199)
    await visitor.ask("/poll")
    clock.advance(1)
    assert await (await visitor.ask("/read")).json() == {}


async def test_polling_may_renew_on_purpose(visit, make_manager, clock):
    """``renew`` is asked for."""
    visitor = await visit(make_manager(rolling=active), poll=doing("renew"))
    assert identifier_in((await visitor.ask("/poll")).headers) is not None


@pytest.mark.parametrize(("said", "renewed"), [(1, True), (0, False), (None, False), ("yes", True)])
async def test_what_counts_is_whether_it_is_true(visit, make_manager, clock, said, renewed):
    """As in any condition."""
    visitor = await visit(make_manager(rolling=lambda request: said))
    clock.advance(700)
    assert (identifier_in((await visitor.ask("/read")).headers) is not None) is renewed


async def test_it_is_asked_once_a_request(visit, make_manager):
    """With the request itself; also without a session."""
    asked: list[str] = []

    def ask(request: web.Request) -> bool:
        asked.append(request.path)
        return True

    visitor = await visit(make_manager(rolling=ask), new=True)
    await visitor.ask("/read")
    await visitor.ask("/write?n=1")
    await visitor.ask("/read")
    assert asked == ["/read", "/write", "/read"]


async def test_what_it_raises_comes_out(serve, make_manager, store):
    """A 500, and nothing is looked up or changed."""
    raised: list[BaseException] = []

    @web.middleware
    async def outer(request: web.Request, handler: Any) -> Any:
        try:
            return await handler(request)
        except ZeroDivisionError as error:
            raised.append(error)
            raise

    manager = make_manager(rolling=lambda request: 1 / 0)
    client = await serve(manager, middlewares=(outer,), **PATHS)
    identifier = await start(manager)
    store.calls.clear()
    response = await client.get("/read", headers=sending(identifier))
    assert response.status == 500
    assert identifier_in(response.headers) is None
    assert (len(raised), store.calls) == (1, [])


async def late(request: web.Request) -> bool:
    """An answer that nobody waits for."""
    return False


@pytest.mark.parametrize(
    ("value", "told"), [(1, "not 1"), (None, "not None"), ("yes", "not 'yes'"), (late, "not an async one")]
)
def test_bad_rolling_is_refused(make_manager, value, told):
    """The message says what is allowed; the coroutine of an async function would always be true."""
    with pytest.raises(ValueError, match=f"rolling must be True or False, or a plain function .*, {told}"):
        make_manager(rolling=value)


def test_rolling_can_be_read_back(make_manager):
    """Whatever it is."""
    for value in (True, False, active):
        assert make_manager(rolling=value).rolling is value


async def test_edits_do_not_count(make_manager, clock):
    """What is changed from outside is no use by its owner, and renews nothing."""
    manager = make_manager(track_use=1, rolling=True)
    async with manager:
        identifier = await start(manager)
        session = session_of(arrive(manager, (identifier,)))
        await session.load()
        began, ends = clock(), session.expires_at
        clock.advance(700)
        async with manager.edit(session.handle) as edited:
            assert edited.last_used_at == moment(began)
            await edited.set("n", 2)
            await edited.increment("m")
        with pytest.raises(SessionEndedError):
            async with manager.edit("0" * 64):
                pass
        again = session_of(arrive(manager, (identifier,)))
        assert [await again.get(key) for key in "nm"] == [2, 1]
        assert (again.last_used_at, again.expires_at) == (moment(began), ends)
