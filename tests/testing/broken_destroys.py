"""Adapters on which everything goes as it should when a record is destroyed, but for the answer."""

from __future__ import annotations

import asyncio

from aiohttp_spry_session import MemorySessionAdapter

from .broken import noticed_by

SAYS = "destroy_says_whether_there_was_a_record"
ONCE = "one_of_parallel_destroys_removes_it"


def answer(name: str, *tests: str, says: object) -> None:
    """Register an adapter that gives one answer always."""

    async def destroy(self, handle):
        await MemorySessionAdapter.destroy(self, handle)
        return says

    noticed_by(*tests)(type(name, (MemorySessionAdapter,), {"destroy": destroy}))


answer("DestroySaysYes", SAYS, ONCE, says=True)
answer("DestroySaysNo", SAYS, ONCE, "a_mixed_crowd_gets_the_answers_of_each_alone", says=False)
answer("DestroySaysNothing", SAYS, ONCE, "a_mixed_crowd_gets_the_answers_of_each_alone", says=None)


@noticed_by(SAYS)
class DestroyCountsTheExpired(MemorySessionAdapter):
    async def destroy(self, handle):
        there = handle in self._records
        await super().destroy(handle)
        return there


@noticed_by(SAYS)
class DestroyCountsTheExpiredRetired(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._records.get(handle)
        destroyed = await super().destroy(handle)
        return destroyed or (record is not None and record.retired)


@noticed_by(SAYS, ONCE)
class DestroyCountsNoRetired(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._get(handle)
        destroyed = await super().destroy(handle)
        return destroyed and record is not None and not record.retired


@noticed_by(SAYS)
class DestroyCountsNoEndless(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._get(handle)
        destroyed = await super().destroy(handle)
        return destroyed and record is not None and record.expires_at is not None


@noticed_by(SAYS)
class DestroyCountsHowMany(MemorySessionAdapter):
    async def destroy(self, handle):
        return int(await super().destroy(handle))


@noticed_by(ONCE)
class DestroyLooksFirst(MemorySessionAdapter):
    async def destroy(self, handle):
        there = self._get(handle) is not None
        await asyncio.sleep(0)
        await super().destroy(handle)
        return there


@noticed_by(ONCE)
class DestroyOfRetiredLooksFirst(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._get(handle)
        if record is None or not record.retired:
            return await super().destroy(handle)
        await asyncio.sleep(0)
        await super().destroy(handle)
        return True


@noticed_by(ONCE)
class DestroyOfOwnedLooksFirst(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._get(handle)
        if record is None or record.owner is None:
            return await super().destroy(handle)
        await asyncio.sleep(0)
        await super().destroy(handle)
        return True
