"""Several tasks of one request, and requests that pass each other in the middle of an operation."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aiohttp_spry_session import ConflictError, SessionEndedError, SessionRecord, get_session, session_middleware

from ..support import Barrier, Pause, Recorder, arrive, held_up_save, identifier_in, session_of
from .handlers import write


async def test_key_that_is_set_again_while_it_is_being_stored(visit, manager, store):
    """The commit takes along what it began with; the newer value stays pending, and is stored at the end."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("m", 1)
        await session.set("other", 1)
        saving, barrier = await held_up_save(session, store, "update")
        await session.set("m", 2)
        await session.remove("other")
        barrier.go_on.set()
        await saving
        return web.Response()

    visitor = await visit(manager, x=handler)
    assert (await visitor.ask("/x")).status == 200
    assert await (await visitor.ask("/read")).json() == {"n": 1, "m": 2}


async def test_rotation_takes_along_what_is_set_meanwhile(visit, manager, store):
    """A key that another task sets while the session is being rotated lands in the rotated session."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        barrier = Barrier(store, "rotate")
        rotating = asyncio.create_task(session.rotate())
        await barrier.reached.wait()
        await session.set("m", 2)
        barrier.go_on.set()
        await rotating
        return web.Response()

    visitor = await visit(manager, x=handler)
    assert identifier_in((await visitor.ask("/x")).headers)
    assert await (await visitor.ask("/read")).json() == {"n": 1, "m": 2}


async def test_pop_looks_again_before_it_says_that_there_is_nothing(visit, manager):
    """A token that another request stored a moment ago is found, although this one began before."""
    pause = Pause()

    async def pop(request: web.Request) -> web.Response:
        session = get_session(request)
        await pause.here()
        return web.json_response([await session.pop("token"), await session.pop("token", "nothing")])

    visitor = await visit(manager, pop=pop)
    response = await pause.during(visitor.ask("/pop"), lambda: visitor.twin().ask('/write?token="secret"'))
    assert await response.json() == ["secret", "nothing"]
    assert await (await visitor.ask("/read")).json() == {"n": 1}


async def test_reload_takes_over_what_others_stored(visit, manager):
    """What this request changed and has not committed stays changed."""
    pause = Pause()
    seen: list[object] = []

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("mine", 1)
        await session.remove("n")
        await pause.here()
        await session.reload()
        seen.append({key: await session.get(key) for key in await session.keys()})
        return web.Response()

    visitor = await visit(manager, slow=slow)
    await pause.during(visitor.ask("/slow"), lambda: visitor.twin().ask("/write?theirs=2&n=5"))
    assert seen == [{"mine": 1, "theirs": 2}]


async def test_record_that_is_damaged_while_it_is_in_use(visit, manager, store):
    """It counts as ended: the request's changes are dropped, and told of as such."""
    events = Recorder(manager)
    told: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.get("n")
        record = await store.inner.load(session.handle)
        damaged = SessionRecord(b"junk", record.version + 1, record.created_at, record.expires_at)
        await store.inner.update(session.handle, damaged)
        for operation in (session.reload, lambda: session.increment("n")):
            with pytest.raises(SessionEndedError) as caught:
                await operation()
            told.append(caught.value.reason)
        return web.Response()

    visitor = await visit(manager, x=handler)
    response = await visitor.ask("/x")
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert told == ["corrupt", "ended"]
    assert ("rejected", "corrupt") in events.told


async def test_response_that_was_given_without_the_session(visit, manager, store):
    """An outer middleware that answers by itself is left alone."""

    @web.middleware
    async def closed(request, handler):
        if request.path == "/closed":
            return web.Response(status=503)
        return await handler(request)

    visitor = await visit(manager, middlewares=(closed,))
    store.calls.clear()
    response = await visitor.ask("/closed")
    assert (response.status, response.headers.getall("Set-Cookie", [])) == (503, [])
    assert store.calls == []


async def test_request_inside_of_a_request(visit, manager, aiohttp_client):
    """A handler that asks another application of the same process gets its answer, and keeps its own session."""
    inner = await visit(manager, new=True)

    async def outer(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("outer", 1)
        answer = await inner.ask("/write?inner=1")
        assert identifier_in(answer.headers)
        return web.Response(status=answer.status)

    visitor = await visit(manager, new=True, outer=outer, plain=write)
    assert (await visitor.ask("/outer")).status == 200
    assert visitor.identifier != inner.identifier
    assert await (await visitor.ask("/read")).json() == {"outer": 1}
    assert await (await inner.ask("/read")).json() == {"inner": 1}


async def test_request_that_is_handled_in_the_middle_of_another(visit, manager):
    """A handler may run another request of the same manager by itself: each response has its own session's cookie."""
    seen: list[str] = []

    async def other(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("who", "other")
        seen.append(session.identifier)
        return web.Response()

    async def outer(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("who", "outer")
        await session_middleware(manager)(make_mocked_request("GET", "/other"), other)
        return web.Response()

    visitor = await visit(manager, new=True, outer=outer)
    assert (await visitor.ask("/outer")).status == 200
    assert visitor.identifier not in (None, *seen)
    assert await (await visitor.ask("/read")).json() == {"who": "outer"}
    visitor.identifier = seen[0]
    assert await (await visitor.ask("/read")).json() == {"who": "other"}


async def test_tasks_of_one_request_take_turns(visit, manager, store):
    """However many begin at once, none loses a race against another: one write each, and no second look."""
    results: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        store.calls.clear()
        barrier = Barrier(store, "update")
        tasks = [asyncio.create_task(session.increment("n")) for _ in range(4)]
        await barrier.reached.wait()
        await asyncio.sleep(0)  # by now the others wait
        barrier.go_on.set()
        results.extend(await asyncio.gather(*tasks))
        return web.Response()

    visitor = await visit(manager, x=handler)
    assert (await visitor.ask("/x")).status == 200
    assert results == [2, 3, 4, 5]
    assert store.counted == {"update": 4}


async def test_a_task_that_never_stops_changing(make_manager, store):
    """The last commit is tried a bounded number of times, and then says that it is not all there."""
    manager = make_manager()
    async with manager:
        life = arrive(manager, ())
        session = session_of(life)
        await session.set("n", 0)
        await session.save()
        writes = 0

        async def change(operation: str) -> None:
            nonlocal writes
            writes += operation == "update"
            await session.set("n", writes)

        store.before = change
        await session.set("n", -1)
        with pytest.raises(ConflictError, match="kept changing"):
            await life.commit()
        assert writes == 128
