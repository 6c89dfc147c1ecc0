"""Two adapters on one store, each right as long as it is alone: most exclude no operations but their own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp_spry_session.record import latest

from ..minimal import MinimalAdapter


class Careless(MinimalAdapter):
    """Looks, lets others go first, and writes, with a lock of its own around that."""

    def __init__(self, records):
        super().__init__(records)
        self.lock = asyncio.Lock()


class CreateLocksItselfOnly(Careless):
    async def create(self, handle, record):
        async with self.lock:
            free = await self.load(handle) is None
            await asyncio.sleep(0)
            if free:
                self.records[handle] = record
            return free


class UpdateLocksItselfOnly(Careless):
    async def update(self, handle, record):
        async with self.lock:
            current = self.live(handle)
            await asyncio.sleep(0)
            if current is None or current.version != record.version - 1:
                return False
            self.records[handle] = record
            return True


class RenewLocksItselfOnly(Careless):
    async def renew(self, handle, expires_at):
        async with self.lock:
            current = self.live(handle)
            await asyncio.sleep(0)
            if current is None:
                return False
            end = latest(current.expires_at, expires_at)
            self.records[handle] = replace(current, version=current.version + 1, expires_at=end)
            return True


class RotateLocksItselfOnly(Careless):
    async def rotate(self, old, new, record, retired):
        async with self.lock:
            current = self.live(old)
            await asyncio.sleep(0)
            if current is None or current.version != record.version - 1:
                return False
            self.records[new] = record
            self.records[old] = retired
            return True


class DestroyLocksItselfOnly(Careless):
    async def destroy(self, handle):
        async with self.lock:
            there = await self.load(handle) is not None
            await asyncio.sleep(0)
            self.records.pop(handle, None)
            return there


class ClosingRemovesTheOwned(MinimalAdapter):
    """Takes what belongs to somebody out of the store when it is closed."""

    async def close(self):
        for handle in [handle for handle, record in self.records.items() if record.owner is not None]:
            del self.records[handle]


PAIRS = {
    CreateLocksItselfOnly: {"test_one_of_parallel_creations_wins"},
    UpdateLocksItselfOnly: {"test_one_of_parallel_updates_wins", "test_parallel_increments_add_up"},
    RenewLocksItselfOnly: {"test_parallel_renewals_all_count"},
    RotateLocksItselfOnly: {"test_one_of_parallel_rotations_wins"},
    DestroyLocksItselfOnly: {"test_one_of_parallel_destroys_removes_it"},
    ClosingRemovesTheOwned: {"test_another_adapter_finds_what_one_left"},
}
