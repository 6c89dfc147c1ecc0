"""A row that another transaction holds delays its own session, and nobody else; what is decided then is right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.postgres.conftest import MakePostgres
from tests.postgres.holder import EXPIRED, RECORD, SECOND, Holder, create_all


@pytest.fixture(params=["dsn", "pool"])
async def adapter(
    request: pytest.FixtureRequest, make_postgres: MakePostgres, pool: asyncpg.Pool
) -> AsyncIterator[PostgresSessionAdapter]:
    """An open adapter on a clock that stands still."""
    adapter = make_postgres() if request.param == "dsn" else make_postgres(pool)
    adapter.clock = FakeClock()
    await adapter.open()
    yield adapter
    await adapter.close()


OPERATIONS: dict[str, tuple[Callable[[PostgresSessionAdapter], Awaitable[bool]], bool]] = {
    "create": (lambda adapter: adapter.create("held", RECORD), False),
    "create where one has expired": (lambda adapter: adapter.create("over", RECORD), True),
    "update": (lambda adapter: adapter.update("held", SECOND), True),
    "renew": (lambda adapter: adapter.renew("held", None), True),
    "destroy": (lambda adapter: adapter.destroy("held"), True),
    "destroy what has expired": (lambda adapter: adapter.destroy("over"), False),
    "rotate": (lambda adapter: rotate(adapter, "held", "new", SECOND), True),
    "rotate to where one has expired": (lambda adapter: rotate(adapter, "free", "over", SECOND), True),
    "rotate to where one lives": (lambda adapter: rotate(adapter, "free", "held", SECOND), False),
    "rotate both": (lambda adapter: rotate(adapter, "held", "over", SECOND), True),
}


@pytest.mark.parametrize(("operate", "expected"), OPERATIONS.values(), ids=OPERATIONS)
async def test_a_lock_delays_its_own_session_only(
    adapter: PostgresSessionAdapter,
    holder: Holder,
    operate: Callable[[PostgresSessionAdapter], Awaitable[bool]],
    *,
    expected: bool,
) -> None:
    """Seven writes of the same batch are through while the row is held, and it is decided when it is free."""
    await create_all(adapter, held=RECORD, free=RECORD, over=EXPIRED, **{str(name): RECORD for name in range(6)})
    await holder.hold("held", "over")
    held = asyncio.ensure_future(operate(adapter))
    others = await asyncio.gather(
        *(adapter.update(str(name), SECOND) for name in range(4)),
        rotate(adapter, "4", "6", SECOND),
        adapter.destroy("5"),
        adapter.create("7", RECORD),
    )
    assert others == [True] * 7
    assert not held.done()
    await holder.commit()
    assert await held is expected


async def test_nobody_waits_in_the_server_for_a_row_that_can_be_seen(
    adapter: PostgresSessionAdapter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held row is passed over, whatever is to be done with it: no statement is even refused for it."""
    await create_all(adapter, held=RECORD, free=RECORD, over=EXPIRED, past=EXPIRED)
    refused: list[BaseException] = []
    fetch = asyncpg.Connection.fetch

    async def watched(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await fetch(self, *args, **options)
        except Exception as error:
            refused.append(error)
            raise

    monkeypatch.setattr(asyncpg.Connection, "fetch", watched)
    await holder.hold("held", "over", "past")
    calls = [
        adapter.update("held", SECOND),
        rotate(adapter, "free", "over", SECOND),
        adapter.create("past", RECORD),
    ]
    held = [asyncio.ensure_future(call) for call in calls]
    assert await adapter.create("bystander", RECORD)
    await holder.commit()
    assert await asyncio.gather(*held) == [True, True, True]
    assert refused == []


async def test_a_neighbour_that_fails_does_not_decide_what_is_held(
    adapter: PostgresSessionAdapter, holder: Holder
) -> None:
    """Where each is tried by itself, a held row still waits on the side."""
    await create_all(adapter, held=RECORD)
    await holder.hold("held")
    held = asyncio.ensure_future(adapter.update("held", SECOND))
    answers = await asyncio.gather(
        adapter.create("bad", replace(RECORD, version=2**63)), adapter.create("good", RECORD), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [asyncpg.DataError, bool]
    assert not held.done()
    await holder.commit()
    assert await held


async def test_what_cannot_win_is_not_delayed(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """An update of a version that is gone has lost, whoever holds the row."""
    await create_all(adapter, held=RECORD, other=RECORD)
    await holder.hold("held")
    assert not await adapter.update("held", replace(RECORD, version=7))
    assert not await rotate(adapter, "missing", "held", SECOND)
    assert not await rotate(adapter, "other", "held", replace(RECORD, version=7))
    await holder.commit()


async def test_whoever_holds_it_may_change_it(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """What waited is decided by what is there afterwards."""
    await create_all(adapter, updated=RECORD, destroyed=RECORD, bystander=RECORD)
    await holder.hold("updated", "destroyed")
    held = [
        asyncio.ensure_future(operation)
        for operation in (
            adapter.update("updated", SECOND),
            rotate(adapter, "destroyed", "new", SECOND),
            adapter.create("destroyed", RECORD),
        )
    ]
    assert await adapter.destroy("bystander")
    await holder.connection.execute(f"UPDATE {holder.table} SET version = 2 WHERE handle = 'updated'")
    await holder.connection.execute(f"DELETE FROM {holder.table} WHERE handle = 'destroyed'")
    await holder.commit()
    assert await asyncio.gather(*held) == [False, False, True]
    assert await adapter.load("updated") == replace(RECORD, version=2)
    assert await adapter.load("new") is None


@pytest.mark.parametrize("committed", [True, False])
async def test_a_row_that_is_being_inserted(
    adapter: PostgresSessionAdapter, holder: Holder, *, committed: bool
) -> None:
    """Nobody sees it yet, and the server would wait for its end: only what needs the same handle does."""
    await create_all(adapter, old=RECORD, bystander=RECORD)
    await holder.insert("held")
    held = [asyncio.ensure_future(rotate(adapter, "old", "held", SECOND))]
    answers = await asyncio.gather(adapter.create("new", RECORD), adapter.update("bystander", SECOND))
    assert answers == [True, True]
    held.append(asyncio.ensure_future(adapter.create("held", RECORD)))
    assert await adapter.renew("bystander", None)
    assert not held[0].done()
    await (holder.commit() if committed else holder.roll_back())
    assert await asyncio.gather(*held) == [not committed, False]
    assert await adapter.load("old") == (RECORD if committed else await _retired(adapter))


async def test_a_table_that_is_held_is_not_tried_row_by_row(
    adapter: PostgresSessionAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a statement may wait for no lock (the role's ``lock_timeout``), a batch costs three waits, not hundreds."""
    handles = [str(name) for name in range(20)]
    fetch = asyncpg.Connection.fetch
    free = asyncio.Event()
    refused: list[int] = []

    async def refuse(self: Any, statement: str, now: float, kinds: list[bytes], *columns: Any) -> Any:
        if free.is_set():
            return await fetch(self, statement, now, kinds, *columns)
        refused.append(len(kinds))
        if len(refused) == 6:
            free.set()
        raise asyncpg.LockNotAvailableError("on purpose")

    monkeypatch.setattr(asyncpg.Connection, "fetch", refuse)
    answers = await asyncio.gather(*(adapter.create(handle, RECORD) for handle in handles))
    monkeypatch.undo()
    assert answers == [True] * 20
    assert refused == [20, 1, 1, 20, 1, 1]


async def _retired(adapter: PostgresSessionAdapter) -> SessionRecord | None:
    record = await adapter.load("old")
    assert record is not None
    assert record.retired
    return record
