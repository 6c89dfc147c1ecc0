"""An outage of the store in the log: told when it begins and ends, counted in between."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionAdapter, SessionRecord
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.store.outage import Outage
from aiohttp_spry_session.testing import FakeClock

from ..support import WatchedAdapter

RECORD = SessionRecord(b"payload", 1, 10.0, 500.0, "user")

FAILS = (logging.ERROR, "the session store fails: session store: load: failed (OSError)")


@pytest.fixture
async def adapter():
    """A watched store with a record at "a"."""
    adapter = WatchedAdapter(MemorySessionAdapter())
    adapter.clock = FakeClock(100.0)
    await adapter.inner.create("a", RECORD)
    return adapter


@pytest.fixture
def seconds():
    """The clock of an outage."""
    return FakeClock(50.0)


@pytest.fixture
def guard(adapter, seconds):
    """A guarded store that waits for no more than 10 ms."""
    guard = GuardedStore(adapter, adapter.clock, 0.01)
    guard._outage = Outage(seconds)
    return guard


@pytest.fixture
def told(caplog):
    """Return what the package has logged since the last call."""

    def take() -> list[tuple[int, str]]:
        found = [(level, text) for name, level, text in caplog.record_tuples if name == "aiohttp_spry_session"]
        caplog.clear()
        return found

    return take


def again(count: int) -> tuple[int, str]:
    """The last line of an outage."""
    return logging.WARNING, f"the session store answers again, after {count} failed operations"


def test_lines_of_an_outage(told, seconds):
    """The first failure is told, then at most once a minute how many there are; the next outage begins anew."""
    clock = seconds
    outage = Outage(clock)
    assert not outage.going_on
    for _ in range(2):
        outage.failed("load", AdapterError("load", "failed (OSError)"))
        assert (told(), outage.going_on) == ([FAILS], True)
        for seconds in (0.0, 59.9):
            clock.advance(seconds)
            outage.failed("load", AdapterError("load", "failed (OSError)"))
        assert told() == []
        for count in (4, 6):
            clock.advance(60.0)
            outage.failed("load", AdapterError("load", "failed (OSError)"))
            assert told() == [(logging.ERROR, f"the session store still fails: {count} operations so far")]
            clock.advance(59.0)
            outage.failed("load", AdapterError("load", "failed (OSError)"))
            assert told() == []
        outage.answered("load")
        assert (told(), outage.going_on) == ([again(7)], False)
        clock.advance(1.0)


def test_store_that_fails_and_answers_by_turns(told, seconds):
    """One traceback a minute, however often it does; what failed meanwhile is counted with the next."""
    outage = Outage(seconds)
    for _ in range(2):
        for _ in range(60):
            outage.failed("load", AdapterError("load", "failed (OSError)"))
            outage.answered("load")
            seconds.advance(1.0)
    assert told() == [FAILS, again(1), FAILS, again(60)]


async def test_an_outage_is_told_once(adapter, guard, caplog, told):
    """One traceback, with the store's own exception, for any number of operations; and a line when it is over."""
    adapter.fail("load")
    for _ in range(20):
        with pytest.raises(AdapterError):
            await guard.load("a")
    (record,) = (record for record in caplog.records if record.name == "aiohttp_spry_session")
    assert isinstance(record.exc_info[1].__cause__, OSError)
    assert "Traceback" in caplog.text
    assert told() == [FAILS]
    adapter.before = None
    assert await guard.load("missing") is None
    assert told() == [again(20)]
    assert await guard.load("a") == RECORD
    assert told() == []


@pytest.mark.parametrize("operation", ["destroy", "find"])
async def test_any_operation_that_is_answered_ends_an_outage_of_reads(adapter, guard, told, operation):
    """Where reads failed."""
    adapter.fail("load")
    with pytest.raises(AdapterError):
        await guard.load("a")
    await {"destroy": guard.destroy, "find": guard.find}[operation]("x")
    assert told() == [FAILS, again(1)]


async def test_reads_do_not_end_an_outage_of_writes(adapter, guard, told, seconds):
    """A store that is full is read as ever: told for each request, the outage would fill the log."""
    adapter.fail("update")
    for _ in range(3):
        with pytest.raises(AdapterError):
            await guard.update("a", RECORD)
        await guard.load("a")
        await guard.find("user")
    assert told() == [(logging.ERROR, "the session store fails: session store: update: failed (OSError)")]
    await guard.destroy("x")
    assert told() == [again(3)]
    adapter.fail("load")
    seconds.advance(60.0)
    with pytest.raises(AdapterError):
        await guard.load("a")
    await guard.find("user")
    assert told() == [FAILS, again(1)]


async def test_what_counts_as_a_failure(adapter, guard, told, seconds):
    """What hangs, an adapter's own AdapterError as it is, and garbage: in a load as in a find."""

    async def hang(handle: str) -> None:
        await asyncio.Event().wait()

    async def closed(handle: str) -> None:
        raise AdapterError("load", "not open")

    async def garbage(asked: str) -> object:
        return 7

    for load, problem in ((hang, "no answer in time (timeout=0.01)"), (closed, "not open")):
        adapter.load = load
        with pytest.raises(AdapterError, match="session store: load: ") as caught:
            await guard.load("a")
        await guard.destroy("x")
        assert told() == [(logging.ERROR, f"the session store fails: session store: load: {problem}"), again(1)]
        seconds.advance(60.0)
    assert caught.value.__cause__ is None
    adapter.load = adapter.find = garbage
    for call in (guard.load, guard.find):
        for _ in range(2):
            with pytest.raises(AdapterError):
                await call("a")
    ((_, first),) = told()
    assert first == "the session store fails: session store: load: answered a int instead of a SessionRecord"
    await guard.destroy("x")
    assert told() == [again(4)]


async def test_what_is_no_failure(adapter, guard, told):
    """An answer of False, an index that the adapter does not keep, and a caller that was cancelled."""

    class Plain(SessionAdapter):
        load = create = update = destroy = None

    Plain.__abstractmethods__ = frozenset()
    assert not await guard.update("missing", RECORD)
    with pytest.raises(NotImplementedError, match="Plain keeps no index of owners"):
        await GuardedStore(Plain(), adapter.clock, None).find("user")
    reached = asyncio.Event()

    async def hang(handle: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def load() -> None:
        await GuardedStore(adapter, adapter.clock, None).load("a")

    adapter.load = hang
    task = asyncio.create_task(load())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told() == []


async def test_a_turn_that_comes_ends_no_outage(adapter, guard, told):
    """The store was not asked. One that does not come is told of: requests fail by it."""
    adapter.fail("update")
    with pytest.raises(AdapterError):
        await guard.update("a", RECORD)
    told()
    async with guard.turns.take("a"):
        with pytest.raises(AdapterError):
            async with guard.turns.take("a"):
                raise AssertionError
    assert told() == []
    await guard.destroy("x")
    assert told() == [again(2)]
