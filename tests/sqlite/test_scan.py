"""Listing and counting what a SQLite file holds."""

from __future__ import annotations

import pytest

from aiohttp_spry_session import AdapterError, SQLiteSessionAdapter
from aiohttp_spry_session.testing.contract.base import a_record

from .support import query
from .test_hostile import CORRUPT, NOT_UTF_8


async def scanned(adapter):
    """The handles that a scan answers, in order."""
    return [handle async for handle, _ in adapter.scan()]


@pytest.mark.parametrize(("column", "value"), CORRUPT)
async def test_a_corrupt_record_fails_none_of_its_neighbours(adapter, path, clock, caplog, column, value):
    """They come, the records of the same page and those after it; what cannot be loaded does not come."""
    for number in range(300):
        await adapter.create(f"{number:03}", a_record(clock, owner="ada"))
    query(path, f"UPDATE sessions SET {column} = {value} WHERE handle = '007'")
    expected = [f"{number:03}" for number in range(300) if number != 7]
    loaded = await adapter.load("007")
    assert await scanned(adapter) == sorted(expected + (["007"] if loaded and not loaded.retired else []))
    assert await adapter.count() in (299, 300)


@pytest.mark.parametrize("handle", [NOT_UTF_8, "x'41'", "x''", "CAST('é' AS BLOB)"])
async def test_a_handle_that_is_none_leads_nowhere(adapter, path, clock, monkeypatch, handle):
    """Be it alone, first, last or in the midst of a page, and where it ends one: the others come, each once."""
    monkeypatch.setattr("aiohttp_spry_session.adapters.sqlite.adapter._SCAN_STEP", 2)
    monkeypatch.setattr("aiohttp_spry_session.adapters.sqlite.adapter._COUNT_STEP", 2)
    for name in ("a", "b", "\U0001f36a", "\U0001f36b"):
        await adapter.create(name, a_record(clock))
        await adapter.create(f"{name}'", a_record(clock))
    query(path, f"UPDATE sessions SET handle = {handle} WHERE handle = 'b'")
    sound = ["a", "a'", "b'", "\U0001f36a", "\U0001f36a'", "\U0001f36b", "\U0001f36b'"]
    assert await scanned(adapter) == sound
    assert await adapter.count() in (7, 8)


@pytest.mark.parametrize("many", [1, 2, 3, 4, 5])
async def test_pages_of_every_length(adapter, clock, monkeypatch, many):
    """Whether the last page is full or not, nothing is left out, and nothing comes twice."""
    monkeypatch.setattr("aiohttp_spry_session.adapters.sqlite.adapter._SCAN_STEP", 2)
    monkeypatch.setattr("aiohttp_spry_session.adapters.sqlite.adapter._COUNT_STEP", 2)
    handles = ["", "\x00", "\x00\x00", "a", "a\x00"][:many]
    for handle in handles:
        await adapter.create(handle, a_record(clock))
    assert await scanned(adapter) == handles
    assert await adapter.count() == many


async def test_a_closed_adapter_says_so(tmp_path):
    """As every other operation does; one that is closed meanwhile too."""
    adapter = SQLiteSessionAdapter(tmp_path / "sessions.db")
    with pytest.raises(AdapterError, match="scan: the adapter is not open"):
        await scanned(adapter)
    with pytest.raises(AdapterError, match="count: the adapter is not open"):
        await adapter.count()
