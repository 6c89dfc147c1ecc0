"""Rows that nobody here wrote: each is absent and reported, and none fails its neighbours."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.postgres.rows import key_of

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200, "owner")
LONG = "x" * 2000

CORRUPT = {
    "created at no number": "created_at = 'NaN'",
    "created at infinity": "created_at = 'Infinity'",
    "created before all time": "created_at = '-Infinity'",
    "created after the year 9999": "created_at = 253402300800",
    "created before the year 1": "created_at = -62135596801",
    "ends at no number": "expires_at = 'NaN'",
    "ends at infinity": "expires_at = 'Infinity'",
    "ends after the year 9999": "expires_at = 1e300",
    "no version": "version = NULL",
    "no payload": "payload = NULL",
    "neither retired nor not": "retired = NULL",
    "no creation": "created_at = NULL",
}


@pytest.fixture
async def table(adapter: PostgresSessionAdapter) -> str:
    """The table's name; it has lost its constraints, and holds three sessions of one owner."""
    for column in ("version", "payload", "retired", "created_at"):
        await adapter._writer.fetch(f"ALTER TABLE {adapter.table.sql} ALTER {column} DROP NOT NULL")
    for handle in ("first", "second", "third"):
        await adapter.create(handle, RECORD)
    return adapter.table.sql


def _reported(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "aiohttp_spry_session"]


@pytest.mark.parametrize("change", CORRUPT.values(), ids=CORRUPT)
async def test_a_row_that_makes_no_sense_is_absent(
    adapter: PostgresSessionAdapter, table: str, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """It is reported by its handle, and its neighbours in the batch are loaded and found."""
    await adapter._writer.fetch(f"UPDATE {table} SET {change} WHERE handle = 'second'")
    loads = await asyncio.gather(*map(adapter.load, ("first", "second", "third")))
    assert loads == [RECORD, None, RECORD]
    assert _reported(caplog) == ["the stored session 'second' is corrupt and counts as absent"]
    found, nobody = await asyncio.gather(adapter.find("owner"), adapter.find("nobody"))
    assert (found, nobody) == ({"first": RECORD, "third": RECORD}, {})


@pytest.mark.parametrize("owner", [b"\xff", b"\xc3", b"\xc0\x80"])
async def test_an_owner_that_is_no_text(
    adapter: PostgresSessionAdapter, table: str, caplog: pytest.LogCaptureFixture, owner: bytes
) -> None:
    """The record is absent, and those beside it are loaded."""
    await adapter._writer.fetch(f"UPDATE {table} SET owner = $1 WHERE handle = 'second'", owner)
    assert await asyncio.gather(*map(adapter.load, ("first", "second", "third"))) == [RECORD, None, RECORD]
    assert _reported(caplog) == ["the stored session 'second' is corrupt and counts as absent"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (b"\xc3(", r"'\\xc3('"),
        (b"\xff", r"'\\xff'"),
        (b"\xff" + b"d" * 32, r"'\\xff" + "d" * 32 + "'"),
        (b"y" * 1025, "'" + "y" * 1025 + "'"),
    ],
    ids=["no text", "no digest", "the digest of something else", "too long for a key"],
)
async def test_a_handle_that_nobody_can_have_asked_for(
    adapter: PostgresSessionAdapter, table: str, caplog: pytest.LogCaptureFixture, key: bytes, shown: str
) -> None:
    """An owner's other sessions are found, and it can be named in the log."""
    await adapter._writer.fetch(f"UPDATE {table} SET handle = $1 WHERE handle = 'second'", key)
    assert await adapter.find("owner") == {"first": RECORD, "third": RECORD}
    assert _reported(caplog) == [f"the stored session {shown} is corrupt and counts as absent"]


@pytest.mark.parametrize("payload", [b"", b"\0\0", b"\0\0\7\xd0" + b"y" * 2000, None])
async def test_a_long_handle_that_is_not_in_front_of_its_payload(
    adapter: PostgresSessionAdapter, table: str, caplog: pytest.LogCaptureFixture, payload: bytes | None
) -> None:
    """Nobody gets a payload that was cut in the wrong place."""
    await adapter.create(LONG, RECORD)
    await adapter._writer.fetch(f"UPDATE {table} SET payload = $1 WHERE handle = $2", payload, key_of(LONG))
    assert await asyncio.gather(adapter.load(LONG), adapter.load("first")) == [None, RECORD]
    assert sorted(await adapter.find("owner")) == ["first", "second", "third"]
    assert len(_reported(caplog)) == 2


async def test_a_long_handle_is_reported_by_its_name(
    adapter: PostgresSessionAdapter, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by its digest, which nobody knows."""
    await adapter.create(LONG, replace(RECORD, owner=None))
    await adapter._writer.fetch(f"UPDATE {table} SET created_at = 'NaN' WHERE handle = $1", key_of(LONG))
    assert await adapter.load(LONG) is None
    assert _reported(caplog) == [f"the stored session '{LONG}' is corrupt and counts as absent"]
