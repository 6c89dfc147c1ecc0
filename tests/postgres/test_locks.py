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
from aiohttp_spry_session.adapters.postgres import waiting as postgres_waiting
from aiohttp_spry_session.adapters.postgres.rows import key_of
from aiohttp_spry_session.adapters.postgres.statements import Kind, Row
from aiohttp_spry_session.adapters.postgres.waves import Operation
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.postgres.conftest import MakePostgres
from tests.servers.postgres import PostgresServer

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200)
SECOND = replace(RECORD, version=2, payload=b"second")
EXPIRED = replace(RECORD, expires_at=NOW)


class Holder:
    """Another transaction."""

    def __init__(self, connection: asyncpg.Connection, table: str) -> None:
        self.connection = connection
        self.table = table
        self._transaction = connection.transaction()

    async def hold(self, *handles: str) -> None:
        """Take hold of rows."""
        await self._transaction.start()
        keys = [key_of(handle) for handle in handles]
        await self.connection.fetch(f"SELECT FROM {self.table} WHERE handle = ANY($1) FOR UPDATE", keys)

    async def insert(self, handle: str) -> None:
        """Insert a row that nobody sees yet."""
        await self._transaction.start()
        await self.connection.execute(
            f"INSERT INTO {self.table} VALUES ($1, 'x', 1, $2, NULL, NULL, false)", key_of(handle), NOW
        )

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()


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


@pytest.fixture
async def holder(adapter: PostgresSessionAdapter, postgres_server: PostgresServer) -> AsyncIterator[Holder]:
    connection = await asyncpg.connect(postgres_server.dsn)
    yield Holder(connection, adapter.table.sql)
    await connection.close()


async def _create(adapter: PostgresSessionAdapter, **records: SessionRecord) -> None:
    assert all(await asyncio.gather(*(adapter.create(handle, record) for handle, record in records.items())))


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
    await _create(adapter, held=RECORD, free=RECORD, over=EXPIRED, **{str(name): RECORD for name in range(6)})
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
    await _create(adapter, held=RECORD, free=RECORD, over=EXPIRED, past=EXPIRED)
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
    await _create(adapter, held=RECORD)
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
    await _create(adapter, held=RECORD, other=RECORD)
    await holder.hold("held")
    assert not await adapter.update("held", replace(RECORD, version=7))
    assert not await rotate(adapter, "missing", "held", SECOND)
    assert not await rotate(adapter, "other", "held", replace(RECORD, version=7))
    await holder.commit()


