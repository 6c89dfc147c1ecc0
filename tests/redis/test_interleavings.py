"""The orders in which the single steps of two operations can reach Redis."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from aiohttp_spry_session import SessionManager, SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.adapters.redis.connections import Call, Connections
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.store.trails import Trails
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from aiohttp_spry_session.testing.explorer.gate import ACTOR, Scheduler

from .steps import Steps as CutSteps

MakeRecord = Callable[..., SessionRecord]
Actor = Callable[[], Awaitable[Any]]


class Steps:
    """Connections on which every call of an actor is a step of the scheduler; its own follow one another."""

    def __init__(self, connections: Connections, scheduler: Scheduler) -> None:
        self._connections = connections
        self._scheduler = scheduler
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, key: bytes) -> bytes | None:
        return await self._step(lambda: self._connections.get(key))

    async def run(self, call: Call) -> Any:
        return await self._step(lambda: self._connections.run(call))

    async def close(self) -> None:
        await self._connections.close()

    async def _step(self, carry_out: Callable[[], Awaitable[Any]]) -> Any:
        actor = ACTOR.get()
        async with self._turns[actor]:
            return await self._scheduler.pass_gate(actor, carry_out)


Prepare = Callable[[str], Awaitable[dict[str, Actor]]]
Check = Callable[[str, dict[str, Any]], Awaitable[None]]
Choices = list[tuple[int, int]]


async def play(
    adapter: RedisSessionAdapter, name: str, prepare: Prepare, check: Check, choose: Callable[[Sequence[str]], int]
) -> None:
    """Run the actors in one order of their steps, under a name of its own."""
    connections = adapter._kept.connections
    actors = await prepare(name)
    scheduler = Scheduler(choose)
    adapter._kept.connections = Steps(connections, scheduler)
    try:
        results = await scheduler.run(actors)
    finally:
        adapter._kept.connections = connections
    await check(name, results)


async def in_every_order(adapter: RedisSessionAdapter, prepare: Prepare, check: Check) -> int:
    """Run the actors in every order of their steps; return how many there are."""
    schedule: list[int] | None = []
    tried = 0
    while schedule is not None:
        follower = Follower(schedule)
        await play(adapter, f"{tried}.", prepare, check, follower.choose)
        schedule = follower.next_schedule()
        tried += 1
    return tried


class Follower:
    """Chooses as a schedule says, the last one where fewer wait than before, and the first one after its end."""

    def __init__(self, schedule: list[int]) -> None:
        self._rest = list(schedule)
        self._choices: Choices = []

    def choose(self, waiting: Sequence[str]) -> int:
        choice = self._rest.pop(0) if self._rest else 0
        self._choices.append((min(choice, len(waiting) - 1), len(waiting)))
        return self._choices[-1][0]

    def next_schedule(self) -> list[int] | None:
        """The next one, depth first."""
        choices = list(self._choices)
        while choices and choices[-1][0] + 1 == choices[-1][1]:
            choices.pop()
        return [choice for choice, _ in choices[:-1]] + [choices[-1][0] + 1] if choices else None


async def in_random_orders(adapter: RedisSessionAdapter, prepare: Prepare, check: Check, *, orders: int) -> None:
    """Run the actors in so many random orders, the same ones each time."""
    generator = random.Random(0)
    for number in range(orders):
        await play(adapter, f"{number}.", prepare, check, lambda waiting: generator.randrange(len(waiting)))


async def lives(adapter: RedisSessionAdapter, *handles: str) -> list[str]:
    """Which of these handles hold a live session."""
    records = {handle: await adapter.load(handle) for handle in handles}
    return [handle for handle, record in records.items() if record is not None and not record.retired]


@pytest.fixture
def trails(adapter: RedisSessionAdapter, clock: FakeClock) -> Trails:
    """The adapter as the package uses it."""
    return Trails(GuardedStore(adapter, clock, None), clock)


async def test_of_two_rotations_one_wins(adapter: RedisSessionAdapter, record: MakeRecord) -> None:
    """The other one changes nothing, and leaves nothing."""

    async def prepare(name: str) -> dict[str, Actor]:
        await adapter.create(f"{name}old", record(owner=name))
        return {
            new: lambda new=new: rotate(adapter, f"{name}old", f"{name}{new}", record(2, owner=name)) for new in "ab"
        }

    async def check(name: str, results: dict[str, Any]) -> None:
        assert sorted(results.values()) == [False, True]
        winner = f"{name}a" if results["a"] else f"{name}b"
        assert await lives(adapter, f"{name}old", f"{name}a", f"{name}b") == [winner]
        assert list(await adapter.find(name)) == [winner]
        assert await adapter._kept.leads_to(f"{name}old", winner)

    assert await in_every_order(adapter, prepare, check) >= 70


@pytest.mark.parametrize("other", ["update", "renew"])
async def test_a_rotation_and_a_write(
    adapter: RedisSessionAdapter, clock: FakeClock, record: MakeRecord, other: str
) -> None:
    """One of them comes first; the other sees a newer version, or a retired record, and there is one session."""

    async def prepare(name: str) -> dict[str, Actor]:
        await adapter.create(f"{name}old", record(owner=name))
        return {
            "rotate": lambda: rotate(adapter, f"{name}old", f"{name}new", record(2, owner=name)),
            "update": lambda: adapter.update(f"{name}old", record(2, owner=name, payload=b"newer")),
            "renew": lambda: adapter.renew(f"{name}old", clock.now + 500),
        } | ({"renew": _nothing} if other == "update" else {"update": _nothing})

    async def check(name: str, results: dict[str, Any]) -> None:
        assert results["rotate"] is not results[other]
        live = f"{name}new" if results["rotate"] else f"{name}old"
        assert await lives(adapter, f"{name}old", f"{name}new") == [live]
        assert list(await adapter.find(name)) == [live]

    assert await in_every_order(adapter, prepare, check) >= 5


async def _nothing() -> None:
    pass


async def test_a_logout_always_logs_out(adapter: RedisSessionAdapter, trails: Trails, record: MakeRecord) -> None:
    """Whatever of a rotation comes before, between or after."""

    async def prepare(name: str) -> dict[str, Actor]:
        await adapter.create(f"{name}old", record(owner=name))
        return {
            "logout": lambda: trails.end(f"{name}old"),
            "rotate": lambda: rotate(adapter, f"{name}old", f"{name}new", record(2, owner=name)),
        }

    async def check(name: str, results: dict[str, Any]) -> None:
        assert results["logout"] is not None
        assert await lives(adapter, f"{name}old", f"{name}new") == []
        assert await adapter.find(name) == {}

    assert await in_every_order(adapter, prepare, check) >= 35


async def test_one_of_two_removes_a_rotation_that_was_not_confirmed(
    adapter: RedisSessionAdapter, record: MakeRecord
) -> None:
    """Whoever confirms it meanwhile, one is told, and nothing comes back."""

    async def prepare(name: str) -> dict[str, Actor]:
        old, new = f"{name}old", f"{name}new"
        await adapter.create(old, record(owner=name))
        connections = adapter._kept.connections
        CutSteps(adapter).cut(scripts.ACTIVATE)
        assert await rotate(adapter, old, new, record(2, owner=name))
        adapter._kept.connections = connections
        return {
            "first": lambda: adapter.destroy(new),
            "second": lambda: adapter.destroy(new),
            "load": lambda: adapter.load(new),
        }

    async def check(name: str, results: dict[str, Any]) -> None:
        assert sorted([results["first"], results["second"]]) == [False, True]
        assert results["load"] in (None, record(2, owner=name))
        assert await lives(adapter, f"{name}old", f"{name}new") == []

    await in_random_orders(adapter, prepare, check, orders=100)


async def test_a_rotation_does_not_escape_a_revocation(
    adapter: RedisSessionAdapter, clock: FakeClock, record: MakeRecord
) -> None:
    """All of an owner's sessions end, the one that moves meanwhile too."""
    manager = SessionManager(adapter, clock=clock, timeout=None)

    async def prepare(name: str) -> dict[str, Actor]:
        await adapter.create(f"{name}old", record(owner=name))
        return {
            "revoke": lambda: manager.revoke_owner(name),
            "rotate": lambda: rotate(adapter, f"{name}old", f"{name}new", record(2, owner=name)),
        }

    async def check(name: str, results: dict[str, Any]) -> None:
        assert results["revoke"] == 1
        assert await lives(adapter, f"{name}old", f"{name}new") == []

    await in_random_orders(adapter, prepare, check, orders=100)


