"""Checkpoints: what SQLite's log holds moves into the file, where no write has to wait for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

from ...events import logger

__all__ = ["LONG_LOG", "MAX_LOG", "Checkpoints", "checkpoint"]

MAX_LOG = 16_000
"""Pages in the log (64 MB) from which on SQLite moves them within a write; only if all else came too late."""

LONG_LOG = MAX_LOG // 2
"""Pages in the log from which on what can wait is to wait until the log begins anew."""

_ROWS = 2000


def checkpoint(database: sqlite3.Connection, synchronous: str) -> int:
    """Move what can be moved without stopping anybody; return how many pages the log holds, moved ones included.

    Once all are moved, and nobody reads from it, the next write begins the log anew.
    """
    database.execute(f"PRAGMA synchronous = {synchronous}")
    _, pages, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)


class Checkpoints:
    """Has the log moved each time that so many rows were written.

    Left to itself, SQLite does it in the commit that fills the log, which then takes as long as dozens of others.

    :param run: makes one checkpoint, in a thread and on a connection of its own; returns how long the log is, in pages.
    """

    def __init__(self, run: Callable[[], Awaitable[int]]) -> None:
        self._run = run
        self._rows = 0
        self._pages = 0
        self._task: asyncio.Task[None] | None = None

    def wrote(self, rows: int) -> None:
        """Take note that so many rows were written."""
        self._rows += rows
        if self._rows >= _ROWS and self._task is None:
            self._start()

    async def catch_up(self) -> None:
        """Wait where the log fills faster than it is moved."""
        if self._pages >= LONG_LOG and self._task is None:
            self._start()
        if self._task is not None and (self._pages >= LONG_LOG or self._rows >= _ROWS):
            await asyncio.shield(self._task)

    async def move(self) -> None:
        """Have the log moved now."""
        if self._task is None:
            self._start()
        await self.drain()

    async def drain(self) -> None:
        """Wait for the checkpoint under way."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def _start(self) -> None:
        self._rows = 0
        self._task = asyncio.create_task(self._checkpoint())

    async def _checkpoint(self) -> None:
        try:
            self._pages = await self._run()
        except sqlite3.Error:
            # Nothing is lost: it stays in the log, and the next one will try again.
            logger.warning("a checkpoint failed", exc_info=True)
        finally:
            self._task = None
