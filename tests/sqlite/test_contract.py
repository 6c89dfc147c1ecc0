"""The SQLite adapter keeps the contract, in a file and in memory."""

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.testing import AdapterContract


class TestSQLite(AdapterContract):
    """Two adapters on one file."""

    @pytest.fixture
    def make_adapter(self, tmp_path):
        return lambda: SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF")


class TestSQLiteInMemory(AdapterContract):
    """Each adapter is a store of its own, which is gone when it is closed."""

    shares_store = False
    survives_reopening = False

    @pytest.fixture
    def make_adapter(self):
        return lambda: SQLiteSessionAdapter(":memory:")
