"""Adapters that break the contract where records move, are found, purged, or have unusual values."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.record import latest

from .broken import PAGE, noticed_by


@noticed_by("renew_never_moves_the_end_earlier")
class RenewShortens(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or current.retired:
            return False
        self._put(handle, replace(current, version=current.version + 1, expires_at=expires_at))
        return True


@noticed_by("renew_counts_as_a_change", "renew_moves_the_end")
class RenewKeepsVersion(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        if not await super().renew(handle, expires_at):
            return False
        record = self._records[handle]
        self._put(handle, replace(record, version=record.version - 1))
        return True


@noticed_by("parallel_renewals_all_count")
class RenewLooksFirst(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or current.retired:
            return False
        await asyncio.sleep(0)
        end = latest(current.expires_at, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=end))
        return True


@noticed_by("renew_never_revives")
class RenewRevivesExpired(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._records.get(handle)
        if current is None or current.retired:
            return False
        self._put(handle, replace(current, version=current.version + 1, expires_at=expires_at))
        return True


@noticed_by("renew_never_revives", "a_rotated_away_handle_is_dead")
class RenewRevivesRetired(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is not None and current.retired:
            self._put(handle, replace(current, version=current.version + 1, expires_at=expires_at))
            return True
        return await super().renew(handle, expires_at)


@noticed_by("renew_never_revives")
class RenewCreates(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        return await super().renew(handle, expires_at) or handle not in self._records


@noticed_by("one_of_parallel_rotations_wins", "an_update_and_a_rotation_exclude_each_other")
class RotateLooksFirst(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        current = self._get(old)
        if current is None or current.retired or current.version != record.version - 1 or self._get(new) is not None:
            return False
        await asyncio.sleep(0)
        self._put(new, record)
        self._put(old, retired)
        return True


@noticed_by("rotate_needs_the_version_before", "rotate_of_what_is_not_live_changes_nothing")
class RotateLeavesTheLoser(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        await self.create(new, record)
        return await self.update(old, retired)


@noticed_by("rotate_never_overwrites")
class RotateOverwrites(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        if not await self.update(old, retired):
            return False
        self._put(new, record)
        return True


@noticed_by("rotate_moves_a_session", "a_rotated_away_handle_is_dead", "a_session_can_rotate_again")
class RotateForgetsTheOld(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        moved = await super().rotate(old, new, record, retired)
        if moved:
            await self.destroy(old)
        return moved


@noticed_by("rotate_with_grace")
class RetiredRecordsLoseTheirPayload(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        return await super().rotate(old, new, record, replace(retired, payload=b""))


@noticed_by("a_cancelled_caller_harms_nobody")
class RotateStopsHalfWay(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        if not await self.update(old, retired):
            return False
        for _ in range(3):
            await asyncio.sleep(0)
        return await self.create(new, record)


@noticed_by("find_answers_nothing_that_is_not_live")
class FindAnswersExpired(MemorySessionAdapter):
    async def find(self, owner):
        return {handle: record for handle, record in self._records.items() if record.owner == owner}


@noticed_by("find_answers_an_owners_live_records", "hostile_owners")
class FindMatchesPrefixes(MemorySessionAdapter):
    async def find(self, owner):
        return {handle: r for handle, r in self._records.items() if r.owner and r.owner.startswith(owner)}


@noticed_by("find_follows_changes", "hostile_owners")
class FindRemembers(MemorySessionAdapter):
    def _disown(self, handle, record):
        pass


@noticed_by("find_answers_an_owners_live_records")
class FindFindsNothing(MemorySessionAdapter):
    async def find(self, owner):
        return {}


@noticed_by("purge_deletes_what_has_expired_and_counts_it", "purge_goes_by_the_end_as_it_is_now", "purge_deletes_many")
class PurgeDoesNothing(MemorySessionAdapter):
    async def purge(self):
        return 0


@noticed_by("purge_deletes_many", "others_work_while_purge_runs")
class PurgeStopsAfterAStep(MemorySessionAdapter):
    async def purge(self):
        expired = [handle for handle, record in self._records.items() if record.is_expired(self.clock())][:PAGE]
        for handle in expired:
            await self.destroy(handle)
        return len(expired)


@noticed_by("purge_deletes_what_has_expired_and_counts_it")
class PurgeTakesRetired(MemorySessionAdapter):
    async def purge(self):
        for handle in [handle for handle, record in self._records.items() if record.retired]:
            await self.destroy(handle)
        return await super().purge()


@noticed_by("purge_deletes_what_has_expired_and_counts_it")
class PurgeTakesEndless(MemorySessionAdapter):
    async def purge(self):
        for handle in [handle for handle, record in self._records.items() if record.expires_at is None]:
            await self.destroy(handle)
        return await super().purge()


@noticed_by("hostile_handles", "hostile_owners")
class HandlesAreStripped(MemorySessionAdapter):
    async def load(self, handle):
        return await super().load(handle.strip("\0 "))

    async def create(self, handle, record):
        owner = record.owner and record.owner.strip("\0 ")
        return await super().create(handle.strip("\0 "), replace(record, owner=owner))


@noticed_by("payloads_of_any_size_and_content")
class PayloadsAreText(MemorySessionAdapter):
    async def create(self, handle, record):
        payload = record.payload.decode("utf-8", "replace").encode()
        return await super().create(handle, replace(record, payload=payload))


@noticed_by("payloads_of_any_size_and_content")
class PayloadsAreCut(MemorySessionAdapter):
    async def create(self, handle, record):
        return await super().create(handle, replace(record, payload=record.payload[:65536]))


@noticed_by("versions_may_be_large")
class VersionsWrap(MemorySessionAdapter):
    async def create(self, handle, record):
        return await super().create(handle, replace(record, version=record.version & 0xFFFFFFFF))


@noticed_by("the_kinds_of_a_records_fields_stay")
class NumbersLoseTheirKind(MemorySessionAdapter):
    async def load(self, handle):
        record = await super().load(handle)
        return (
            None if record is None else replace(record, retired=int(record.retired), payload=bytearray(record.payload))
        )


@noticed_by("a_closed_adapter_fails", "a_closed_adapter_can_be_opened_again")
class ClosingForgets(MemorySessionAdapter):
    async def close(self):
        for handle in list(self._records):
            await self.destroy(handle)


@noticed_by("closing_what_was_never_opened_is_fine")
class CloseNeedsOpen(MemorySessionAdapter):
    opened = False

    async def open(self):
        self.opened = True

    async def close(self):
        if not self.opened:
            raise RuntimeError("not open")


@noticed_by("it_is_an_adapter")
class ExpirationIsNegative(MemorySessionAdapter):
    def __init__(self):
        super().__init__()
        self.expiration = -1.0
