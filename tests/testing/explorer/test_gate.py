"""What the explorer's gate notes of the calls that go through it, and whom it holds up."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.testing.explorer.gate import ACTOR, Gate, Scheduler

from ...minimal import MinimalAdapter, PlainAdapter
from .histories import first


async def test_a_gate_without_an_actor_is_open():
    """Calls from outside a schedule go through, and are noted without a name."""
    gate = Gate(PlainAdapter(expiration=50))
    assert gate.expiration == 50
    gate.scheduler = Scheduler(first)
    assert await gate.load("x") is None
    assert [(call.actor, call.method, call.handle, call.outcome, call.inner) for call in gate.calls] == [
        ("", "load", "x", None, False)
    ]


class Found(PlainAdapter):
    """Finds what is somebody's."""

    async def find(self, owner):
        return {handle: record for handle, record in self.records.items() if record.owner == owner}


@pytest.mark.parametrize(
    ("adapter", "parts"),
    [(Found, []), (MinimalAdapter, [("load", "a", ""), ("update", "a", "")])],
)
@pytest.mark.parametrize("seconds", [None, 600.0])
async def test_a_renewal_at_the_gate(adapter, parts, seconds):
    """It is one call, or the parts that the base class makes of it and then the whole; the end arrives."""
    gate = Gate(adapter())
    now = gate.clock()
    end = None if seconds is None else now + seconds
    record = SessionRecord(b"", 1, 0.0, now + 60, "ada")
    assert await gate.create("a", record)
    gate.calls.clear()
    assert await gate.renew("a", end) is True
    assert [(call.method, call.handle, call.new) for call in gate.calls] == [*parts, ("renew", "a", "")]
    assert [call.inner for call in gate.calls] == [True] * len(parts) + [False]
    assert (gate.calls[-1].outcome, gate.calls[-1].record) == (True, None)
    assert await gate.load("a") == SessionRecord(b"", 2, 0.0, end, "ada")
    assert gate.calls[-1].inner is False


async def test_a_search_at_the_gate():
    """It is one call, of no handle, and its answer is the store's."""
    gate = Gate(Found())
    record = SessionRecord(b"", 1, 0.0, None, "ada")
    assert await gate.create("a", record)
    assert await gate.find("ada") == {"a": record}
    assert await gate.find("bob") == {}
    assert [(call.method, call.handle, call.outcome) for call in gate.calls[1:]] == [
        ("find", "", {"a": record}),
        ("find", "", {}),
    ]


async def test_a_gate_without_a_scheduler_is_open():
    """An actor's calls go through too, and are noted with its name."""
    gate = Gate(PlainAdapter())
    token = ACTOR.set("a")
    try:
        assert await gate.load("x") is None
    finally:
        ACTOR.reset(token)
    assert [(call.actor, call.method) for call in gate.calls] == [("a", "load")]


async def test_a_cancelled_call_is_noted_without_an_outcome():
    """It raised nothing that the store answered."""

    class Cancelled(PlainAdapter):
        async def load(self, handle):
            raise asyncio.CancelledError

    gate = Gate(Cancelled())
    with pytest.raises(asyncio.CancelledError):
        await gate.load("x")
    assert [(call.method, call.outcome) for call in gate.calls] == [("load", None)]
