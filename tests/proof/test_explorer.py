"""Every order of the store calls of concurrent requests keeps the promises."""

from __future__ import annotations

import asyncio
import random
from itertools import combinations_with_replacement

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SQLiteSessionAdapter
from aiohttp_spry_session.testing.explorer import OPERATIONS, BrokenLawError, Explorer
from aiohttp_spry_session.testing.explorer.gate import Scheduler

from ..minimal import MinimalAdapter

pytestmark = pytest.mark.no_cover

NAMES = list(OPERATIONS)
SINGLE = [name for name in NAMES if "," not in name and name not in ("destroy for good", "open socket")]
PAIRS = list(combinations_with_replacement(NAMES, 2))
LATER = [name for name in NAMES if OPERATIONS[name].later]
LOST = [name for name in NAMES if OPERATIONS[name].lost]
LIMITED = [name for name in NAMES if OPERATIONS[name].when_full]
NEED_AN_INDEX = {"revoke owner", "revoke others", *LIMITED}
SETTINGS = [
    pytest.param({}, id="one process"),
    pytest.param({"processes": 2}, id="two processes"),
    pytest.param({"lazy": True}, id="lazy"),
    pytest.param({"start": "grace"}, id="in grace"),
    pytest.param({"start": "retired"}, id="rotated away"),
    pytest.param({"skew": 2.0}, id="two seconds ahead"),
    pytest.param({"skew": -2.0}, id="two seconds behind"),
]
HOW_MANY = [pytest.param(12, 4, id="some"), pytest.param(80, 20, id="many", marks=pytest.mark.long)]
"""Orders of each pair: those that come first, and others at random."""


def can_be_explored(adapter: type[SessionAdapter], *names: str) -> bool:
    """Whether an adapter can do these operations."""
    return adapter is not MinimalAdapter or NEED_AN_INDEX.isdisjoint(names)


@pytest.mark.parametrize("first", SINGLE)
async def test_every_order_of_every_pair(first: str) -> None:
    """Two requests keep the promises in whatever order the store carries their calls out."""
    explorer = Explorer(MemorySessionAdapter())
    for second in SINGLE[SINGLE.index(first) :]:
        assert await explorer.explore(first, second)


@pytest.mark.parametrize("processes", [1, 2])
async def test_open_sockets(processes: int) -> None:
    """Whatever ends the session, and in whatever order, what depends on it ends; while it lives that stays."""
    explorer = Explorer(MemorySessionAdapter(), processes=processes)
    for other in NAMES:
        assert await explorer.explore("open socket", other, limit=30)
        await explorer.sample("open socket", other, orders=10)


@pytest.mark.parametrize(("limit", "orders"), HOW_MANY)
@pytest.mark.parametrize("first", LATER)
async def test_headers_that_leave_late(first: str, limit: int, orders: int) -> None:
    """Whatever comes between the handler's end and its headers, no dead identifier replaces a live one."""
    explorer = Explorer(MemorySessionAdapter())
    for second in NAMES:
        assert await explorer.explore(first, second, limit=limit)
        await explorer.sample(first, second, orders=orders)


@pytest.mark.parametrize(("limit", "orders"), HOW_MANY)
@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
@pytest.mark.parametrize("first", LOST)
async def test_lost_answers(first: str, adapter: type[SessionAdapter], limit: int, orders: int) -> None:
    """Whoever's rotation has an outcome that nobody knows is logged in at the next request, in one session."""
    explorer = Explorer(adapter())
    for second in NAMES:
        if can_be_explored(adapter, first, second):
            assert await explorer.explore(first, second, limit=limit)
            await explorer.sample(first, second, orders=orders)


@pytest.mark.parametrize("settings", [{}, {"processes": 2, "skew": 2.0}, {"max_sessions": 1}, {"max_sessions": 2}])
@pytest.mark.parametrize("first", LIMITED)
async def test_sign_ins_with_a_limit(first: str, settings: dict[str, object]) -> None:
    """No owner has more sessions than allowed, nor are more ended than that takes; nobody else is disturbed."""
    explorer = Explorer(MemorySessionAdapter(), **settings)
    for second in LIMITED:
        if OPERATIONS[second].when_full == OPERATIONS[first].when_full:
            assert await explorer.explore(first, second, limit=100)
            await explorer.sample(first, second, orders=20)
            for third in LIMITED:
                await explorer.sample(first, second, third, orders=5)
    for second in ("rotate", "rotate with grace", "set", "destroy", "revoke owner", "bind", "renew, headers later"):
        assert await explorer.explore(first, second, limit=40)
        await explorer.sample(first, second, first, orders=5)


