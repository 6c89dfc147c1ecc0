"""Adapters that get some values wrong: empty ones, long ones, those that look like others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from aiohttp_spry_session import MemorySessionAdapter, SessionRecord
from aiohttp_spry_session.record import latest

from .broken import noticed_by


def spoil(name: str, change: Callable[[bytes], bytes]) -> None:
    """Register an adapter that stores another payload."""

    async def create(self, handle: str, record: SessionRecord) -> bool:
        payload = change(record.payload)
        return await MemorySessionAdapter.create(self, handle, replace(record, payload=payload))

    noticed_by("payloads_of_any_size_and_content")(type(name, (MemorySessionAdapter,), {"create": create}))


spoil("NothingIsSomething", lambda payload: payload or b"null")
spoil("OneZeroIsNothing", lambda payload: b"" if payload == b"\0" else payload)
spoil("ZerosEndShortPayloads", lambda payload: payload if len(payload) != 256 else payload.rstrip(b"\0"))
spoil("ZerosEndLongPayloads", lambda payload: payload if len(payload) <= 256 else payload.rstrip(b"\0"))
spoil("LinesEndOtherwise", lambda payload: payload.replace(b"\r\n", b"\n"))
spoil("QuotesAreTakenOff", lambda payload: payload.lstrip(b"'"))
spoil("LimitIsAMegabyte", lambda payload: payload[: 2**20 - 1])


@noticed_by("payloads_of_any_size_and_content")
class PayloadsOfTheOwnedEndAtZero(MemorySessionAdapter):
    async def create(self, handle, record):
        payload = record.payload if record.owner is None else record.payload.split(b"\0")[0]
        return await super().create(handle, replace(record, payload=payload))


@noticed_by("payloads_of_any_size_and_content", "the_kinds_of_a_records_fields_stay")
class PayloadsAreArrays(MemorySessionAdapter):
    async def load(self, handle):
        record = await super().load(handle)
        return None if record is None else replace(record, payload=bytearray(record.payload))


@noticed_by("hostile_handles")
class LoadIgnoresCase(MemorySessionAdapter):
    async def load(self, handle):
        alike = (record for name, record in self._records.items() if name.lower() == handle.lower())
        return next(alike, None)


@noticed_by("versions_may_be_large")
class VersionZeroIsNone(MemorySessionAdapter):
    async def create(self, handle, record):
        return bool(record.version) and await super().create(handle, record)


@noticed_by("versions_may_be_large")
class VersionsAreText(MemorySessionAdapter):
    async def update(self, handle, record):
        current = self._get(handle)
        in_order = current is None or str(current.version) < str(record.version)
        return in_order and await super().update(handle, record)


@noticed_by("it_is_an_adapter")
class ExpirationIsNone(MemorySessionAdapter):
    def __init__(self):
        super().__init__()
        self.expiration = 0.0


@noticed_by("it_is_an_adapter")
class ClockIsLate(MemorySessionAdapter):
    def __init__(self):
        super().__init__()
        self.clock = lambda: time.time() - 5.5


@noticed_by("a_mixed_crowd_gets_the_answers_of_each_alone")
class CrowdKeepsTheDestroyed(MemorySessionAdapter):
    async def destroy(self, handle):
        return self._get(handle) is not None


@noticed_by("a_mixed_crowd_gets_the_answers_of_each_alone")
class CrowdFindsTheExpired(MemorySessionAdapter):
    async def load(self, handle):
        return self._records.get(handle)


@noticed_by("nothing_survives_a_parallel_destroy")
class RenewToAnEndLooksFirst(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or expires_at is None or expires_at < self.clock() + 2000:
            return await super().renew(handle, expires_at)
        for _ in range(5):
            await asyncio.sleep(0)
        end = latest(current.expires_at, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=end))
        return True
