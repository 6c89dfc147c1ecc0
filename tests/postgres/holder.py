"""Another transaction, which holds rows of the table; and the records that its tests have in common."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.postgres.rows import key_of

__all__ = ["EXPIRED", "NOW", "RECORD", "SECOND", "Holder", "create_all"]

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200)
SECOND = replace(RECORD, version=2, payload=b"second")
EXPIRED = replace(RECORD, expires_at=NOW)


class Holder:
    """Another transaction."""

    def __init__(self, connection: asyncpg.Connection, table: str) -> None:
        self.connection = connection
        self.table = table
        self._transaction = connection.transaction()

    async def hold(self, *handles: str) -> None:
        """Take hold of rows."""
        await self._transaction.start()
        keys = [key_of(handle) for handle in handles]
        await self.connection.fetch(f"SELECT FROM {self.table} WHERE handle = ANY($1) FOR UPDATE", keys)

    async def insert(self, handle: str) -> None:
        """Insert a row that nobody sees yet."""
        await self._transaction.start()
        await self.connection.execute(
            f"INSERT INTO {self.table} VALUES ($1, 'x', 1, $2, NULL, NULL, false)", key_of(handle), NOW
        )

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()


async def create_all(adapter: PostgresSessionAdapter, **records: SessionRecord) -> None:
    assert all(await asyncio.gather(*(adapter.create(handle, record) for handle, record in records.items())))