@pytest.mark.parametrize("skew", [300.0, -300.0])
async def test_clocks_that_are_minutes_apart(skew: float) -> None:
    """What was rotated away without a grace never leads in, whoever asks, and however wrong the clock."""
    explorer = Explorer(MemorySessionAdapter(), skew=skew)
    for first, second in PAIRS:
        if "expiry" not in (first, second):  # when a session ends is said by a clock
            await explorer.sample(first, second, orders=1)
            await explorer.sample(second, first, orders=1)


@pytest.mark.parametrize("settings", SETTINGS)
async def test_some_orders_of_every_pair(settings: dict[str, object]) -> None:
    """So they do in two processes, with late look-ups, and under rotated-away identifiers."""
    explorer = Explorer(MemorySessionAdapter(), **settings)
    for first, second in PAIRS:
        await explorer.sample(first, second, orders=1)
        if "start" in settings:
            await explorer.sample(second, first, orders=1)


async def test_some_orders_of_every_pair_on_the_default_methods() -> None:
    """So they do on an adapter with the four methods that must be written, and no more."""
    explorer = Explorer(MinimalAdapter())
    for pair in PAIRS:
        if can_be_explored(MinimalAdapter, *pair):
            await explorer.sample(*pair, orders=2)


async def test_some_orders_of_every_pair_on_sqlite() -> None:
    """So they do on a store whose calls take time."""
    adapter = SQLiteSessionAdapter(":memory:")
    await adapter.open()
    try:
        explorer = Explorer(adapter)
        for pair in PAIRS:
            await explorer.sample(*pair, orders=1)
    finally:
        await adapter.close()


@pytest.mark.parametrize("settings", SETTINGS)
async def test_some_orders_of_some_trios(settings: dict[str, object]) -> None:
    """Three requests keep them too."""
    generator = random.Random(3)
    explorer = Explorer(MemorySessionAdapter(), **settings)
    for _ in range(60):
        await explorer.sample(*generator.choices(NAMES, k=3), orders=2)


@pytest.mark.long
@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
async def test_every_order_of_every_pair_in_every_setting(
    adapter: type[SessionAdapter], settings: dict[str, object], first: str
) -> None:
    """Every order of two requests, the first of which may present a rotated-away identifier, keeps the promises."""
    explorer = Explorer(adapter(), **settings)
    for second in NAMES:
        if can_be_explored(adapter, first, second):
            assert await explorer.explore(first, second)


@pytest.mark.long
@pytest.mark.parametrize("settings", SETTINGS)
async def test_many_orders_of_many_trios(settings: dict[str, object]) -> None:
    """Thousands of orders of three requests keep the promises."""
    generator = random.Random(4)
    explorer = Explorer(MemorySessionAdapter(), **settings)
    for _ in range(5000):
        await explorer.sample(*generator.choices(NAMES, k=3), orders=4)


async def test_orders_are_counted() -> None:
    """Three requests of one store call each have six orders; none is left out, none is tried twice."""
    assert await Explorer(MemorySessionAdapter()).explore("read", "read", "read") == 6


async def test_exploring_stops_at_the_limit() -> None:
    """No more orders are tried than were asked for."""
    assert await Explorer(MemorySessionAdapter()).explore("set", "set", limit=3) == 3


async def test_the_store_is_left_empty() -> None:
    """What the schedules stored is removed from the adapter."""
    adapter = MemorySessionAdapter()
    await Explorer(adapter).explore("rotate with grace", "destroy")
    assert len(adapter) == 0


async def test_sessions_that_never_expire_are_not_explored() -> None:
    """The explorer says at once that it needs an end to move the clock past."""
    with pytest.raises(ValueError, match="expire"):
        Explorer(MemorySessionAdapter(expiration=None))


async def test_actors_that_wait_for_each_other_are_noticed() -> None:
    """A schedule that cannot go on says so instead of hanging."""
    with pytest.raises(RuntimeError, match="wait for each other"):
        await Scheduler(lambda waiting: 0).run({"a": asyncio.Event().wait})


async def test_an_adapter_that_fails_is_noticed() -> None:
    """A store call that raises is a 503, which breaks a law; the message tells the calls."""

    class Failing(MemorySessionAdapter):
        async def update(self, handle: str, record: object) -> bool:
            raise OSError("out of reach")

    with pytest.raises(
        BrokenLawError, match=r"no needless failure: a was answered 503\n(.|\n)*a update s0 v2 -> OSError"
    ):
        await Explorer(Failing()).replay("set", schedule="aa")
