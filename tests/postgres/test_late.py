"""A rotation that the server carries out after its caller has given up: nobody is told, and it obeys the version."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing.contract.base import rotate
from tests.servers.postgres import PostgresServer

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200)
ROTATED = replace(RECORD, version=2, payload=b"rotated")


async def _give_up(adapter: PostgresSessionAdapter, holder: asyncpg.Connection) -> None:
    """Rotate while the whole table is held, so that the statement waits in the server, for longer than allowed."""
    assert await adapter.create("old", RECORD)
    await holder.execute(f"BEGIN; LOCK TABLE {adapter.table.sql} IN EXCLUSIVE MODE")
    adapter._writer._timeout = 0.2
    with pytest.raises(TimeoutError, match=r"^PostgreSQL did not answer within 0\.2 s$"):
        await rotate(adapter, "old", "new", ROTATED)
    adapter._writer._timeout = 10.0
    assert await _statements(adapter, holder) == 1, "the server does not know that nobody waits any more"


async def _statements(adapter: PostgresSessionAdapter, holder: asyncpg.Connection) -> int:
    """How many statements on the table the server has under way for others."""
    count: int = await holder.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE state = 'active' AND pid <> pg_backend_pid() AND position($1 IN query) > 0",
        adapter.table.sql,
    )
    return count


async def _release(adapter: PostgresSessionAdapter, holder: asyncpg.Connection) -> None:
    await holder.execute("COMMIT")
    while await _statements(adapter, holder):
        pass


@pytest.fixture
async def holder(postgres_server: PostgresServer):
    connection = await asyncpg.connect(postgres_server.dsn)
    yield connection
    await connection.close()


async def test_a_late_rotation_finds_its_version_gone(
    adapter: PostgresSessionAdapter, holder: asyncpg.Connection
) -> None:
    """Where the old record was settled by a write meanwhile, it changes nothing."""
    await _give_up(adapter, holder)
    await holder.execute(f"UPDATE {adapter.table.sql} SET version = 2 WHERE handle = 'old'")
    await _release(adapter, holder)
    assert await adapter.load("old") == replace(RECORD, version=2)
    assert await adapter.load("new") is None


async def test_a_late_rotation_is_whole(adapter: PostgresSessionAdapter, holder: asyncpg.Connection) -> None:
    """Where nobody has settled it, it lands: both rows, so that whoever settles it then finds the new one."""
    await _give_up(adapter, holder)
    await _release(adapter, holder)
    old = await adapter.load("old")
    assert old is not None
    assert old.retired
    assert await adapter.load("new") == ROTATED
    assert not await adapter.update("old", replace(RECORD, version=2))


async def test_of_a_late_rotation_and_its_settlement_one_wins(
    adapter: PostgresSessionAdapter, holder: asyncpg.Connection
) -> None:
    """Both wait in the server for the same row: the session is either where it was, or where it went."""
    await _give_up(adapter, holder)
    adapter._writer._timeout = 0.2
    with pytest.raises(TimeoutError):
        await adapter.update("old", replace(RECORD, version=2))
    adapter._writer._timeout = 10.0
    await _release(adapter, holder)
    old, new = await adapter.load("old"), await adapter.load("new")
    assert old is not None
    assert (old.retired, new) in [(True, ROTATED), (False, None)]
