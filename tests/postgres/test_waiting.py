"""What waits for a row that another transaction holds: in which order, for how long, and for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.postgres import waiting as postgres_waiting
from aiohttp_spry_session.adapters.postgres.rows import key_of
from aiohttp_spry_session.adapters.postgres.statements import Kind, Row
from aiohttp_spry_session.adapters.postgres.waves import Operation
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.postgres.conftest import MakePostgres
from tests.postgres.holder import NOW, RECORD, SECOND, Holder, create_all
from tests.servers.postgres import PostgresServer


async def test_operations_on_a_held_row_keep_their_order(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """Within a batch and from one batch to the next, also where a rotation ties two handles together."""
    await create_all(adapter, held=RECORD, bystander=RECORD)
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


async def test_nothing_is_decided_before_the_row_is_free(
    adapter: PostgresSessionAdapter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it was asked for: neither what needs the row nor what would lose to that."""
    await create_all(adapter, held=RECORD, bystander=RECORD)
    await holder.hold("held")
    held = [asyncio.ensure_future(adapter.update("held", SECOND)) for _ in range(2)]
    assert await adapter.renew("bystander", None)
    fetch = asyncpg.Connection.fetch
    rounds = 0
    enough = asyncio.Event()

    async def watched(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal rounds
        rows = await fetch(self, *args, **options)
        rounds += 1
        if rounds == 3:
            enough.set()
        return rows

    monkeypatch.setattr(asyncpg.Connection, "fetch", watched)
    await enough.wait()
    monkeypatch.undo()
    assert not any(call.done() for call in held)
    await holder.commit()
    assert await asyncio.gather(*held) == [True, False]


async def test_whoever_gives_up_takes_the_operation_back(adapter: PostgresSessionAdapter, holder: Holder) -> None:
    """A rotation that was cancelled while the row was held never lands."""
    await create_all(adapter, held=RECORD, bystander=RECORD)
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
    await create_all(adapter, held=RECORD, bystander=RECORD)
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
    await create_all(adapter, held=RECORD)
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


async def test_many_held_rows_go_in_statements_of_a_bounded_size(
    adapter: PostgresSessionAdapter, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them gets its turn."""
    monkeypatch.setattr(postgres_waiting, "_LIMIT", 3)
    handles = [str(name) for name in range(8)]
    await create_all(adapter, bystander=RECORD, **dict.fromkeys(handles, RECORD))
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
    await create_all(adapter, held=RECORD, bystander=RECORD)
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
    await create_all(adapter, held=RECORD, bystander=RECORD)
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
        await create_all(adapter, held=RECORD, bystander=RECORD)
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
