"""Listing and counting what a PostgreSQL table holds."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import AdapterError
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.postgres import statements as postgres_statements
from tests.postgres.conftest import MakePostgres
from tests.postgres.test_corrupt import CORRUPT, RECORD, table  # noqa: F401 - a fixture
from tests.servers.postgres import PostgresServer


async def scanned(adapter: PostgresSessionAdapter) -> list[str]:
    """The handles that a scan answers, in order."""
    return [handle async for handle, _ in adapter.scan()]


@pytest.mark.parametrize("change", CORRUPT.values(), ids=CORRUPT)
async def test_a_corrupt_record_fails_none_of_its_neighbours(
    adapter: PostgresSessionAdapter,
    table: str,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    """They come, and it does not."""
    await adapter._writer.fetch(f"UPDATE {table} SET {change} WHERE handle = 'second'")
    assert await scanned(adapter) == ["first", "third"]
    assert await adapter.count() in (2, 3)


async def test_a_key_that_is_no_handle_is_left_out(
    adapter: PostgresSessionAdapter,
    table: str,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported."""
    await adapter._writer.fetch(f"UPDATE {table} SET handle = $1 WHERE handle = 'second'", b"g\xff")
    assert await scanned(adapter) == ["first", "third"]
    assert "is corrupt and counts as absent" in caplog.text


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two records a step."""
    for module in (postgres_statements, __import__("sys").modules[PostgresSessionAdapter.__module__]):
        monkeypatch.setattr(module, "SCAN_STEP", 2)
        monkeypatch.setattr(module, "COUNT_STEP", 2)


@pytest.mark.parametrize("many", [0, 1, 2, 3, 4, 5])
async def test_pages_of_every_length(small_pages: None, make_postgres: MakePostgres, many: int) -> None:
    """Whether the last page is full or not, nothing is left out, and nothing comes twice."""
    adapter = make_postgres()
    adapter.clock = lambda: RECORD.created_at
    await adapter.open()
    handles = ["", "\x00", "\x00\x00", "a", "x" * 3000][:many]
    await asyncio.gather(*(adapter.create(handle, RECORD) for handle in handles))
    assert await scanned(adapter) == handles
    assert await adapter.count() == many
    await adapter.close()


async def test_a_page_is_asked_for_again_where_the_connection_was_lost(
    small_pages: None, make_postgres: MakePostgres, postgres_server: PostgresServer
) -> None:
    """It is a read like any other, and goes on where it was."""
    adapter = make_postgres()
    adapter.clock = lambda: RECORD.created_at
    await adapter.open()
    handles = [f"{number}" for number in range(6)]
    await asyncio.gather(*(adapter.create(handle, RECORD) for handle in handles))
    found = []
    async for handle, _ in adapter.scan():
        found.append(handle)
        if handle == "3":
            adapter._reader._connection.terminate()  # type: ignore[attr-defined]
    assert found == handles
    await adapter.close()


async def test_a_closed_adapter_says_so(make_postgres: MakePostgres) -> None:
    """As every other operation does."""
    adapter = make_postgres()
    with pytest.raises(AdapterError, match="scan: the adapter is not open"):
        await scanned(adapter)
    with pytest.raises(AdapterError, match="count: the adapter is not open"):
        await adapter.count()
