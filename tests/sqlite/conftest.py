"""A SQLite file, and an adapter on it."""

from __future__ import annotations

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import adapter as sqlite
from aiohttp_spry_session.testing.contract.base import opened


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
async def adapter(path, clock):
    async with opened(SQLiteSessionAdapter(path, synchronous="OFF"), clock) as adapter:
        yield adapter


@pytest.fixture
def batches(monkeypatch):
    """Record the names of the operations in each transaction."""
    batches = []
    run_really = sqlite.run_together

    def run(database, now, calls):
        batches.append([function.__name__ for function, _ in calls])
        return run_really(database, now, calls)

    monkeypatch.setattr(sqlite, "run_together", run)
    return batches
