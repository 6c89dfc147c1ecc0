"""Whole requests, in orders of their store calls, on sealed records and between two stores."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.observed import ObservedAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.testing.explorer import OPERATIONS, Explorer
from aiohttp_spry_session.testing.explorer.stage import Start

from .test_contracts import Moving

NAMES = list(OPERATIONS)
KEYS = [b"k" * 32, b"o" * 32]


def sealed() -> SessionAdapter:
    return SealedAdapter(MemorySessionAdapter(), KEYS)


def moving() -> SessionAdapter:
    return Moving(MemorySessionAdapter(), MemorySessionAdapter())


def nested() -> SessionAdapter:
    stores = MemorySessionAdapter(), SealedAdapter(MemorySessionAdapter(), KEYS[1])
    return SealedAdapter(ObservedAdapter(Moving(*stores), lambda call: None), KEYS[0], hide_owners=True)


@pytest.mark.long
@pytest.mark.parametrize("start", ["live", "grace", "retired"])
@pytest.mark.parametrize("make", [sealed, moving, nested])
async def test_orders_of_two_requests(make: type[SessionAdapter], start: Start) -> None:
    """Every pair of operations in a random order, in two processes."""
    explorer = Explorer(make(), start=start, processes=2)
    for names in combinations_with_replacement(NAMES, 2):
        await explorer.sample(*names, orders=1)


@pytest.mark.long
@pytest.mark.parametrize("first", ["set", "rotate", "destroy", "bind"])
async def test_orders_on_sealed_records(first: str) -> None:
    """A renewal is a load and an update here: others come between. The first orders, and some of all."""
    explorer = Explorer(sealed())
    for second in ("renew", "rolling", "set, renew"):
        assert await explorer.explore(first, second, limit=60) > 1
        await explorer.sample(first, second, orders=20)


@pytest.mark.long
async def test_orders_while_sessions_stay() -> None:
    """In the first step of a deployment sessions are where they were."""
    explorer = Explorer(MigratingAdapter(MemorySessionAdapter(), MemorySessionAdapter(), move=False))
    for names in combinations_with_replacement(NAMES, 2):
        await explorer.sample(*names, orders=1)


SOME = ("set", "increment", "rotate", "bind", "destroy", "revoke", "expiry", "rotate, answer lost")


@pytest.mark.parametrize("make", [sealed, moving, nested])
async def test_orders_of_some(make: type[SessionAdapter]) -> None:
    """The operations that matter most here, each pair in a random order; the others take minutes."""
    explorer = Explorer(make(), processes=2)
    for names in combinations_with_replacement(SOME, 2):
        await explorer.sample(*names, orders=2)
