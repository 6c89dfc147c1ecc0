"""Random orders of the store calls of concurrent requests, on Redis."""

from __future__ import annotations

import itertools

import pytest

from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing.explorer import OPERATIONS, Explorer
from aiohttp_spry_session.testing.explorer.stage import Start


@pytest.mark.parametrize("start", ["live", "grace", "retired"])
async def test_no_order_of_two_requests_breaks_a_law(adapter: RedisSessionAdapter, start: Start) -> None:
    """Every pair of operations, in two processes, in random orders."""
    explorer = Explorer(adapter, start=start, processes=2)
    for names in itertools.combinations_with_replacement(OPERATIONS, 2):
        await explorer.sample(*names, orders=1)
