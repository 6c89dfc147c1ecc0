"""The guarded store: listing and counting what there is."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionRecord
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.testing import FakeClock

from ..minimal import MinimalAdapter
from ..support import WatchedAdapter

RECORD = SessionRecord(b"payload", 1, 10.0, 500.0, "user")


class ScriptedAdapter(MinimalAdapter):
    """Its scan answers what it is told to."""

    def __init__(self, *answers: object) -> None:
        super().__init__()
        self.answers = answers
        self.is_closed = False

    async def scan(self):
        try:
            for answer in self.answers:
                yield answer
        finally:
            self.is_closed = True


def guarded(adapter, timeout: float | None = 0.01) -> GuardedStore:
    """A guarded store at the time 100."""
    adapter.clock = FakeClock(100.0)
    return GuardedStore(adapter, adapter.clock, timeout)


async def scanned(guard: GuardedStore) -> list[str]:
    """The handles that come."""
    return [handle async for handle, _ in guard.scan()]


@pytest.fixture
async def adapter():
    """A watched store with three records."""
    adapter = WatchedAdapter(MemorySessionAdapter())
    adapter.clock = FakeClock(100.0)
    for handle in ("a", "b", "c"):
        await adapter.inner.create(handle, RECORD)
    return adapter


async def test_what_is_there_comes(adapter):
    """Handles with their records, and how many they are."""
    guard = guarded(adapter)
    assert [found async for found in guard.scan()] == [("a", RECORD), ("b", RECORD), ("c", RECORD)]
    assert await guard.count() == 3


async def test_what_is_not_live_does_not_come():
    """A store that is behind with its expiry, or answers retired records, brings nothing back."""
    adapter = ScriptedAdapter(
        ("a", RECORD),
        ("b", replace(RECORD, expires_at=100.0)),
        ("c", retire(RECORD, "d", now=100.0)),
        ("e", replace(RECORD, expires_at=None)),
    )
    assert await scanned(guarded(adapter)) == ["a", "e"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("a", "a str instead of a handle with its record"),
        (("a",), "a tuple instead of a handle with its record"),
        ((b"a", RECORD), "a tuple instead of a handle with its record"),
        (("a", None), "a NoneType instead of a SessionRecord"),
        (("a", replace(RECORD, version="1")), "a SessionRecord with fields of wrong types"),
    ],
)
async def test_a_wrong_answer_is_named(answer, told, caplog):
    """What is no record is a store that fails."""
    with pytest.raises(AdapterError, match=f"^session store: scan: answered {told}$"):
        await scanned(guarded(ScriptedAdapter(answer)))
    assert "the session store fails: session store: scan:" in caplog.text


@pytest.mark.parametrize("operation", ["scan", "count"])
async def test_a_failure_is_named(adapter, operation):
    """Whatever the store raises says what was asked of it, and chains the cause."""
    guard = guarded(adapter)
    adapter.fail(operation)
    with pytest.raises(AdapterError) as caught:
        await (scanned(guard) if operation == "scan" else guard.count())
    assert str(caught.value) == f"session store: {operation}: failed (OSError)"
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_failure_in_its_own_words(adapter):
    """An adapter's own error stays what it is."""
    adapter.fail(error=AdapterError("count", "closed"))
    with pytest.raises(AdapterError, match=r"^session store: count: closed$"):
        await guarded(adapter).count()


async def test_each_step_has_its_time(adapter):
    """The limit is for a step, not for the whole; the one that hangs is named, and what came before it came."""
    asked = []

    async def third_hangs(operation: str) -> None:
        asked.append(operation)
        if len(asked) == 3:
            await asyncio.Event().wait()

    adapter.before = third_hangs
    records = guarded(adapter).scan()
    assert [(await anext(records))[0], (await anext(records))[0]] == ["a", "b"]
    with pytest.raises(AdapterError, match=r"^session store: scan: no answer in time \(timeout=0.01\)$"):
        await anext(records)


async def test_counting_takes_its_time(adapter):
    """It is cut into steps, so it has no limit of its own."""
    guard, asked, go_on = guarded(adapter, 0.001), asyncio.Event(), asyncio.Event()

    async def wait(operation: str) -> None:
        asked.set()
        await go_on.wait()

    adapter.before = wait
    counting = asyncio.create_task(guard.count())
    await asked.wait()
    await asyncio.wait({counting}, timeout=0.02)
    assert not counting.done()
    go_on.set()
    assert await counting == 3


@pytest.mark.parametrize("operation", ["scan", "count"])
async def test_a_store_that_cannot(operation, caplog):
    """That is no failure of the store: nothing is logged, and the message names the method that is missing."""
    guard = guarded(MinimalAdapter())
    with pytest.raises(NotImplementedError, match=rf"MinimalAdapter cannot .* implement {operation}\(\)"):
        await (scanned(guard) if operation == "scan" else guard.count())
    assert not caplog.records


async def test_a_store_that_cannot_behind_another(caplog):
    """As well where it shows at the first step only."""
    with pytest.raises(NotImplementedError, match="MinimalAdapter cannot list"):
        await scanned(guarded(WatchedAdapter(MinimalAdapter())))
    assert not caplog.records


async def test_whoever_stops_closes_the_adapters_scan():
    """At once, not when the garbage collector runs."""
    adapter = ScriptedAdapter(("a", RECORD), ("b", RECORD))
    records = guarded(adapter).scan()
    assert await anext(records) == ("a", RECORD)
    assert not adapter.is_closed
    await records.aclose()
    assert adapter.is_closed


async def test_an_iterator_of_ones_own():
    """A scan need not be a generator."""

    class Own(MinimalAdapter):
        def scan(self):
            return self

        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    assert await scanned(guarded(Own())) == []


@pytest.mark.parametrize(("operation", "over"), [("create", False), ("load", True)])
async def test_what_is_listed_shows_that_a_store_can_be_read(adapter, caplog, operation, over):
    """It ends an outage of reads, and says nothing of what can be stored."""
    caplog.set_level(logging.WARNING, "aiohttp_spry_session")
    guard = guarded(adapter)
    adapter.fail(operation)
    with pytest.raises(AdapterError):
        await (guard.create("d", RECORD) if operation == "create" else guard.load("a"))
    assert await scanned(guard) == ["a", "b", "c"]
    assert ("the session store answers again, after 1 failed operations" in caplog.text) is over
