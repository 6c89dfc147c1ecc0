"""The memory adapter keeps the contract."""

import pytest

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.testing import AdapterContract


class TestMemory(AdapterContract):
    """Each adapter is a store of its own."""

    shares_store = False
    fails_when_closed = False

    @pytest.fixture
    def make_adapter(self):
        return MemorySessionAdapter
