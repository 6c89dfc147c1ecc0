"""The guarded store: what it makes of an adapter's answers and failures, and where rotations lead it."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from aiohttp_spry_session import AdapterError, ConflictError, MemorySessionAdapter, SessionRecord
from aiohttp_spry_session.record import RETIRED_SECONDS, retire
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.store.trails import Ended, Trails
from aiohttp_spry_session.testing import FakeClock

from ..support import WatchedAdapter

RECORD = SessionRecord(b"payload", 1, 10.0, 500.0, "user")

CALLS: dict[str, Callable[[GuardedStore], Awaitable[Any]]] = {
    "load": lambda guard: guard.load("a"),
    "create": lambda guard: guard.create("b", RECORD),
    "update": lambda guard: guard.update("a", replace(RECORD, version=2)),
    "renew": lambda guard: guard.renew("a", 600.0),
    "rotate": lambda guard: guard.rotate("a", "b", replace(RECORD, version=2), retired("b")),
    "find": lambda guard: guard.find("user"),
    "destroy": lambda guard: guard.destroy("a"),
}


@pytest.fixture
async def adapter():
    """A watched store at the time 100, with a record at "a"."""
    adapter = WatchedAdapter(MemorySessionAdapter())
    adapter.clock = FakeClock(100.0)
    await adapter.inner.create("a", RECORD)
    return adapter


@pytest.fixture
def guard(adapter):
    """A guarded store that waits for no more than 10 ms."""
    return GuardedStore(adapter, adapter.clock, 0.01)


@pytest.fixture
def trails(adapter, guard):
    """The rotations of the guarded store."""
    return Trails(guard, adapter.clock)


async def put(adapter: WatchedAdapter, handle: str, record: SessionRecord) -> None:
    """Put a record in a handle's place, whatever is there."""
    await adapter.inner.destroy(handle)
    assert await adapter.inner.create(handle, record)


def retired(successor: str, *, grace: float = 0.0) -> SessionRecord:
    """What a rotation leaves behind."""
    return retire(RECORD, successor, now=100.0, grace=grace)


@pytest.mark.parametrize("operation", [*CALLS, "purge"])
async def test_a_failure_is_named(adapter, guard, operation):
    """Whatever the store raises is an AdapterError that says what was asked of it, and chains the cause."""
    adapter.fail(operation)
    with pytest.raises(AdapterError) as caught:
        await CALLS.get(operation, GuardedStore.purge)(guard)
    assert (caught.value.operation, str(caught.value)) == (operation, f"session store: {operation}: failed (OSError)")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("operation", CALLS)
async def test_what_hangs_is_named(adapter, guard, operation):
    """No call waits longer than the time that is given, and the error says how long that was."""

    async def hang(called: str) -> None:
        if called == operation:
            await asyncio.Event().wait()

    adapter.before = hang
    with pytest.raises(AdapterError) as caught:
        await CALLS[operation](guard)
    assert (caught.value.operation, str(caught.value)) == (
        operation,
        f"session store: {operation}: no answer in time (timeout=0.01)",
    )
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize(("now", "there"), [(499.9, True), (500.0, False), (501.0, False)])
async def test_load_answers_nothing_that_has_expired(adapter, now, there):
    """A store that is behind with its expiry brings nothing back: the record's end is looked at again here."""
    guard = GuardedStore(adapter, FakeClock(now), None)
    assert await guard.load("a") == (RECORD if there else None)


async def test_load_of_a_record_without_an_end(adapter, guard):
    """It never expires."""
    forever = replace(RECORD, expires_at=None)
    await put(adapter, "a", forever)
    assert await guard.load("a") == forever


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": "text"},
        {"version": "1"},
        {"created_at": "10"},
        {"created_at": None},
        {"expires_at": "x"},
        {"owner": 7},
    ],
    ids=str,
)
async def test_record_with_a_field_of_a_wrong_type(adapter, guard, fields):
    """Each field by itself is enough to tell that the store answers garbage."""
    await put(adapter, "a", RECORD)

    async def load(handle: str) -> SessionRecord:
        return replace(RECORD, **fields)

    adapter.load = load
    with pytest.raises(AdapterError) as caught:
        await guard.load("a")
    assert str(caught.value) == "session store: load: answered a SessionRecord with fields of wrong types"
    assert caught.value.operation == "load"


@pytest.mark.parametrize("garbage", ["text", 7, [], {"payload": b""}], ids=str)
async def test_answers_that_are_no_record(adapter, guard, garbage):
    """Neither a load nor a find takes anything else for one."""

    async def answer(asked: str) -> object:
        return garbage if asked == "a" else {"a": garbage}

    adapter.load = adapter.find = answer
    kind = type(garbage).__name__
    for operation, call in (("load", guard.load), ("find", guard.find)):
        with pytest.raises(AdapterError) as caught:
            await call({"load": "a", "find": "user"}[operation])
        assert str(caught.value) == f"session store: {operation}: answered a {kind} instead of a SessionRecord"


