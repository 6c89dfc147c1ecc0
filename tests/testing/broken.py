"""Adapters that each break the contract in one way, and the tests of it that have to notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter
from aiohttp_spry_session.record import latest, retire

BREAKS: dict[type[SessionAdapter], set[str]] = {}

PAGE = 50
"""How many records some of them look at, and no more."""


def noticed_by(*tests: str) -> Callable[[type[SessionAdapter]], type[SessionAdapter]]:
    """Register a broken adapter with the tests that notice it."""

    def register(adapter: type[SessionAdapter]) -> type[SessionAdapter]:
        BREAKS[adapter] = {f"test_{name}" for name in tests}
        return adapter

    return register


@noticed_by("create_never_overwrites", "one_of_parallel_creations_wins", "a_mixed_crowd_gets_the_answers_of_each_alone")
class CreateOverwrites(MemorySessionAdapter):
    async def create(self, handle, record):
        await self.destroy(handle)
        return await super().create(handle, record)


@noticed_by("create_never_overwrites_a_retired_record", "a_rotated_away_handle_is_dead")
class CreateOverwritesRetired(MemorySessionAdapter):
    async def create(self, handle, record):
        current = await self.load(handle)
        if current is not None and current.retired:
            await self.destroy(handle)
        return await super().create(handle, record)


@noticed_by("create_takes_the_place_of_an_expired_record")
class CreateMindsExpired(MemorySessionAdapter):
    async def create(self, handle, record):
        return handle not in self._records and await super().create(handle, record)


@noticed_by("one_of_parallel_creations_wins")
class CreateLooksFirst(MemorySessionAdapter):
    async def create(self, handle, record):
        if await self.load(handle) is not None:
            return False
        await asyncio.sleep(0)
        self._put(handle, record)
        return True


@noticed_by(
    "a_record_expires_exactly_at_its_end", "a_retired_record_is_loaded_until_its_end", "update_replaces_every_field"
)
class LoadIgnoresExpiry(MemorySessionAdapter):
    async def load(self, handle):
        return self._records.get(handle)


@noticed_by("a_record_without_an_end_never_expires")
class NeverIsAYear(MemorySessionAdapter):
    async def load(self, handle):
        record = await super().load(handle)
        return None if record is None or record.created_at + 31_536_000 < self.clock() else record


@noticed_by("a_record_expires_exactly_at_its_end", "the_end_is_compared_to_the_last_bit")
class ExpiresAfterItsEnd(MemorySessionAdapter):
    async def load(self, handle):
        record = self._records.get(handle)
        return record if record is None or (record.expires_at or self.clock()) >= self.clock() else None


@noticed_by("the_end_is_compared_to_the_last_bit", "times_keep_their_precision")
class RoundsTimes(MemorySessionAdapter):
    async def create(self, handle, record):
        end = None if record.expires_at is None else round(record.expires_at, 3)
        return await super().create(handle, replace(record, expires_at=end))


@noticed_by("load_of_what_is_missing_is_none")
class MissingIsFalse(MemorySessionAdapter):
    async def load(self, handle):
        return await super().load(handle) or False


@noticed_by("a_retired_record_is_loaded_until_its_end", "rotate_moves_a_session")
class LoadHidesRetired(MemorySessionAdapter):
    async def load(self, handle):
        record = await super().load(handle)
        return None if record is None or record.retired else record


@noticed_by("update_needs_the_version_before", "one_of_parallel_updates_wins", "renew_counts_as_a_change")
class UpdateIgnoresVersion(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        if current is None or current.retired:
            return False
        self._put(handle, record)
        return True


@noticed_by("update_needs_the_version_before")
class UpdateAcceptsAnyLater(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        if current is None or current.retired or current.version >= record.version:
            return False
        self._put(handle, record)
        return True


@noticed_by("one_of_parallel_updates_wins", "parallel_increments_add_up", "nothing_survives_a_parallel_destroy")
class UpdateLooksFirst(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        if current is None or current.retired or current.version != record.version - 1:
            return False
        await asyncio.sleep(0)
        self._put(handle, record)
        return True


@noticed_by("update_never_creates", "destroy_removes_a_record")
class UpdateCreates(MemorySessionAdapter):
    async def update(self, handle, record):
        if self._get(handle) is None:
            return await self.create(handle, record)
        return await super().update(handle, record)


@noticed_by("update_never_revives_an_expired_record")
class UpdateRevivesExpired(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._records.get(handle)
        if current is not None and current.version == record.version - 1 and current.is_expired(self.clock()):
            self._put(handle, record)
            return True
        return await super().update(handle, record)


@noticed_by("update_never_revives_a_retired_record", "a_rotated_away_handle_is_dead", "update_can_retire")
class UpdateRevivesRetired(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        if current is None or current.version != record.version - 1:
            return False
        self._put(handle, record)
        return True


@noticed_by("update_replaces_every_field", "find_follows_changes")
class UpdateKeepsOwner(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        return await super().update(handle, replace(record, owner=None if current is None else current.owner))


@noticed_by("update_replaces_every_field")
class UpdateNeverShortens(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        end = record.expires_at if current is None else latest(record.expires_at, current.expires_at)
        return await super().update(handle, replace(record, expires_at=end))


@noticed_by("destroy_removes_a_record", "nothing_survives_a_parallel_destroy")
class DestroyLeavesRetired(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._records.get(handle)
        if record is not None:
            self._put(handle, retire(record, "", now=self.clock()))
        return record is not None and not record.is_expired(self.clock())


@noticed_by("a_destroyed_handle_can_be_created_again")
class DestroyKeepsTheHandle(MemorySessionAdapter):
    def __init__(self):
        super().__init__()
        self.gone = set()

    async def create(self, handle, record):
        return handle not in self.gone and await super().create(handle, record)

    async def destroy(self, handle):
        self.gone.add(handle)
        return await super().destroy(handle)


@noticed_by("destroy_of_what_is_missing_is_fine")
class DestroyMindsMissing(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._records.pop(handle)
        return not record.is_expired(self.clock())


@noticed_by("destroy_removes_a_record")
class DestroyIsLate(MemorySessionAdapter):
    async def destroy(self, handle):
        asyncio.get_running_loop().call_soon(self._records.pop, handle, None)
        return self._get(handle) is not None