async def test_whoever_holds_it_may_change_it(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """What waited is decided by what is there afterwards."""
    await _create(adapter, updated=RECORD, destroyed=RECORD, bystander=RECORD)
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


async def test_operations_on_a_held_row_keep_their_order(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """Within a batch and from one batch to the next, also where a rotation ties two handles together."""
    await _create(adapter, held=RECORD, bystander=RECORD)
    await holder.hold("held")
    calls: list[Awaitable[bool]] = [
        adapter.update("held", SECOND),
        adapter.update("held", replace(SECOND, payload=b"too late")),
        rotate(adapter, "held", "never", SECOND),
        adapter.update("held", replace(RECORD, version=3)),
        rotate(adapter, "held", "new", replace(RECORD, version=4)),
        adapter.update("new", replace(RECORD, version=5)),
    ]
    held = [asyncio.ensure_future(call) for call in calls]
    assert await adapter.renew("bystander", None)
    calls = [
        adapter.update("new", replace(RECORD, version=6)),
        adapter.create("new", RECORD),
        adapter.destroy("new"),
        adapter.destroy("new"),
        adapter.create("new", RECORD),
    ]
    held += [asyncio.ensure_future(call) for call in calls]
    assert await adapter.renew("bystander", None)
    assert not any(call.done() for call in held)
    await holder.commit()
    assert await asyncio.gather(*held) == [True, False, False, True, True, True, True, False, True, False, True]
    assert await adapter.load("new") == RECORD


async def test_whoever_gives_up_takes_the_operation_back(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """A rotation that was cancelled while the row was held never lands."""
    await _create(adapter, held=RECORD, bystander=RECORD)
    await holder.hold("held")
    given_up = asyncio.ensure_future(rotate(adapter, "held", "new", SECOND))
    later = asyncio.ensure_future(adapter.renew("held", None))
    assert await adapter.renew("bystander", None)
    given_up.cancel()
    await asyncio.wait([given_up])
    await holder.commit()
    assert await later
    assert await adapter.load("held") == replace(RECORD, version=2, expires_at=None)
    assert await adapter.load("new") is None


async def test_whoever_gives_up_while_it_is_on_its_way_is_not_told(
    adapter: PostgresSessionAdapter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take effect, once; the others are not disturbed."""
    await _create(adapter, held=RECORD, bystander=RECORD)
    await holder.hold("held")
    given_up = asyncio.ensure_future(adapter.update("held", SECOND))
    later = asyncio.ensure_future(adapter.renew("held", None))
    assert await adapter.renew("bystander", None)
    fetch = asyncpg.Connection.fetch
    away = asyncio.Event()
    free = asyncio.Event()

    async def slow(self: Any, *args: Any, **options: Any) -> Any:
        away.set()
        await free.wait()
        return await fetch(self, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", slow)
    await away.wait()
    given_up.cancel()
    await asyncio.wait([given_up])
    monkeypatch.undo()
    await holder.commit()
    free.set()
    assert await later
    assert given_up.cancelled()
    assert await adapter.load("held") == replace(SECOND, version=3, expires_at=None)


async def test_nobody_waits_for_ever(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """After ``command_timeout`` it fails, and says truly that nothing was changed."""
    await _create(adapter, held=RECORD)
    adapter._batches._waiting._patience = 0.1
    await holder.hold("held")
    answers = await asyncio.gather(
        rotate(adapter, "held", "new", SECOND), adapter.update("held", SECOND), return_exceptions=True
    )
    message = "another transaction has held the session's row for 0.1 s: nothing was changed"
    assert [(type(answer), str(answer)) for answer in answers] == [(TimeoutError, message)] * 2
    await holder.commit()
    assert await adapter.load("held") == RECORD
    assert await adapter.load("new") is None


@pytest.mark.parametrize("committed", [True, False])
async def test_a_row_that_is_being_inserted(
    adapter: PostgresSessionAdapter, holder: Holder, *, committed: bool
) -> None:
    """Nobody sees it yet, and the server would wait for its end: only what needs the same handle does."""
    await _create(adapter, old=RECORD, bystander=RECORD)
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


async def test_many_held_rows_go_in_statements_of_a_bounded_size(
    adapter: PostgresSessionAdapter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them gets its turn."""
    monkeypatch.setattr(postgres_waiting, "_LIMIT", 3)
    handles = [str(name) for name in range(8)]
    await _create(adapter, bystander=RECORD, **dict.fromkeys(handles, RECORD))
    await holder.hold(*handles)
    held = [asyncio.ensure_future(adapter.destroy(handle)) for handle in handles]
    assert await adapter.renew("bystander", None)
    await holder.commit()
    assert await asyncio.gather(*held) == [True] * 8


async def test_closing_waits_for_what_a_lock_holds_up(make_postgres: MakePostgres, holder: Holder) -> None:
    """Whoever was promised an answer gets it."""
    adapter = make_postgres()
    adapter.clock = FakeClock()
    await adapter.open()
    await _create(adapter, held=RECORD, bystander=RECORD)
    await holder.hold("held")
    held = asyncio.ensure_future(adapter.update("held", SECOND))
    assert await adapter.renew("bystander", None)
    closing = asyncio.ensure_future(adapter.close())
    await holder.commit()
    await closing
    assert await held


async def test_a_failure_while_waiting_is_told_and_nothing_is_sent_twice(
    adapter: PostgresSessionAdapter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was on its way when the connection was lost fails, with what depends on it; what was not yet is decided."""
    await _create(adapter, held=RECORD, bystander=RECORD)
    await holder.hold("held")
    calls = [adapter.update("held", SECOND), adapter.update("held", SECOND), adapter.renew("held", NOW + 1300)]
    held = [asyncio.ensure_future(call) for call in calls]
    assert await adapter.renew("bystander", None)
    fetch = asyncpg.Connection.fetch
    sent = 0

    async def lose(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == 1:
            raise asyncpg.ConnectionDoesNotExistError("on purpose")
        return await fetch(self, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", lose)
    *lost, renewed = await asyncio.gather(*held[:2], _after(held[:2], holder.commit()), return_exceptions=True)
    assert [type(answer) for answer in lost] == [asyncpg.ConnectionDoesNotExistError] * 2
    assert renewed is None
    assert await held[2]
    assert await adapter.load("held") == replace(RECORD, version=2, expires_at=NOW + 1300)


async def _after(tasks: list[asyncio.Future[bool]], action: Awaitable[None]) -> None:
    await asyncio.wait(tasks)
    await action


def test_a_loop_that_shuts_down_leaves_nobody_waiting(
    make_postgres: MakePostgres, postgres_server: PostgresServer
) -> None:
    """Its tasks are cancelled, and so is whoever waited for them."""
    adapter = make_postgres()
    adapter.clock = FakeClock()

    async def leave() -> asyncio.Future[bool]:
        await adapter.open()
        await _create(adapter, held=RECORD, bystander=RECORD)
        holder = Holder(await asyncpg.connect(postgres_server.dsn), adapter.table.sql)
        await holder.hold("held")
        held = adapter._writes.submit(Operation([Row(Kind.DESTROY, key_of("held"))]))
        answer = await held
        assert isinstance(answer, asyncio.Future)
        holder.connection.terminate()
        adapter._writer._connection.terminate()  # type: ignore[attr-defined]
        return answer

    assert asyncio.run(leave()).cancelled()
    assert not adapter._batches._waiting.handles
