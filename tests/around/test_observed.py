"""What is told of store calls."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SessionRecord, StoreCall
from aiohttp_spry_session.adapters.observed import ObservedAdapter
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing import FaultyAdapter

from ..minimal import MinimalAdapter

RECORD = SessionRecord(b"", 1, 0.0, None, "ada")


@pytest.fixture
def calls() -> list[StoreCall]:
    return []


@pytest.fixture
def adapter(calls: list[StoreCall]) -> ObservedAdapter:
    return ObservedAdapter(MemorySessionAdapter(), calls.append)


async def test_every_call_is_told(adapter: ObservedAdapter, calls: list[StoreCall]) -> None:
    """By its name, with the time that it took, and how it went."""
    moved = SessionRecord(b"", 4, 0.0, None, "ada")
    await adapter.open()
    await adapter.create("a", RECORD)
    await adapter.load("a")
    await adapter.update("a", SessionRecord(b"", 2, 0.0, None, "ada"))
    await adapter.renew("a", None)
    await adapter.rotate("a", "b", moved, retire(moved, "b", now=0.0))
    await adapter.find("ada")
    assert [pair async for pair in adapter.scan()] == [("b", moved)]
    assert await adapter.count() == 1
    await adapter.destroy("b")
    await adapter.purge()
    await adapter.close()
    names = "open create load update renew rotate find scan count destroy purge close"
    assert [call.operation for call in calls] == names.split()
    assert {call.outcome for call in calls} == {"ok"}
    assert all(0 <= call.seconds < 5 for call in calls)


async def test_failures_and_cancellations(calls: list[StoreCall]) -> None:
    """A time limit is a cancellation, as a client that goes away is."""
    faulty = FaultyAdapter(MemorySessionAdapter())
    adapter = ObservedAdapter(faulty, calls.append)
    faulty.fail("load")
    with pytest.raises(OSError, match="failed"):
        await adapter.load("a")
    faulty.cancel("update")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(adapter.update("a", RECORD))
    hang = faulty.hang("load")
    manager = SessionManager(adapter, timeout=0.01)
    with pytest.raises(Exception, match="no answer in time"):
        await manager.revoke("a")
    hang.release()
    assert [(call.operation, call.outcome) for call in calls] == [
        ("load", "failed"),
        ("update", "cancelled"),
        ("load", "cancelled"),
    ]
    assert calls[2].seconds >= 0.009


async def test_scans_that_fail_or_are_left(adapter: ObservedAdapter, calls: list[StoreCall]) -> None:
    """A scan is one call, however it ends."""

    class Failing(MemorySessionAdapter):
        async def scan(self) -> Any:
            yield "a", RECORD
            raise OSError("in the middle")

    with pytest.raises(OSError, match="in the middle"):
        _ = [pair async for pair in ObservedAdapter(Failing(), calls.append).scan()]
    for handle in ("a", "b"):
        await adapter.create(handle, RECORD)
    scan = adapter.scan()
    await anext(scan)
    await scan.aclose()
    assert [(call.operation, call.outcome) for call in calls if call.operation == "scan"] == [
        ("scan", "failed"),
        ("scan", "ok"),
    ]


async def test_what_an_adapter_cannot_do_is_no_call(calls: list[StoreCall]) -> None:
    """Nothing went to a store, and nothing is wrong with it."""
    adapter = ObservedAdapter(MinimalAdapter(), calls.append)
    for operation in (adapter.find("ada"), adapter.count(), anext(adapter.scan())):
        with pytest.raises(NotImplementedError):
            await operation
    assert calls == []


async def test_an_observer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and changes nothing: neither an answer nor a failure."""
    told = 0

    def observe(call: StoreCall) -> None:
        nonlocal told
        told += 1
        raise RuntimeError("no room for metrics")

    faulty = FaultyAdapter(MemorySessionAdapter())
    adapter = ObservedAdapter(faulty, observe)
    assert await adapter.create("a", RECORD) is True
    assert await adapter.load("a") == RECORD
    faulty.fail("load")
    with pytest.raises(OSError, match="as the test wants"):
        await adapter.load("a")
    assert told == 3
    assert len(caplog.records) == 1
    assert "the observer of store calls failed" in caplog.text
    assert "no room for metrics" in caplog.text


async def test_the_callers_context_is_in_reach() -> None:
    """What a trace keeps for the running task."""
    trace: ContextVar[str] = ContextVar("trace")
    seen: list[str] = []
    adapter = ObservedAdapter(MemorySessionAdapter(), lambda call: seen.append(trace.get()))
    trace.set("of this test")
    await adapter.load("a")
    assert seen == ["of this test"]


async def a_coroutine(call: StoreCall) -> None: ...


@pytest.mark.parametrize("observe", [None, "print", a_coroutine])
def test_what_is_no_plain_function_is_refused(observe: Any) -> None:
    """A coroutine would never run."""
    with pytest.raises(ValueError, match="plain function"):
        ObservedAdapter(MemorySessionAdapter(), observe)


def test_a_call_is_frozen() -> None:
    """And says what it is."""
    call = StoreCall("load", 0.5, "ok")
    assert repr(call) == "StoreCall(operation='load', seconds=0.5, outcome='ok')"
    with pytest.raises(AttributeError):
        call.seconds = 1.0  # type: ignore[misc]