async def test_a_live_session_is_never_missing_from_its_owners(
    adapter: RedisSessionAdapter, record: MakeRecord
) -> None:
    """Somebody looks while the session rotates, and sees it once, under one of its handles."""

    async def prepare(name: str) -> dict[str, Actor]:
        await adapter.create(f"{name}old", record(owner=name))
        return {
            "find": lambda: adapter.find(name),
            "rotate": lambda: rotate(adapter, f"{name}old", f"{name}new", record(2, owner=name)),
        }

    async def check(name: str, results: dict[str, Any]) -> None:
        assert results["rotate"]
        assert list(results["find"]) in ([f"{name}old"], [f"{name}new"])
        assert list(await adapter.find(name)) == [f"{name}new"]

    assert await in_every_order(adapter, prepare, check) >= 10


async def test_healing_never_hides_a_session_that_is_being_written(
    adapter: RedisSessionAdapter, record: MakeRecord
) -> None:
    """Somebody looks for the owner's sessions while one is created, and one changes its owner."""

    async def prepare(name: str) -> dict[str, Actor]:
        await adapter.create(f"{name}moves", record())
        return {
            "find": lambda: adapter.find(name),
            "create": lambda: adapter.create(f"{name}new", record(owner=name)),
            "move": lambda: adapter.update(f"{name}moves", record(2, owner=name)),
        }

    async def check(name: str, results: dict[str, Any]) -> None:
        assert results["create"]
        assert results["move"]
        assert sorted(await adapter.find(name)) == [f"{name}moves", f"{name}new"]

    await in_random_orders(adapter, prepare, check, orders=100)
