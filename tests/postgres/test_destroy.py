"""Of all who destroy a record, one is told that there was one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.postgres.conftest import MakePostgres
from tests.postgres.holder import NOW, RECORD


@pytest.mark.parametrize("retired", [False, True])
async def test_of_many_who_destroy_a_record_one_is_told_so(make_postgres: MakePostgres, *, retired: bool) -> None:
    """In one batch and on several machines exactly one removes each record."""
    adapters = [make_postgres() for _ in range(3)]
    for adapter in adapters:
        adapter.clock = FakeClock(NOW)
        await adapter.open()
    handles = [f"handle {number}" for number in range(40)]
    await asyncio.gather(*(adapters[0].create(handle, replace(RECORD, retired=retired)) for handle in handles))
    answers = await asyncio.gather(
        *(adapter.destroy(handle) for handle in handles for adapter in adapters for _ in range(2))
    )
    assert [sum(answers[start : start + 6]) for start in range(0, len(answers), 6)] == [1] * 40
    for adapter in adapters:
        await adapter.close()


async def test_destroying_what_has_expired_is_destroying_nothing(adapter: PostgresSessionAdapter) -> None:
    """Its row goes, and nobody is told that there was a session; the same where there is no row."""
    await adapter.create("expired", replace(RECORD, expires_at=NOW))
    assert await asyncio.gather(adapter.destroy("expired"), adapter.destroy("missing")) == [False, False]
    assert (await adapter._reader.fetch(f"SELECT count(*) FROM {adapter.table.sql}"))[0][0] == 0


async def test_a_destroy_among_other_operations_on_its_handle(adapter: PostgresSessionAdapter) -> None:
    """What was created or rotated before it in the same batch is what it removes."""
    answers = await asyncio.gather(
        adapter.destroy("a"),
        adapter.create("a", RECORD),
        adapter.destroy("a"),
        adapter.destroy("a"),
        adapter.create("a", RECORD),
        rotate(adapter, "a", "b", replace(RECORD, version=2)),
        adapter.destroy("a"),
        adapter.destroy("b"),
        adapter.update("b", replace(RECORD, version=3)),
        adapter.update("b", replace(RECORD, version=3)),
    )
    assert answers == [False, True, True, False, True, True, True, True, False, False]