async def test_find_that_is_no_mapping(adapter, guard):
    """What a find answers has to name the records' handles."""

    async def find(owner: str) -> object:
        return [RECORD]

    adapter.find = find
    with pytest.raises(AdapterError) as caught:
        await guard.find("user")
    assert str(caught.value) == "session store: find: answered a list instead of a mapping"


async def test_whole_numbers_are_times_too(adapter, guard):
    """A store may keep its times as integers."""
    whole = replace(RECORD, created_at=10, expires_at=500)

    async def load(handle: str) -> SessionRecord:
        return whole

    adapter.load = load
    assert await guard.load("a") == whole


async def test_resolve(adapter, trails):
    """A live handle leads to itself, a retired one nowhere else, or, within its grace, to its successor."""
    assert await trails.resolve("a") == ("a", RECORD)
    assert await trails.resolve("missing") == ("missing", None)
    await put(adapter, "old", retired("a"))
    assert await trails.resolve("old") == ("old", retired("a"))
    await put(adapter, "old", retired("a", grace=5.0))
    await put(adapter, "older", retired("old", grace=5.0))
    assert await trails.resolve("older") == ("a", RECORD)
    adapter.clock.advance(5)
    assert await trails.resolve("older") == ("older", retired("old", grace=5.0))


async def test_resolve_where_the_successor_is_gone(adapter, trails):
    """Then there is nothing, although the grace is not over."""
    await put(adapter, "old", retired("gone", grace=5.0))
    assert await trails.resolve("old") == ("gone", None)


async def test_trail(adapter, trails, monkeypatch):
    """All the handles that a session has had since one of them; no forged chain is followed for ever."""
    await put(adapter, "old", retired("a"))
    await put(adapter, "older", retired("old"))
    assert await trails.trail("older") == ["older", "old", "a"]
    assert await trails.trail("a") == ["a"]
    assert await trails.trail("missing") == ["missing"]
    await put(adapter, "ring", retired("ring"))
    monkeypatch.setattr("aiohttp_spry_session.store.trails.MAX_ROTATIONS", 3)
    assert await trails.trail("ring") == ["ring"] * 3


async def break_after_rotation(operation: str) -> None:
    """Lose the answer of a rotation."""
    if operation == "rotate":
        raise OSError("the connection broke")


async def test_rotation_whose_answer_was_lost(adapter, guard):
    """The store is asked what became of the old handle: it leads to the new one, so the rotation happened."""
    adapter.after = break_after_rotation
    moved = replace(RECORD, version=2)
    assert await guard.rotate("a", "b", moved, retired("b")) is True
    assert await guard.load("b") == moved


async def test_rotation_that_did_not_happen(adapter, guard):
    """It is a failure where the old handle is as it was, or leads to what another request made of it."""
    adapter.before = break_after_rotation
    for there in (RECORD, retired("c")):
        await put(adapter, "a", there)
        with pytest.raises(AdapterError, match=r"rotate: failed \(OSError\)"):
            await guard.rotate("a", "b", replace(RECORD, version=2), retired("b"))


async def test_end(adapter, trails):
    """The live record goes, and so does every retired one that leads to it."""
    await put(adapter, "old", retired("a"))
    await put(adapter, "older", retired("old"))
    assert await trails.end("older") == Ended("a", "user")
    assert [await adapter.inner.load(handle) for handle in ("a", "old", "older")] == [None, None, None]
    assert await trails.end("older") is None


async def test_end_that_was_cut_short_is_told_of_by_the_one_who_finishes_it(adapter, trails):
    """A fence that stands says whose session it was; of several that find it the one who removes it is told."""
    adapter.fail("destroy")
    with pytest.raises(AdapterError):
        await trails.end("a")
    adapter.work()
    assert await trails.end("a") == Ended("a", "user")
    assert await trails.end("a") is None


async def test_end_fences_before_it_deletes(adapter, trails):
    """The record is replaced by a retired one first, with the next version, so that a rotation sees it gone."""
    seen: list[SessionRecord] = []

    async def look(operation: str) -> None:
        if operation == "destroy":
            seen.append(await adapter.inner.load("a"))

    adapter.before = look
    await trails.end("a")
    (fence,) = seen
    assert fence == replace(retire(RECORD, "", now=100.0, owner="user"), version=2)
    assert fence.expires_at == 100.0 + RETIRED_SECONDS


async def test_end_where_the_successor_is_gone(adapter, trails):
    """There is nothing to end, and what led there is cleared away."""
    await put(adapter, "old", retired("gone"))
    assert await trails.end("old") is None
    assert await adapter.inner.load("old") is None


