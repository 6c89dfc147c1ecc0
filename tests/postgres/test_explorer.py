"""Random orders of the store calls of concurrent requests, on PostgreSQL."""

from __future__ import annotations

import itertools

import pytest

from aiohttp_spry_session.testing.explorer import OPERATIONS, Explorer
from aiohttp_spry_session.testing.explorer.stage import Start
from tests.postgres.conftest import MakePostgres

STARTS: tuple[Start, ...] = ("live", "grace", "retired")
PAIRS = list(itertools.combinations_with_replacement(OPERATIONS, 2))


@pytest.mark.parametrize("start", STARTS)
async def test_no_order_of_two_requests_breaks_a_law(make_postgres: MakePostgres, start: Start) -> None:
    """Every pair of operations, in two processes, in a random order, from one of the starts."""
    adapter = make_postgres(expiration=1200)
    await adapter.open()
    try:
        explorer = Explorer(adapter, start=start, processes=2)
        for names in PAIRS[STARTS.index(start) :: len(STARTS)]:
            await explorer.sample(*names, orders=1)
    finally:
        await adapter.close()
