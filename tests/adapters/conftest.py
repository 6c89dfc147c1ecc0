"""A SQLite file, and an adapter on it."""

from __future__ import annotations

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.testing.contract.base import opened


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
async def adapter(path, clock):
    async with opened(SQLiteSessionAdapter(path, synchronous="OFF"), clock) as adapter:
        yield adapter
