"""Sessions in one SQLite file, shared by any number of processes on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from ...adapter import SessionAdapter
from ...events import logger
from ...exceptions import AdapterError
from ...record import SessionRecord
from ..batching import Batcher
from ..hints import Hints
from . import statements
from .batches import Call, load_together, purge_step, run_together
from .checkpoints import Checkpoints, checkpoint
from .connection import Connection
from .files import Files, clear_remains, create_private_file, identify
from .hints import SQLiteHints, ending, note, prepare_notes
from .room import is_full, restart_log, run_in_room
from .schema import SchemaError, prepare

__all__ = ["SQLiteSessionAdapter"]

P = ParamSpec("P")
T = TypeVar("T")

Synchronous = Literal["EXTRA", "FULL", "NORMAL", "OFF"]

_PURGE_SECONDS = 0.003
_FIRST_PURGE, _MIN_PURGE, _MAX_PURGE = 100, 10, 1000
_OPEN_SECONDS = 10.0
_SCAN_STEP, _COUNT_STEP = 200, 2000


class SQLiteSessionAdapter(SessionAdapter):
    """Keeps sessions in a SQLite file, in WAL mode; several processes of one machine may use the file together.

    Reads and writes have a connection each, so a read never waits for a write. What arrives while a batch is under way
    leaves together in the next: many writes share one transaction, and one ``fsync``.

    On a full disk nothing new is stored, and sessions can still be ended and purged: the last megabyte of the disk, and
    one in the log, are kept for that. Where the file is removed, moved or replaced while it is open, the next
    :meth:`purge` logs an error and opens what is there, or makes it.

    :param path: the file; it is created, readable by its owner only, where it does not exist. ``":memory:"`` keeps the
        sessions in this process.
    :param expiration: ``timedelta`` or seconds from start or renewal to the end; ``None``: never.
    :param synchronous: what a power cut or a crash of the operating system may cost. ``"FULL"``: nothing that was
        answered. ``"NORMAL"``: the last few commits, in exchange for writes without ``fsync``. ``"OFF"``: those, and it
        may corrupt the file. ``"EXTRA"`` is in WAL mode as ``"FULL"``. A crash of the process alone costs nothing with
        any of them.
    :raises ValueError: for an unusable option.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        expiration: timedelta | float | None = timedelta(minutes=20),
        synchronous: Synchronous = "FULL",
    ) -> None:
        super().__init__(expiration=expiration)
        if synchronous not in ("EXTRA", "FULL", "NORMAL", "OFF"):
            raise ValueError(f"synchronous must be 'EXTRA', 'FULL', 'NORMAL' or 'OFF', not {synchronous!r}")
        self.path = os.fspath(path)
        if not isinstance(self.path, str) or not self.path or "\0" in self.path:
            raise ValueError("path must be the name of a file, or ':memory:'")
        self.synchronous: Synchronous = synchronous
        self._opened = False
        self._reader: Connection
        self._writer: Connection
        self._mover: Connection
        self._connections: list[Connection] = []
        self._files: Files = {}
        self._reopening: asyncio.Task[None] | None = None
        self._checkpoints = Checkpoints(self._checkpoint)
        self._notes = False
        in_memory = self.path == ":memory:"
        self._hints = Hints() if in_memory else SQLiteHints(lambda: self._connected("_reader"), lambda: self._notes)
        self._loads: Batcher[str, SessionRecord | None] = Batcher(self._load, limit=statements.MAX_LOADS)
        self._writes: Batcher[Call, Any] = Batcher(self._write)

    async def load(self, handle: str) -> SessionRecord | None:
        if not self._opened:
            raise _not_open("load")
        return await self._loads.submit(handle)

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self._submit(statements.create, handle, record)

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self._submit(statements.update, handle, record)

    async def destroy(self, handle: str) -> bool:
        return await self._submit(statements.destroy, handle)

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await self._submit(statements.renew, handle, expires_at)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await self._submit(statements.rotate, old, new, record, retired)

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        if not self._opened:
            raise _not_open("find")
        return await self._read(statements.find, owner)

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        async for found in self.scan_all():
            if not found[1].retired:
                yield found

    async def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        start: bytes | None = b""
        while start is not None:
            if not self._opened:
                raise _not_open("scan")
            page, start = await self._read(statements.scan_page, start, _SCAN_STEP)
            for found in page.items():
                yield found

    async def count(self) -> int:
        live, start = 0, b""
        while True:
            if not self._opened:
                raise _not_open("count")
            more, following = await self._read(statements.count_page, start, _COUNT_STEP)
            live += more
            if following is None:
                return live
            start = following

    def hints(self) -> AsyncIterator[str | None]:
        """As in the base class; what other processes end is told within half a second."""
        return self._hints.listen()

    async def purge(self) -> int:
        """As in the base class; and if the file is not where it was any more, log that, and open it anew."""
        purged, step = 0, _FIRST_PURGE
        if self._opened:
            await self._follow_the_file()
            # Once a minute: what the log holds by then has its space in the file, should the disk be full soon.
            await self._checkpoints.move()
        while True:
            if not self._opened:
                raise _not_open("purge")
            # Not among the writes of a batch: they would have to wait for it, and it need not be as durable.
            writer = await self._connected("_writer")
            try:
                removed, seconds = await writer.perform(purge_step, self.clock(), step, self.synchronous)
            except sqlite3.Error as error:
                if not is_full(error) or step == _MIN_PURGE:
                    raise
                await writer.perform(restart_log)
                step = _MIN_PURGE
                continue
            purged += removed
            self._checkpoints.wrote(removed)
            if removed < step:
                return purged
            await self._checkpoints.catch_up()
            # As many as go in a time that nobody notices, on whatever disk.
            step = min(max(int(step * _PURGE_SECONDS / max(seconds, 1e-6)), _MIN_PURGE), _MAX_PURGE)

    async def open(self) -> None:
        """Open the file, and create or migrate its schema.

        :raises AdapterError: where the file cannot be opened, is no SQLite database, belongs to another application, or
            was written by a newer version of this package.
        """
        try:
            await self._connect()
        except BaseException as error:
            await self.close()
            if isinstance(error, SchemaError | sqlite3.Error | OSError):
                raise AdapterError("open", f"{self.path}: {error}") from error
            raise
        self._opened = True

    async def close(self) -> None:
        """Carry out what was asked for so far, and close the file."""
        self._opened = False
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._disconnect)
            await self._hints.close()
            if self._reopening is not None:
                await asyncio.wait({self._reopening})
            await self._loads.drain()
            await self._writes.drain()
            await self._checkpoints.drain()

    async def _connect(self) -> None:
        self._files = {}
        if self.path == ":memory:":
            self._reader = self._mover = self._writer = await self._connection()
            await self._prepare(self._writer)
            return
        await asyncio.to_thread(create_private_file, self.path)
        # Before it is opened: were it replaced right now, the next look at it would tell.
        files = await asyncio.to_thread(identify, self.path)
        self._writer = await self._connection()
        await self._prepare(self._writer)
        self._notes = await self._writer.perform(prepare_notes)
        self._reader = await self._connection()
        self._mover = await self._connection()
        self._files = {**await asyncio.to_thread(identify, self.path), "": files[""]}

    async def _disconnect(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for connection in self._connections:
                stack.push_async_callback(connection.close)
            self._connections = []

    async def _follow_the_file(self) -> None:
        """Open the file anew where the path leads to another one, or to none: what is stored would be lost."""
        if self.path == ":memory:" or await asyncio.to_thread(identify, self.path) == self._files:
            return
        if self._reopening is None:
            logger.error(
                "%s was removed, moved or replaced while it was in use: it is opened anew, and what was stored since "
                "then is lost; stop the site before you do that",
                self.path,
            )
            self._reopening = asyncio.create_task(self._reopen())
        await asyncio.shield(self._reopening)

    async def _reopen(self) -> None:
        try:
            if self._connections:
                await self._mover.perform(restart_log)  # for where only the log went away
            await self._disconnect()
            await asyncio.to_thread(clear_remains, self.path, self._files)
            await self._connect()
        except (SchemaError, sqlite3.Error, OSError) as error:
            await self._disconnect()
            raise AdapterError("open", f"{self.path}: {error}") from error
        finally:
            self._reopening = None
            if not self._opened:
                await self._disconnect()

    async def _connected(self, which: Literal["_reader", "_writer"]) -> Connection:
        if self._reopening is not None:
            await asyncio.shield(self._reopening)
        if not self._connections:
            raise AdapterError("open", f"{self.path}: it could not be opened anew")
        connection: Connection = getattr(self, which)
        return connection

    async def _connection(self) -> Connection:
        connection = await Connection.to(self.path)
        self._connections.append(connection)
        return connection

    async def _prepare(self, writer: Connection) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _OPEN_SECONDS
        while True:
            try:
                return await writer.perform(prepare, self.synchronous)
            except sqlite3.OperationalError as error:
                # Switching to WAL asks for a lock that SQLite's busy handler does not wait for.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or loop.time() > give_up_at:
                    raise
            await asyncio.sleep(0.02)

    def _submit(
        self, call: Callable[Concatenate[sqlite3.Connection, float, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]:
        if not self._opened:
            raise _not_open(call.__name__)
        return self._writes.submit((call, args))

    async def _load(self, handles: list[str]) -> Sequence[SessionRecord | BaseException | None]:
        return await self._read(load_together, handles)

    async def _read(
        self, call: Callable[Concatenate[sqlite3.Connection, float, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await (await self._connected("_reader")).perform(call, self.clock(), *args, **kwargs)

    async def _write(self, calls: list[Call]) -> Sequence[Any]:
        writer = await self._connected("_writer")
        ended = [handle for call in calls if (handle := ending(call)) is not None]
        noted = [*calls, (note, (ended,))] if ended and self._notes else calls
        results = await writer.perform(run_in_room, run_together, self.clock(), noted, self.path)
        self._checkpoints.wrote(len(calls))
        for handle in ended:
            self._hints.tell(handle)
        return results[: len(calls)]

    async def _checkpoint(self) -> int:
        # A purge may ask for it while the file is being closed, or opened anew.
        if self._reopening is not None or not self._opened or not self._connections:
            return 0
        return await self._mover.perform(checkpoint, self.synchronous)


def _not_open(operation: str) -> AdapterError:
    return AdapterError(
        operation, "the adapter is not open: use setup(app, manager), or 'async with manager:' in a script"
    )
