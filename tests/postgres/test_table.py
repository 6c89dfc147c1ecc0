"""How the table is kept: purged by one worker at a time, read by its indexes, written without touching them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session import AdapterError, SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.postgres import adapter as postgres
from aiohttp_spry_session.adapters.postgres.rows import key_of
from tests.postgres.conftest import MakePostgres
from tests.servers.postgres import PostgresServer

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data" * 20, 1, NOW, NOW + 1200)


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    """Another connection to the same database."""
    connection = await asyncpg.connect(postgres_server.dsn)
    yield connection
    await connection.close()


async def create_many(adapter: PostgresSessionAdapter, number: int, record: SessionRecord = RECORD) -> None:
    assert all(await asyncio.gather(*(adapter.create(str(name), record) for name in range(number))))


async def test_purge_goes_in_steps(adapter: PostgresSessionAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that has expired goes, however many steps it takes, and is counted; a step is short."""
    monkeypatch.setattr(postgres, "_PURGE_STEP", 10)
    await create_many(adapter, 35, replace(RECORD, expires_at=NOW))
    await adapter.create("live", RECORD)
    await adapter.create("endless", replace(RECORD, expires_at=None))
    assert (await adapter._writer.fetch(adapter._statements.purge, NOW, 10))[0][0] == 10
    assert await adapter._purge([None]) == [10]
    assert await adapter.purge() == 15
    assert await adapter.purge() == 0
    assert await adapter.load("live") == RECORD


async def test_one_worker_purges_at_a_time(adapter: PostgresSessionAdapter, database: asyncpg.Connection) -> None:
    """While another worker is at it, there is nothing to do; its turn ends with its statement."""
    await create_many(adapter, 3, replace(RECORD, expires_at=NOW))
    async with database.transaction():
        assert await database.fetchval(adapter._statements.purge, NOW, 1) == 1
        assert await adapter.purge() == 0
    assert await adapter.purge() == 2


async def test_purge_of_one_table_does_not_wait_for_another(
    adapter: PostgresSessionAdapter, make_postgres: MakePostgres, database: asyncpg.Connection
) -> None:
    """Each table has a turn of its own."""
    await create_many(adapter, 1, replace(RECORD, expires_at=NOW))
    other = make_postgres(table="other")
    await other.open()
    async with database.transaction():
        await database.fetchval(other._statements.purge, NOW, 1)
        assert await adapter.purge() == 1
    await other.close()


async def test_purge_passes_over_a_row_that_is_being_changed(
    adapter: PostgresSessionAdapter, database: asyncpg.Connection
) -> None:
    """A row in somebody else's hands holds nobody up, and is left for the next time."""
    await create_many(adapter, 3, replace(RECORD, expires_at=NOW))
    async with database.transaction():
        await database.execute(f"SELECT FROM {adapter.table.sql} WHERE handle = '1' FOR UPDATE")
        assert await adapter.purge() == 2
    assert await adapter.purge() == 1


async def _plans(adapter: PostgresSessionAdapter, database: asyncpg.Connection) -> str:
    """How the server carries out the statements, whatever their parameters."""
    found: list[str] = []
    pages = (adapter._statements.scan_page, adapter._statements.count_page)  # which read the whole table, in steps
    for statement in adapter._statements:
        if statement in pages:
            continue
        types = await database.prepare(statement)
        arguments = ", ".join(["NULL"] * len(types.get_parameters()))
        await database.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE planned AS {statement}")
        found += [row[0] for row in await database.fetch(f"EXPLAIN EXECUTE planned ({arguments})")]
        await database.execute("DEALLOCATE planned")
    return "\n".join(found)


@pytest.mark.parametrize("state", ["new", "filled", "analysed"])
async def test_every_statement_uses_an_index(
    adapter: PostgresSessionAdapter, database: asyncpg.Connection, state: str
) -> None:
    """No plan reads the whole table, not even the one that is made while it is empty and kept while it grows."""
    if state != "new":
        records = {str(name): replace(RECORD, owner=f"owner {name // 5}") for name in range(2000)}
        await asyncio.gather(*(adapter.create(handle, record) for handle, record in records.items()))
    if state == "analysed":
        await database.execute(f"VACUUM ANALYZE {adapter.table.sql}")
    plans = await _plans(adapter, database)
    assert "sessions_pkey" in plans
    assert "Seq Scan" not in plans


async def test_writes_stay_out_of_the_indexes(adapter: PostgresSessionAdapter, database: asyncpg.Connection) -> None:
    """Updates that do not move the end stay in their page (HOT): hundreds of them leave every index as it was."""
    await create_many(adapter, 20, replace(RECORD, owner="owner"))

    async def sizes() -> list[Any]:
        return await database.fetch(
            "SELECT indexrelid, pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = $1::regclass",
            adapter.table.sql,
        )

    before = await sizes()
    assert len(before) == 3
    for version in range(2, 202):
        draft = replace(RECORD, owner="owner", version=version)
        assert all(await asyncio.gather(*(adapter.update(str(name), draft) for name in range(20))))
    assert await sizes() == before


async def test_any_number_survives(adapter: PostgresSessionAdapter) -> None:
    """Times are kept to the last bit, and versions as large as they may become."""
    record = SessionRecord(b"", 2**63 - 1, 0.1 + 0.2, 253_402_300_799.99997)
    await adapter.create("handle", record)
    assert await adapter.load("handle") == record


async def test_time_is_the_adapters(adapter: PostgresSessionAdapter) -> None:
    """The server's clock decides nothing."""
    await adapter.create("handle", replace(RECORD, expires_at=NOW + 1))
    assert await adapter.load("handle") is not None
    adapter.clock.advance(1)  # type: ignore[attr-defined]
    assert await adapter.load("handle") is None


CALLS: dict[str, tuple[Any, ...]] = {
    "load": ("handle",),
    "create": ("handle", RECORD),
    "update": ("handle", RECORD),
    "renew": ("handle", None),
    "rotate": ("handle", "other", RECORD, RECORD),
    "destroy": ("handle",),
    "find": ("owner",),
    "purge": (),
}


@pytest.mark.parametrize("operation", CALLS)
async def test_a_closed_adapter_says_so(adapter: PostgresSessionAdapter, operation: str) -> None:
    """Before ``open`` and after ``close`` every operation is an ``AdapterError`` that says what to do."""
    await adapter.close()
    with pytest.raises(AdapterError) as caught:
        await getattr(adapter, operation)(*CALLS[operation])
    assert str(caught.value) == (
        f"session store: {operation}: the adapter is not open: use setup(app, manager), "
        "or 'async with manager:' in a script"
    )


@pytest.mark.parametrize("text", ["\ud800", "\x00ü", "x" * 1024, "ü" * 512, "x" * 1025, "\ud800" * 2000])
async def test_any_text_is_a_handle_and_an_owner(adapter: PostgresSessionAdapter, text: str) -> None:
    """What has no proper encoding, and what is longer than a key may be, comes back as it was."""
    record = replace(RECORD, owner=text)
    assert await adapter.create(text, record)
    assert await adapter.load(text) == record
    assert await adapter.find(text) == {text: record}
    await adapter.destroy(text)
    assert await adapter.load(text) is None


def test_a_handle_is_its_own_key_where_there_is_room() -> None:
    """Up to 1024 bytes; a longer one is there as a digest that no text is."""
    assert key_of("x" * 1024) == b"x" * 1024
    assert len(key_of("x" * 1025)) == 33
    assert key_of("x" * 1025)[:1] == b"\xff"
