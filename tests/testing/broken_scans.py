"""Adapters that break the contract of ``scan`` and ``count`` in one narrow place each."""

from __future__ import annotations

import asyncio

from aiohttp_spry_session import MemorySessionAdapter

from .broken import PAGE, noticed_by
from .broken_ghosts import Ghosts


@noticed_by("scan_answers_many", "others_change_what_is_scanned", "others_work_while_a_scan_is_under_way")
class ScanStopsAfterAPage(MemorySessionAdapter):
    async def scan(self):
        number = 0
        async for found in super().scan():
            yield found
            number += 1
            if number == PAGE:
                return


@noticed_by("scan_answers_all_live_records", "scan_answers_many")
class ScanAnswersTwice(MemorySessionAdapter):
    async def scan(self):
        async for found in super().scan():
            yield found
            yield found


@noticed_by("others_change_what_is_scanned")
class ScanGoesByPosition(MemorySessionAdapter):
    """Pages by how many came before: where one of these is gone, the next one is passed over."""

    async def scan(self):
        position = 0
        while position < len(self._records):
            handle = list(self._records)[position]
            record = self._get(handle)
            if record is not None and not record.retired:
                yield handle, record
            position += 1


@noticed_by("others_change_what_is_scanned")
class ScanMindsChanges(MemorySessionAdapter):
    async def scan(self):
        for handle, record in self._records.items():
            if not record.is_expired(self.clock()) and not record.retired:
                yield handle, record


@noticed_by("scan_answers_nothing_that_is_not_live", "scan_answers_many")
class ScanAnswersRetired(MemorySessionAdapter):
    async def scan(self):
        for handle in list(self._records):
            record = self._get(handle)
            if record is not None:
                yield handle, record


@noticed_by("scan_answers_nothing_that_is_not_live", "scan_answers_many")
class ScanAnswersExpired(MemorySessionAdapter):
    async def scan(self):
        for handle, record in list(self._records.items()):
            if not record.retired:
                yield handle, record


@noticed_by("scan_answers_nothing_that_is_not_live")
class ScanAnswersDestroyed(Ghosts):
    async def scan(self):
        async for found in super().scan():
            yield found
        for handle, past in self.past.items():
            if self.ghost(handle, "destroyed"):
                yield handle, past


@noticed_by("scan_answers_whatever_handle_there_is")
class ScanSkipsTheEmptyHandle(MemorySessionAdapter):
    async def scan(self):
        async for handle, record in super().scan():
            if handle:
                yield handle, record


@noticed_by("scan_answers_all_live_records")
class ScanForgetsTheEndless(MemorySessionAdapter):
    async def scan(self):
        async for handle, record in super().scan():
            if record.expires_at is not None:
                yield handle, record


@noticed_by("scan_answers_all_live_records")
class ScanAnswersWithoutOwners(MemorySessionAdapter):
    async def scan(self):
        async for handle, record in super().scan():
            if record.owner is None:
                yield handle, record


@noticed_by("scan_answers_many", "scan_answers_nothing_that_is_not_live")
class CountCountsAll(MemorySessionAdapter):
    async def count(self):
        return len(self._records)


@noticed_by("a_scan_that_is_abandoned_leaves_nothing_behind", "others_change_what_is_scanned")
class ScanHoldsALock(MemorySessionAdapter):
    """Keeps everybody else waiting from a scan's beginning to its end; the others give up after a moment."""

    def __init__(self):
        super().__init__()
        self.lock = asyncio.Lock()

    async def scan(self):
        async with self.lock:
            async for found in super().scan():
                yield found

    async def update(self, handle, record):
        if self.lock.locked():
            raise TimeoutError("the table is locked")
        return await super().update(handle, record)

    async def destroy(self, handle):
        if self.lock.locked():
            raise TimeoutError("the table is locked")
        return await super().destroy(handle)


@noticed_by("others_work_while_a_scan_is_under_way")
class ScanIsOneForAll(MemorySessionAdapter):
    """Two scans share what is left of one."""

    def __init__(self):
        super().__init__()
        self.left = []

    async def scan(self):
        self.left = self.left or [found async for found in super().scan()]
        while self.left:
            yield self.left.pop()
            await asyncio.sleep(0)
