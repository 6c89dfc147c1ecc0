"""Promise 2: a commit carries only what its request changed, and lands on the newest stored state."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from aiohttp_spry_session import SessionTooLargeError, get_session

from ..support import Barrier, Pause
from .handlers import doing


async def contents(visitor):
    return await (await visitor.ask("/read")).json()


async def test_parallel_requests_on_different_keys_keep_both(visit, manager):
    """A slow request does not overwrite what others set meanwhile."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("slow", 1)
        await pause.here()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    other = visitor.twin()
    await pause.during(visitor.ask("/slow"), lambda: other.ask("/write?fast=1"), lambda: other.ask("/do/pop"))
    assert await contents(visitor) == {"slow": 1, "fast": 1}


async def test_race_between_load_and_write_of_the_commit(visit, manager, store):
    """A commit that loses the race for the version takes the newest state and tries again."""
    visitor = await visit(manager)
    other = visitor.twin()
    barrier = Barrier(store, "update")
    first = asyncio.ensure_future(visitor.ask("/write?a=1"))
    await barrier.reached.wait()
    await other.ask("/write?b=2")
    barrier.go_on.set()
    assert (await first).status == 200
    assert await contents(visitor) == {"n": 1, "a": 1, "b": 2}


async def test_on_one_key_the_last_commit_wins(visit, manager):
    """Two requests set one key: what was committed last stays, whole."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        await get_session(request).set("n", {"by": "slow"})
        await pause.here()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    await pause.during(visitor.ask("/slow"), lambda: visitor.twin().ask("/write?n=2"))
    assert await contents(visitor) == {"n": {"by": "slow"}}


async def test_removal_is_a_change_like_any_other(visit, manager):
    """A key that a slow request removed stays removed, and what it did not touch stays."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        await get_session(request).remove("n")
        await pause.here()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    await pause.during(visitor.ask("/slow"), lambda: visitor.twin().ask("/write?m=2"))
    assert await contents(visitor) == {"m": 2}


async def test_clear_removes_the_keys_that_this_request_could_see(visit, manager):
    """What another request adds meanwhile survives the clear."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        await pause.here()
        await get_session(request).clear()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    await pause.during(visitor.ask("/slow"), lambda: visitor.twin().ask("/write?m=2"))
    assert await contents(visitor) == {"m": 2}


async def test_parallel_increments_are_all_counted(visit, manager):
    """Of many parallel increments none is lost, and each gets a result of its own."""
    results: list[int] = []

    async def increment(request: web.Request) -> web.Response:
        results.append(await get_session(request).increment("count"))
        return web.Response()

    visitor = await visit(manager, increment=increment)
    answers = await asyncio.gather(*(visitor.twin().ask("/increment") for _ in range(40)))
    assert {answer.status for answer in answers} == {200}
    assert sorted(results) == list(range(1, 41))
    assert (await contents(visitor))["count"] == 40


async def test_of_parallel_pops_exactly_one_gets_the_value(visit, manager):
    """A one-time token is used once."""
    results: list[object] = []

    async def pop(request: web.Request) -> web.Response:
        results.append(await get_session(request).pop("token", "nothing"))
        return web.Response()

    visitor = await visit(manager, pop=pop)
    await visitor.ask('/write?token="secret"')
    await asyncio.gather(*(visitor.twin().ask("/pop") for _ in range(10)))
    assert sorted(results) == ["nothing"] * 9 + ["secret"]


async def test_parallel_updates_see_each_other(visit, manager):
    """Each update's function gets the value that the one before it stored."""
    items: list[int] = list(range(12))

    async def append(request: web.Request) -> web.Response:
        item = int(request.query["item"])
        await get_session(request).update("items", lambda found: [*found, item], [])
        return web.Response()

    visitor = await visit(manager, append=append)
    await asyncio.gather(*(visitor.twin().ask(f"/append?item={item}") for item in items))
    assert sorted((await contents(visitor))["items"]) == items


async def test_commit_point_carries_what_was_set_before(visit, manager):
    """An atomic operation stores, in the same write, what the request has changed so far."""
    visitor = await visit(
        manager, x=doing(lambda s: s.set("a", 1), lambda s: s.remove("n"), lambda s: s.increment("b"))
    )
    await visitor.ask("/x")
    assert await contents(visitor) == {"a": 1, "b": 1}


async def test_atomic_operation_overrides_an_earlier_set_of_the_same_key(visit, manager):
    """increment counts on from what this request set, and the set does not come back at the end."""
    visitor = await visit(manager, x=doing(lambda s: s.set("n", 10), lambda s: s.increment("n")))
    await visitor.ask("/x")
    assert await contents(visitor) == {"n": 11}


async def test_session_that_a_merge_makes_too_large(visit, make_manager, store):
    """Two requests may each fit and their sum not: the later commit fails whole, the stored session stays."""
    outcome: list[object] = []
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("a", "x" * 60)
        await pause.here()
        try:
            await session.save()
        except SessionTooLargeError as error:
            outcome.append(error)
            await session.remove("a")
        return web.Response()

    visitor = await visit(make_manager(max_bytes=130), slow=slow)
    await pause.during(visitor.ask("/slow"), lambda: visitor.twin().ask(f'/write?b="{"y" * 60}"'))
    assert isinstance(outcome[0], SessionTooLargeError)
    assert (outcome[0].limit, outcome[0].key) == (130, None)
    assert outcome[0].size > 130
    assert await contents(visitor) == {"n": 1, "b": "y" * 60}


@pytest.mark.parametrize("tasks", [2, 5])
async def test_tasks_of_one_request(visit, manager, tasks):
    """Several tasks of one handler may use the session at once; they take turns."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await asyncio.gather(*(session.increment("n") for _ in range(tasks)), session.set("m", 1), session.save())
        return web.Response()

    visitor = await visit(manager, x=handler)
    assert (await visitor.ask("/x")).status == 200
    assert await contents(visitor) == {"n": 1 + tasks, "m": 1}
