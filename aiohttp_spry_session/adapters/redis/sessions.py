"""The sessions as they are kept: their keys, the scripts run on them, and which of them are live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ...events import logger
from ...record import RETIRED_SECONDS, SessionRecord
from . import scripts
from .connections import Call, Closed, Connections
from .records import Stored, decode, end_of, pack_time, time_to_live, to_bytes, to_str
from .scripts import Script
from .walking import Seen, pattern_of

__all__ = ["KeptSessions"]


class KeptSessions:
    """What the adapter and its index of owners have in common."""

    def __init__(self, prefix: str, clock: Callable[[], float]) -> None:
        self.prefix = prefix
        self.clock = clock
        self.connections: Connections = Closed()
        self._sessions = to_bytes(f"{prefix}s:")
        self.channel = to_bytes(f"{prefix}ended")
        """Where the keys of what ended are told."""

    async def run(self, key: bytes, script: Script, *arguments: bytes) -> Any:
        """Run a script on one key."""
        return await self.connections.run(Call(key, script, arguments))

    def key(self, handle: str) -> bytes:
        """Return the key that holds a session."""
        return self._sessions + handle.encode("utf-8", "surrogatepass")

    async def handles(self) -> AsyncIterator[list[str]]:
        """Return the handles for which something is kept, in steps, each once."""
        seen = Seen()
        async for keys in self.connections.keys(pattern_of(self._sessions)):
            yield [handle for key in keys if seen.add(key) and (handle := self._handle(key)) is not None]

    def _handle(self, key: bytes) -> str | None:
        try:
            return to_str(key[len(self._sessions) :])
        except UnicodeDecodeError:
            logger.error("the stored session %r is corrupt and counts as absent", key)
            return None

    def handle(self, key: bytes) -> str | None:
        """Return the handle of a session's key; ``None`` for another key."""
        if not key.startswith(self._sessions):
            return None
        return key[len(self._sessions) :].decode("utf-8", "surrogatepass")

    def owner_key(self, owner: str) -> bytes:
        """Return the key that holds an owner's index."""
        return to_bytes(f"{self.prefix}o:{owner}")

    def now(self) -> bytes:
        """Return the time for a script."""
        return pack_time(self.clock())

    def ttl(self, expires_at: float | None) -> bytes:
        """Return how long Redis keeps what ends then."""
        return time_to_live(end_of(expires_at) - self.clock())

    async def peek(self, handle: str) -> Stored | None:
        """Return what is kept for a handle, whatever its state; ``None`` for nothing, and for what cannot be read."""
        data = await self.get(handle)
        return None if data is None else self.read(handle, data)

    def get(self, handle: str) -> Awaitable[bytes | None]:
        """Return the bytes that are kept for a handle."""
        return self.connections.get(self.key(handle))

    async def remove(self, handle: str, *, even_pending: bool = False) -> int:
        """Remove what is kept for a handle, a reservation only if told to; return the answer of ``DESTROY``."""
        arguments = self.now(), b"1" if even_pending else b"", self.channel
        return int(await self.run(self.key(handle), scripts.DESTROY, *arguments))

    def read(self, handle: str, data: bytes) -> Stored | None:
        """Return what was kept for a handle; ``None`` for what cannot be read."""
        stored = decode(data)
        if stored is None:
            logger.error("the stored session %s is corrupt and counts as absent", handle)
        return stored

    async def is_settled(self, handle: str, stored: Stored) -> bool:
        """Whether a record is no reservation, or one whose rotation happened; then it is confirmed."""
        if not stored.pending:
            return True
        origin = stored.origin
        old = None if origin is None else await self.peek(origin)
        if origin is None or old is None or old.successor != handle:
            return False
        await self.confirm(origin, old.record, handle, stored.record)
        return True

    async def confirm(self, old: str, retired: SessionRecord, new: str, record: SessionRecord) -> None:
        """Make a reservation live whose rotation has happened; the retired key need not be kept for that any more."""
        await self.run(self.key(new), scripts.ACTIVATE, self.ttl(record.expires_at))
        # A minute from now in any case, since clocks differ; the record's own end is what counts.
        left = max(end_of(retired.expires_at) - self.clock(), RETIRED_SECONDS)
        await self.run(self.key(old), scripts.RELEASE, time_to_live(left), to_bytes(new))

    async def leads_to(self, old: str, new: str) -> bool:
        """Whether a rotation from the old handle to the new one has happened."""
        stored = await self.peek(old)
        return stored is not None and stored.successor == new
