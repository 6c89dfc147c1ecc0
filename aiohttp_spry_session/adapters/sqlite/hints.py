"""What ended, told to the other processes that have the file open: a small table, read when the file has changed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ...events import logger
from ...exceptions import AdapterError
from ..hints import Hints
from . import statements
from .batches import Call
from .connection import Connection

__all__ = ["SQLiteHints", "ending", "note", "prepare_notes"]

LOOK_SECONDS = 0.5
"""Between two looks whether the file has changed."""

KEPT_SECONDS = 60.0
"""How long it stays in the table."""

_TABLE = "CREATE TABLE IF NOT EXISTS ended (id INTEGER PRIMARY KEY, handle BLOB NOT NULL, at REAL NOT NULL)"

_ROOM = 8
"""More rows than it writes are removed by each write, so that what is old goes by itself."""


class _Seen(NamedTuple):
    connection: Connection
    version: int
    last: int
    """The greatest number of a row that was read."""


def prepare_notes(database: sqlite3.Connection) -> bool:
    """Make the table where it is missing; return whether it is there: the disk may be full.

    It is none of the schema's versions, so that release 1.0 may open the file, and have it open, all the same.
    """
    try:
        database.execute(_TABLE)
    except sqlite3.Error:
        return False
    return True


def ending(call: Call) -> str | None:
    """Return the handle under which an operation may end a session; ``None`` for one that only writes."""
    function, args = call
    if function is statements.update:
        return args[0] if args[1].retired else None
    return args[0] if function is statements.destroy or function is statements.rotate else None


def note(database: sqlite3.Connection, now: float, handles: Sequence[str]) -> None:
    """Tell of handles under which sessions end in the same transaction."""
    rows = [(handle.encode("utf-8", "surrogatepass"), now) for handle in handles]
    database.executemany("INSERT INTO ended (handle, at) VALUES (?, ?)", rows)
    # Never the newest: numbers go on from that.
    database.execute(
        "DELETE FROM ended WHERE id IN (SELECT id FROM ended ORDER BY id LIMIT ?) AND at < ?"
        " AND id < (SELECT max(id) FROM ended)",
        (len(rows) + _ROOM, now - KEPT_SECONDS),
    )


def _look(database: sqlite3.Connection, seen: tuple[int, int] | None) -> tuple[int, int, list[str] | None]:
    """Return the file's version, the last row, and what ended since; ``None`` for what: nobody knows."""
    (version,) = database.execute("PRAGMA data_version").fetchone()
    if seen is not None and seen[0] == version:
        return version, seen[1], []
    first, last = database.execute("SELECT min(id), max(id) FROM ended").fetchone()
    first, last = first or 0, last or 0
    if seen is None or last < seen[1] or first > seen[1] + 1:
        return version, last, None
    rows = database.execute("SELECT id, handle FROM ended WHERE id > ? ORDER BY id", (seen[1],)).fetchall()
    return version, rows[-1][0] if rows else seen[1], [row[1].decode("utf-8", "surrogatepass") for row in rows]


class SQLiteHints(Hints):
    """Hints of what ended, in this process and in others.

    :param reader: returns the connection for reading, as it is then.
    :param is_noted: whether the table is there.
    """

    def __init__(self, reader: Callable[[], Awaitable[Connection]], is_noted: Callable[[], bool]) -> None:
        super().__init__(self._follow)
        self._reader = reader
        self._is_noted = is_noted

    async def _follow(self) -> None:
        if not self._is_noted():
            logger.warning(
                "the table of ended sessions could not be made: looking again finds out what other processes end"
            )
            return
        seen: _Seen | None = None
        while True:
            try:
                seen = await self._step(seen)
            except (AdapterError, sqlite3.Error, ValueError):  # the last: aiosqlite's for a connection that is closed
                seen = None
                self.lost()
            await asyncio.sleep(LOOK_SECONDS)

    async def _step(self, seen: _Seen | None) -> _Seen:
        connection = await self._reader()
        known = None if seen is None or seen.connection is not connection else (seen.version, seen.last)
        version, last, handles = await connection.perform(_look, known)
        if handles is None:
            self.connected()
        else:
            for handle in handles:
                self.tell(handle)
        return _Seen(connection, version, last)
