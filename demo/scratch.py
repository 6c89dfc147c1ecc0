"""A counter the way many session libraries keep a session: read it, change it, write it back. No fence."""

from __future__ import annotations

import aiosqlite

__all__ = ["ScratchStore"]


class ScratchStore:
    """A table in a SQLite database in memory, in which the last write wins."""

    def __init__(self) -> None:
        self._database: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Create the table."""
        self._database = await aiosqlite.connect(":memory:", isolation_level=None)
        await self._database.execute("CREATE TABLE counts (name TEXT PRIMARY KEY, count INTEGER NOT NULL)")

    async def close(self) -> None:
        """Forget everything."""
        if self._database is not None:
            await self._database.close()
            self._database = None

    async def load(self, name: str) -> int:
        """Return a count; 0 where there is none."""
        async with self._opened().execute("SELECT count FROM counts WHERE name = ?", (name,)) as cursor:
            row = await cursor.fetchone()
        return 0 if row is None else int(row[0])

    async def save(self, name: str, count: int) -> None:
        """Write a count, whatever was written since it was read."""
        await self._opened().execute("INSERT OR REPLACE INTO counts VALUES (?, ?)", (name, count))

    async def remove(self, name: str) -> None:
        """Forget a count."""
        await self._opened().execute("DELETE FROM counts WHERE name = ?", (name,))

    def _opened(self) -> aiosqlite.Connection:
        if self._database is None:
            raise RuntimeError("the scratch store is not open")
        return self._database
