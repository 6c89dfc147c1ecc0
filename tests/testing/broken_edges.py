"""Adapters that are wrong at one edge: where numbers overflow, where times meet, in the moment before they tidy up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.record import latest

from .broken import noticed_by


def compare(name: str, read: Callable[[int], int]) -> None:
    """Register an adapter that takes one version for another."""

    async def update(self, handle, record):
        current = self._get(handle)
        in_order = current is None or read(current.version) + 1 == read(record.version)
        return in_order and await MemorySessionAdapter.update(self, handle, record)

    noticed_by("versions_may_be_large")(type(name, (MemorySessionAdapter,), {"update": update}))


compare("VersionsOf32Bits", lambda version: version % 2**32)
compare("VersionsOf32BitsWithASign", lambda version: (version + 2**31) % 2**32 - 2**31)


@noticed_by("times_keep_their_precision")
class NothingBeganLater(MemorySessionAdapter):
    async def create(self, handle, record):
        return await super().create(handle, replace(record, created_at=max(record.created_at, self.clock())))


@noticed_by("the_kinds_of_a_records_fields_stay")
class OwnersMayBeNumbers(MemorySessionAdapter):
    async def load(self, handle):
        record = await super().load(handle)
        is_number = record is not None and record.owner is not None and record.owner.isdigit()
        return replace(record, owner=int(record.owner)) if is_number else record


@noticed_by("hostile_handles", "a_mixed_crowd_gets_the_answers_of_each_alone")
class TheCrowdIsAnsweredBackwards(MemorySessionAdapter):
    """Gives the loads of one turn of the loop each other's answers."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def load(self, handle):
        asked, place = self.asked, len(self.asked)
        asked.append(handle)
        await asyncio.sleep(0)
        self.asked = []
        return await super().load(asked[-1 - place])


@noticed_by("find_answers_an_owners_live_records")
class FindCompletesWhatNobodyIs(MemorySessionAdapter):
    async def find(self, owner):
        found = await super().find(owner)
        if found or not owner:
            return found
        return {handle: record for handle, record in self._records.items() if (record.owner or "").startswith(owner)}


@noticed_by("find_follows_changes")
class FindForgetsWithTheNextWrite(MemorySessionAdapter):
    """Takes a session that was rotated away out of the index late."""

    def __init__(self):
        super().__init__()
        self.late = {}

    async def rotate(self, old, new, record, retired):
        self.late = {old: self._get(old)}
        return await super().rotate(old, new, record, retired)

    async def update(self, handle, record):
        self.late = {}
        return await super().update(handle, record)

    async def find(self, owner):
        late = {handle: record for handle, record in self.late.items() if record is not None and record.owner == owner}
        return {**late, **await super().find(owner)}


@noticed_by("find_follows_changes")
class CreateMindsWhatEndsNow(MemorySessionAdapter):
    async def create(self, handle, record):
        current = self._records.get(handle)
        ends_now = current is not None and current.expires_at == self.clock()
        return not ends_now and await super().create(handle, record)


@noticed_by("find_follows_changes", "find_sees_a_renewed_record_past_its_first_end")
class RenewalToAnEndLosesTheOwner(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or expires_at is None or latest(current.expires_at, expires_at) == current.expires_at:
            return await super().renew(handle, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=expires_at, owner=None))
        return True


class Beside(MemorySessionAdapter):
    """Purges all that has expired in one step; a creation in an expired record's place clears a few before it."""

    cleared = 0

    async def create(self, handle, record):
        if self._get(handle) is not None:
            return False
        if handle in self._records:
            await self.clear(self.cleared)
        self._put(handle, record)
        return True

    async def purge(self):
        if self.cleared:
            await asyncio.sleep(0)
        return await self.clear(len(self._records))

    async def clear(self, limit):
        """Delete so many of the expired."""
        expired = [handle for handle, record in self._records.items() if record.is_expired(self.clock())][:limit]
        for handle in expired:  # one by one, for destroy looks for others that have expired
            self._forget(handle, self._records[handle])
        return len(expired)


class ClearsAFew(Beside):
    cleared = 10


@noticed_by("others_work_while_purge_runs")
class ClearsMoreThanAFew(Beside):
    cleared = 11


class CountsWithDoubles(MemorySessionAdapter):
    """Knows versions as far as a double can tell them apart."""

    async def update(self, handle, record):
        current = self._get(handle)
        in_order = current is None or float(current.version) + 1 == float(record.version)
        if current is None or current.retired or not in_order:
            return False
        self._put(handle, replace(record, version=int(float(record.version))))
        if record.retired:
            self._hints.tell(handle)
        return True

    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or not await super().renew(handle, expires_at):
            return False
        renewed = self._records[handle]
        self._put(handle, replace(renewed, version=int(float(current.version) + 1.0)))
        return True


class TakesAMegabyteAndALittle(MemorySessionAdapter):
    """Refuses longer payloads."""

    async def create(self, handle, record):
        self.measure(record)
        return await super().create(handle, record)

    async def update(self, handle, record):
        self.measure(record)
        return await super().update(handle, record)

    def measure(self, record):
        """Refuse a payload that is too long."""
        if len(record.payload) > 2**20 + 256:
            raise ValueError("the payload is too long")


ALLOWED = (Beside, ClearsAFew, CountsWithDoubles, TakesAMegabyteAndALittle)
"""Adapters that go as far as they may."""
