"""Sessions in a PostgreSQL table, shared by any number of machines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg

from ...adapter import SessionAdapter
from ...exceptions import AdapterError
from ...record import SessionRecord
from ..batching import Batcher
from .batches import Writer
from .connections import connections_from, is_collision, is_connection_lost
from .examination import CodecError, check_codecs, is_read_committed
from .hints import PostgresHints, listener_of
from .rows import after, encode, key_of, read_handle, read_record
from .schema import SchemaError, Table, migrate, needs_migration, schema_sql
from .sending import Sender
from .statements import COUNT_STEP, SCAN_STEP, Kind, Row, Statements, store
from .waves import Operation

__all__ = ["PostgresSessionAdapter", "schema_sql"]

T = TypeVar("T")
Asked = TypeVar("Asked")

_PURGE_STEP = 500


class PostgresSessionAdapter(SessionAdapter):
    """Keeps sessions in a PostgreSQL table (version 12 or newer).

    What arrives while a batch is under way leaves together in the next: many loads are one statement, many writes are
    one statement and one commit. PostgreSQL decides row by row who won.

    A write takes effect at most once: it is never sent again once its answer is lost. So whoever gets an
    :class:`~aiohttp_spry_session.AdapterError` from a write does not know whether it took effect, and an ``increment``
    that was answered counts exactly once, one that failed once or not at all. A write is whole, or not there. A load is
    repeated once where the connection was lost.

    A row that another transaction holds delays its own session only, for ``command_timeout`` at most: then the
    operation fails with a :class:`TimeoutError`, and has changed nothing. Whoever gives up before takes it back.

    With a DSN the adapter keeps two connections of its own, one to read and one to write, and replaces them when they
    are lost. Of a pool it takes five connections at most at a time, and gives each back after its batch; the pool stays
    open. While open sockets or streams depend on sessions it keeps one more, to listen on. Behind PgBouncer in
    transaction mode let that keep prepared statements (1.21 or newer, ``max_prepared_statements``), or pass a pool made
    with ``statement_cache_size=0``.

    The table is made by :meth:`open` with ``create_schema=True``, or by the SQL that :func:`schema_sql` returns and
    ``python -m aiohttp_spry_session.adapters.postgres_schema`` prints. Its comment names the version of its schema.

    :param pool_or_dsn: an ``asyncpg.Pool``, or a ``postgresql://`` URL.
    :param expiration: ``timedelta`` or seconds from start or renewal to the end; ``None``: never.
    :param table: the table's name.
    :param schema: the namespace that it is in; ``None``: the first one of the connection's ``search_path``.
    :param create_schema: whether :meth:`open` may create the table, and the namespace, and migrate an older table;
        several processes may do so at the same time.
    :param command_timeout: seconds until a batch that is not answered fails, and its connection is replaced. It should
        not be below the manager's ``timeout``, which is what a request waits.
    :raises ValueError: for an unusable option.
    """

    def __init__(
        self,
        pool_or_dsn: asyncpg.Pool | str,
        *,
        expiration: timedelta | float | None = timedelta(minutes=20),
        table: str = "sessions",
        schema: str | None = None,
        create_schema: bool = False,
        command_timeout: float = 10.0,
    ) -> None:
        super().__init__(expiration=expiration)
        if not isinstance(pool_or_dsn, str | asyncpg.Pool):
            raise ValueError(f"pool_or_dsn must be an asyncpg.Pool or a URL, not a {type(pool_or_dsn).__name__}")
        if isinstance(pool_or_dsn, str) and not pool_or_dsn.startswith(("postgresql://", "postgres://")):
            raise ValueError("pool_or_dsn must begin with postgresql:// (not repeated here: it may hold a password)")
        if not isinstance(command_timeout, int | float) or not 0 < command_timeout < math.inf:
            raise ValueError(f"command_timeout must be a number of seconds above 0, not {command_timeout!r}")
        self.table = Table.checked(table, schema)
        self.create_schema = create_schema
        self._is_open = False
        self._statements = Statements.on(self.table)
        self._reader = connections_from(pool_or_dsn, command_timeout)
        self._writer = connections_from(pool_or_dsn, command_timeout)
        self._loads: Batcher[bytes, SessionRecord | None] = Batcher(self._load)
        self._finds: Batcher[bytes, dict[str, SessionRecord]] = Batcher(self._find)
        self._hints = PostgresHints(self.table, self._writer, lambda: listener_of(pool_or_dsn, command_timeout))
        sender = Sender(self._writer, self._statements.write, self._now, self._hints.notify)
        self._batches = Writer(sender, command_timeout)
        self._writes: Batcher[Operation, bool | asyncio.Future[bool]] = Batcher(self._batches.write)
        self._purges: Batcher[None, int] = Batcher(self._purge, limit=1)

    async def load(self, handle: str) -> SessionRecord | None:
        if not self._is_open:
            raise _closed("load")
        return await self._loads.submit(key_of(handle))

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self._write("create", store(Kind.CREATE, handle, record))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self._write("update", store(Kind.UPDATE, handle, record))

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await self._write("renew", Row(Kind.RENEW, key_of(handle), expires_at=expires_at))

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        if old == new:
            return False
        return await self._write(
            "rotate", store(Kind.RETIRE, old, retired, peer=new), store(Kind.BEAR, new, record, peer=old)
        )

    async def destroy(self, handle: str) -> bool:
        return await self._write("destroy", Row(Kind.DESTROY, key_of(handle)))

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._submit("find", self._finds, encode(owner))

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        async for found in self.scan_all():
            if not found[1].retired:
                yield found

    async def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        start = b""
        while True:
            if not self._is_open:
                raise _closed("scan")
            rows = await self._read(self._statements.scan_page, start)
            for is_there, *row in rows:
                handle = read_handle(row) if is_there else None
                record = None if handle is None else read_record(row)
                if handle is not None and record is not None:
                    yield handle, record
            if len(rows) < SCAN_STEP:
                return
            start = after(rows[-1][1])

    async def count(self) -> int:
        live: int = 0
        start = b""
        while True:
            if not self._is_open:
                raise _closed("count")
            ((more, rows, last),) = await self._read(self._statements.count_page, start)
            live += more
            if rows < COUNT_STEP:
                return live
            start = after(last)

    def hints(self) -> AsyncIterator[str | None]:
        """As in the base class: by ``NOTIFY``, and ``LISTEN`` on one more connection, of the pool where there is one.

        A pool of one connection, and PgBouncer in transaction mode, have no hints; the log says so.
        """
        return self._hints.listen()

    async def purge(self) -> int:
        """Delete what has expired, in steps; one worker at a time: where another one is at it, this ends."""
        purged = 0
        while True:
            removed = await self._submit("purge", self._purges, None)
            purged += removed
            if removed < _PURGE_STEP:
                return purged

    async def open(self) -> None:
        """Connect, and find the table, or make or migrate it with ``create_schema=True``.

        :raises AdapterError: where the server is out of reach, or the table is missing, too old, too new, or another
            application's, or where the pool's connections have codecs of their own for the types used here.
        """
        try:
            async with self._writer.use() as connection:
                await check_codecs(connection)
                self._reader.isolates = self._writer.isolates = not await is_read_committed(connection)
                migrating = await needs_migration(connection, self.table, create=self.create_schema)
            if migrating:
                async with self._writer.use(limited=False) as connection:
                    await migrate(connection, self.table)
        except SchemaError as error:
            await self._writer.close()
            raise AdapterError("open", f"table {self.table.sql}: {error}") from error
        except CodecError as error:
            await self._writer.close()
            raise AdapterError("open", str(error)) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            await self._writer.close()
            raise AdapterError("open", f"{type(error).__name__}: {error}") from error
        except (ValueError, OverflowError):
            # The driver quotes what it could not read, which may be a part of the password.
            raise AdapterError(
                "open", "the URL cannot be read: in user names and passwords write special characters as %XX"
            ) from None
        except BaseException:
            await self._writer.close()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Finish what is under way, and close the adapter's own connections."""
        self._is_open = False
        for batcher in (self._loads, self._finds, self._writes, self._purges):
            await batcher.drain()
        await self._batches.drain()
        await self._hints.drain()
        await self._hints.close()
        await self._reader.close()
        await self._writer.close()

    async def _write(self, name: str, *rows: Row) -> bool:
        if not self._is_open:
            raise _closed(name)
        operation = Operation(rows)
        try:
            answer = await self._writes.submit(operation)
            # A future where somebody else holds the row: only whoever asked for it waits.
            return answer if isinstance(answer, bool) else await answer
        except asyncio.CancelledError:
            operation.is_given_up = True
            raise

    async def _submit(self, name: str, batcher: Batcher[Asked, T], operation: Asked) -> T:
        if not self._is_open:
            raise _closed(name)
        return await batcher.submit(operation)

    def _now(self) -> float:
        return self.clock()

    async def _load(self, keys: list[bytes]) -> Sequence[SessionRecord | None]:
        rows = await self._read(self._statements.load, list(set(keys)))
        found = {row[0]: read_record(row) for row in rows}
        return list(map(found.get, keys))

    async def _find(self, owners: list[bytes]) -> Sequence[dict[str, SessionRecord]]:
        found: dict[bytes, dict[str, SessionRecord]] = {owner: {} for owner in owners}
        for owner, *row in await self._read(self._statements.find, list(found)):
            handle = read_handle(row)
            record = None if handle is None else read_record(row)
            if handle is not None and record is not None:
                found[owner][handle] = record
        return [found[owner] for owner in owners]

    async def _read(self, statement: str, keys: list[bytes] | bytes) -> Sequence[Any]:
        try:
            return await self._reader.fetch(statement, self.clock(), keys)
        except Exception as error:
            if not is_connection_lost(error) and not is_collision(error):
                raise
        return await self._reader.fetch(statement, self.clock(), keys)

    async def _purge(self, turns: list[None]) -> Sequence[int]:
        rows = await self._writer.fetch(self._statements.purge, self.clock(), _PURGE_STEP)
        return [rows[0][0]]


def _closed(operation: str) -> AdapterError:
    return AdapterError(
        operation, "the adapter is not open: use setup(app, manager), or 'async with manager:' in a script"
    )
