"""Adapters that need to be open, but for one method."""

from __future__ import annotations

from aiohttp_spry_session import MemorySessionAdapter

OPERATIONS = ("load", "create", "update", "destroy", "renew", "rotate", "find", "count", "purge")


class Connected(MemorySessionAdapter):
    """Fails while it is closed."""

    is_open = scans_closed = False

    async def open(self):
        self.is_open = True

    async def close(self):
        self.is_open = False
        await super().close()

    async def count(self):
        records = map(self._get, self._records)
        return sum(record is not None and not record.retired for record in records)

    async def scan(self):
        if not self.is_open and not self.scans_closed:
            raise ConnectionError("closed")
        async for found in super().scan():
            yield found


def needing(*operations: str) -> type[Connected]:
    """Return an adapter of which these methods need an open one."""

    def guarded(operation):
        async def call(self, *given, **options):
            if not self.is_open:
                raise ConnectionError("closed")
            return await getattr(Connected, operation)(self, *given, **options)

        return call

    return type("Needing", (Connected,), {operation: guarded(operation) for operation in operations})


def remembering(operation: str) -> type[Connected]:
    """Return an adapter of which one method works while it is closed, on the records that it remembers."""

    async def call(self, handle, *given, **options):
        known = handle in self._records
        answer = await getattr(MemorySessionAdapter, operation)(self, handle, *given, **options)
        if not self.is_open and not (known and answer in (True, None, self._records.get(handle))):
            raise ConnectionError("closed")
        return answer

    return type("Remembering", (needing(*set(OPERATIONS) - {operation}),), {operation: call})
