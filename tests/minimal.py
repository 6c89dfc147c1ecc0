"""Adapters on a ``dict``, the least and the plainest that keep the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp_spry_session import SessionAdapter, SessionRecord
from aiohttp_spry_session.record import latest


class MinimalAdapter(SessionAdapter):
    """The four methods that must be written; everything else is the base class's. Several may share a ``dict``."""

    def __init__(self, records: dict[str, SessionRecord] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.records = {} if records is None else records

    def live(self, handle: str) -> SessionRecord | None:
        """Return the live record."""
        record = self.records.get(handle)
        return None if record is None or record.retired or record.is_expired(self.clock()) else record

    async def load(self, handle: str) -> SessionRecord | None:
        record = self.records.get(handle)
        return None if record is None or record.is_expired(self.clock()) else record

    async def create(self, handle: str, record: SessionRecord) -> bool:
        if await self.load(handle) is not None:
            return False
        self.records[handle] = record
        return True

    async def update(self, handle: str, record: SessionRecord) -> bool:
        current = self.live(handle)
        if current is None or current.version != record.version - 1:
            return False
        self.records[handle] = record
        return True

    async def destroy(self, handle: str) -> bool:
        record = self.records.pop(handle, None)
        return record is not None and not record.is_expired(self.clock())


class PlainAdapter(MinimalAdapter):
    """Every method in one step."""

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        current = self.live(handle)
        if current is None:
            return False
        end = latest(current.expires_at, expires_at)
        self.records[handle] = SessionRecord(
            current.payload, current.version + 1, current.created_at, end, current.owner
        )
        return True

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        current = self.live(old)
        if current is None or current.version != record.version - 1:
            return False
        self.records[new] = record
        self.records[old] = retired
        return True

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return {
            handle: record for handle, record in self.records.items() if record.owner == owner and self.live(handle)
        }