@pytest.mark.parametrize("payload", [b"junk", retired("old").payload], ids=["corrupt", "a ring"])
async def test_end_of_what_leads_nowhere(adapter, trails, payload):
    """One look is enough."""
    await put(adapter, "old", replace(retired(""), payload=payload))
    assert await trails.end("old") is None
    assert adapter.counted == {"load": 1, "destroy": 1}


async def test_end_that_never_gets_through(adapter, trails, monkeypatch):
    """A session that changes at each attempt is told of, and not deleted without a fence."""
    monkeypatch.setattr("aiohttp_spry_session.store.trails.MAX_ATTEMPTS", 3)

    async def update(handle: str, record: SessionRecord) -> bool:
        return False

    adapter.update = update
    with pytest.raises(ConflictError) as caught:
        await trails.end("a")
    assert str(caught.value) == "the session kept changing while it was to be ended"
    assert adapter.counted == {"load": 3}
    assert await adapter.inner.load("a") == RECORD


async def test_end_of_one_that_wins_every_race(adapter, guard, trails):
    """Rotated at each attempt, by requests of this process: they wait for the end that has lost once."""
    handles = iter("bcdefgh")
    original = adapter.update

    async def update(handle: str, record: SessionRecord) -> bool:
        if handle not in guard.turns:
            new = next(handles)
            moved = replace(RECORD, version=record.version)
            assert await adapter.inner.rotate(handle, new, moved, retire(moved, new, now=100.0))
        return await original(handle, record)

    adapter.update = update
    assert await trails.end("a") == Ended("b", "user")
    assert [await adapter.inner.load(handle) for handle in "abc"] == [None] * 3
    assert "b" not in guard.turns


async def test_an_answer_that_takes_a_while(adapter, guard):
    """It is waited for, without asking again and again."""
    answer = asyncio.get_running_loop().create_future()

    async def wait(operation: str) -> None:
        await answer

    adapter.before = wait
    unlimited = GuardedStore(adapter, adapter.clock, None)

    async def load() -> SessionRecord | None:
        return await unlimited.load("a")

    task = asyncio.create_task(load())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    answer.set_result(None)
    assert await task == RECORD


async def test_turns(adapter):
    """Those that take turns go one after the other; a newcomer sees that there are turns until the last one went."""
    guard = GuardedStore(adapter, adapter.clock, None)
    go_on = asyncio.Event()
    inside: list[int] = []

    async def one(number: int) -> None:
        async with guard.turns.take("a"):
            inside.append(number)
            await go_on.wait()
            await asyncio.sleep(0)
            assert inside[-1] == number
            assert list(guard.turns._turns) == ["a"]

    tasks = [asyncio.create_task(one(number)) for number in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert inside == [0]
    go_on.set()
    await asyncio.gather(*tasks)
    assert inside == [0, 1, 2]
    assert guard.turns._turns == {}


async def test_turn_that_does_not_come(guard):
    """Waiting for it has its limit too, and the error says what it was for."""
    async with guard.turns.take("a"):
        with pytest.raises(AdapterError) as caught:
            async with guard.turns.take("a"):
                pass
    assert str(caught.value) == "session store: update: no answer in time (timeout=0.01)"
    assert caught.value.operation == "update"
    assert guard.turns._turns == {}


async def test_answer_that_is_there_at_once(guard):
    """A store in memory costs no turn of the event loop, and no timer."""
    with pytest.raises(StopIteration) as done:
        guard.load("a").send(None)
    assert done.value.value == RECORD


@pytest.mark.parametrize("operation", ["load", "update"])
@pytest.mark.parametrize("end", ["cancelled", "AdapterError", "OSError", "time-out"])
async def test_what_failed_is_not_kept(adapter, guard, operation, end, caplog):
    """A request that was cancelled, or got no answer, is freed at once, not when the garbage collector runs."""
    caplog.set_level(logging.CRITICAL, "aiohttp_spry_session")  # pytest keeps log records, and with them tracebacks

    class Payload:
        """What a request holds while it waits."""

    async def fail(operation: str) -> None:
        await asyncio.Event().wait() if end in ("cancelled", "time-out") else await asyncio.sleep(0)
        raise OSError if end == "OSError" else AdapterError(operation, "failed")

    async def request() -> None:
        payload = Payload()
        seen.append(weakref.ref(payload))
        await CALLS[operation](guard)

    adapter.before = fail
    seen: list[weakref.ref[Payload]] = []
    gc.collect()
    gc.disable()
    try:
        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        if end == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() if end == "cancelled" else isinstance(task.exception(), AdapterError)
        del task
        await asyncio.sleep(0)  # the event loop's own last step of the task
        assert [reference() for reference in seen] == [None]
    finally:
        gc.enable()
