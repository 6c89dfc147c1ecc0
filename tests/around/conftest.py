"""Stores of every kind, for adapters around them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SQLiteSessionAdapter
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing.contract import owners, scans

MakeAdapter = Callable[[], SessionAdapter]
MakeStore = Callable[[str], MakeAdapter]


@pytest.fixture(autouse=True)
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each change as many records as take every store a few steps; the stores themselves are tried with more."""
    if request.node.get_closest_marker("long") is None:
        for laws in (owners, scans):
            monkeypatch.setattr(laws, "_MANY", 400)


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Make an empty store of a kind; it is a function that makes adapters on it."""

    def make(kind: str) -> MakeAdapter:
        name = f"around_{secrets.token_hex(6)}"
        if kind == "memory":
            adapter = MemorySessionAdapter()
            return lambda: adapter
        if kind == "sqlite":
            return lambda: SQLiteSessionAdapter(tmp_path / f"{name}.db", synchronous="OFF")
        if kind == "redis":
            url = request.getfixturevalue("redis_server").url
            return lambda: RedisSessionAdapter(url, prefix=f"{name}:")
        dsn = request.getfixturevalue("postgres_server").dsn
        return lambda: PostgresSessionAdapter(dsn, schema=name, create_schema=True)

    return make
