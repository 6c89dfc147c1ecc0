"""An adapter of four methods keeps the contract by the base class's defaults."""

import asyncio

import pytest

from aiohttp_spry_session import SessionAdapter, SessionManager, SQLiteSessionAdapter
from aiohttp_spry_session.testing import AdapterContract, FakeClock

from ..minimal import MinimalAdapter


class TestMinimal(AdapterContract):
    """Adapters on one dict."""

    finds_owners = scans = purges = fails_when_closed = False

    @pytest.fixture
    def make_adapter(self):
        records = {}
        return lambda: MinimalAdapter(records)


class SuspendingAdapter(MinimalAdapter):
    """Lets everybody else go first, before and after each operation, as a store over a network does."""

    async def load(self, handle):
        await asyncio.sleep(0)
        record = await super().load(handle)
        await asyncio.sleep(0)
        return record

    async def create(self, handle, record):
        await asyncio.sleep(0)
        created = handle not in self.records or self.records[handle].is_expired(self.clock())
        if created:
            self.records[handle] = record
        await asyncio.sleep(0)
        return created

    async def update(self, handle, record):
        await asyncio.sleep(0)
        current = self.records.get(handle)
        updated = (
            current is not None
            and not current.retired
            and not current.is_expired(self.clock())
            and current.version == record.version - 1
        )
        if updated:
            self.records[handle] = record
        await asyncio.sleep(0)
        return updated

    async def destroy(self, handle):
        await asyncio.sleep(0)
        destroyed = await super().destroy(handle)
        await asyncio.sleep(0)
        return destroyed


class TestSuspending(AdapterContract):
    """The defaults hold where their steps are interleaved, too."""

    finds_owners = scans = purges = fails_when_closed = False

    @pytest.fixture
    def make_adapter(self):
        records = {}
        return lambda: SuspendingAdapter(records)


class WithoutIndexAdapter(SQLiteSessionAdapter):
    """Has a connection, no index of owners, and lets go of expired records in its own way."""

    find = SessionAdapter.find
    purge = SessionAdapter.purge
    scan = SessionAdapter.scan
    count = SessionAdapter.count


class TestWithoutIndex(AdapterContract):
    """What an adapter does not do it may leave to the base class, open or closed."""

    finds_owners = scans = purges = False

    @pytest.fixture
    def make_adapter(self, tmp_path):
        return lambda: WithoutIndexAdapter(tmp_path / "sessions.db", synchronous="OFF")


async def test_find_says_what_is_missing():
    """Without an index an owner's sessions are not found, and the message names the adapter and the method."""
    async with SessionManager(MinimalAdapter(), clock=FakeClock()) as manager:
        with pytest.raises(NotImplementedError, match=r"MinimalAdapter .* find\(\)"):
            await manager.find("ada")
        with pytest.raises(NotImplementedError, match=r"MinimalAdapter .* find\(\)"):
            await manager.revoke_owner("ada")
