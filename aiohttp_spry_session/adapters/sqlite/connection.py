"""A connection to a SQLite file, in a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from threading import Thread
from typing import Concatenate, ParamSpec, TypeVar, cast

import aiosqlite

__all__ = ["Connection", "connect"]

P = ParamSpec("P")
T = TypeVar("T")

_BUSY_SECONDS = 4.0


class Connection(aiosqlite.Connection):
    """aiosqlite's connection, which runs a whole batch in one trip to its thread."""

    @classmethod
    async def to(cls, path: str) -> Connection:
        """Open a file."""
        connection = cls(partial(connect, path), iter_chunk_size=64)
        # A process whose author forgot to close has to end all the same, and one whose disk hangs too. Nothing is lost
        # with the thread: what was answered is in the log.
        thread: Thread = getattr(connection, "_thread", cast("Thread", connection))  # up to aiosqlite 0.21 it is one
        thread.daemon = True
        opening = asyncio.ensure_future(connection)
        try:
            return cast("Connection", await asyncio.shield(opening))
        except asyncio.CancelledError:
            # The thread is opening the file all the same: what it opens has to be closed.
            await asyncio.gather(opening, return_exceptions=True)
            await connection.close()
            raise

    async def perform(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function with the database, in the thread; calls take turns in the order in which they came.

        aiosqlite logs the arguments at the level of debugging: their ``repr`` may hold nothing secret.
        """
        execute: Callable[..., Awaitable[T]] = self._execute
        return await execute(function, self._conn, *args, **kwargs)


def connect(path: str) -> sqlite3.Connection:
    """Open a file in the calling thread."""
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # Text comes as the bytes that are stored: what is not UTF-8 is a corrupt record, not a store that fails.
    database.text_factory = bytes
    return database
