"""An adapter as a third party would write it: the four methods, and nothing else."""

from __future__ import annotations

from aiohttp_spry_session import SessionAdapter, SessionRecord


class MinimalAdapter(SessionAdapter):
    """Keeps records in a dict."""

    def __init__(self) -> None:
        super().__init__(expiration=1000)
        self.records: dict[str, SessionRecord] = {}

    async def load(self, handle: str) -> SessionRecord | None:
        record = self.records.get(handle)
        return None if record is None or record.is_expired(self.clock()) else record

    async def create(self, handle: str, record: SessionRecord) -> bool:
        if await self.load(handle) is not None:
            return False
        self.records[handle] = record
        return True

    async def update(self, handle: str, record: SessionRecord) -> bool:
        current = await self.load(handle)
        if current is None or current.retired or current.version != record.version - 1:
            return False
        self.records[handle] = record
        return True

    async def destroy(self, handle: str) -> None:
        self.records.pop(handle, None)
