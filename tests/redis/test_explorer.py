"""Random orders of the store calls of concurrent requests, on Redis."""

from __future__ import annotations

import itertools

import pytest

from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing.explorer import OPERATIONS, Explorer
from aiohttp_spry_session.testing.explorer.stage import Start

STARTS: tuple[Start, ...] = ("live", "grace", "retired")
PAIRS = list(itertools.combinations_with_replacement(OPERATIONS, 2))


@pytest.mark.parametrize("start", STARTS)
async def test_no_order_of_two_requests_breaks_a_law(adapter: RedisSessionAdapter, start: Start) -> None:
    """Every pair of operations, in two processes, in a random order, from one of the starts."""
    explorer = Explorer(adapter, start=start, processes=2)
    for names in PAIRS[STARTS.index(start) :: len(STARTS)]:
        await explorer.sample(*names, orders=1)


@pytest.mark.long
@pytest.mark.parametrize("start", STARTS)
async def test_every_pair_from_every_start(adapter: RedisSessionAdapter, start: Start) -> None:
    """The same, whole."""
    explorer = Explorer(adapter, start=start, processes=2)
    for names in PAIRS:
        await explorer.sample(*names, orders=2)
