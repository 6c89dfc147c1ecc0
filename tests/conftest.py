"""Fixtures for every test."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SQLiteSessionAdapter
from aiohttp_spry_session.testing import FakeClock

from .support import Carrier, WatchedAdapter

pytest_plugins = ["tests.servers.plugin"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name changes: mutmut does not find it again, and takes that for a failure.

    A name may hold an address; and what a function for ``ids`` returns, pytest escapes once more at each collection.
    """
    for item in items:
        made = any(callable(mark.kwargs.get("ids")) for mark in item.iter_markers("parametrize"))
        if " at 0x" in item.nodeid or (made and "\\" in item.nodeid):
            raise pytest.UsageError(f"give this case another name: {item.nodeid}")


def pytest_collection_finish() -> None:
    """Keep ten thousand tests out of what the garbage collector looks at: some of them ask for it again and again."""
    if hypothesis.__version_info__ >= (6, 170):  # the lowest one takes for garbage whose holders it cannot list
        gc.collect()
        gc.freeze()


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> WatchedAdapter:
    """A watched store of the core install."""
    if request.param == "memory":
        return WatchedAdapter(MemorySessionAdapter())
    return WatchedAdapter(SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF"))


@pytest.fixture
def memory() -> WatchedAdapter:
    """A watched store, where it does not matter which."""
    return WatchedAdapter(MemorySessionAdapter())


@pytest.fixture
def make_manager(store: WatchedAdapter, clock: FakeClock) -> Callable[..., SessionManager]:
    """Make managers on the store and the clock of the test."""

    def make(**options: Any) -> SessionManager:
        options.setdefault("header", Carrier.header)
        return SessionManager(options.pop("adapter", store), clock=options.pop("clock", clock), **options)

    return make


@pytest.fixture
def manager(make_manager: Callable[..., SessionManager]) -> SessionManager:
    """A manager with the default options."""
    return make_manager()
