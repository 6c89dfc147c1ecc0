"""Room to end sessions in: what removes something works on a disk that is full.

SQLite deletes by writing: the changed pages go to its log. So the log is given some space in advance; it is begun anew
when space gets scarce, because all of its space is free again then; and before the disk is full, whatever needs more
than that is refused.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from ...record import SessionRecord
from . import statements
from .batches import Call

try:
    import resource
except ImportError:  # pragma: no cover - Windows has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["ROOM", "is_full", "keep_room", "restart_log", "run_in_room"]

ROOM = 2**20
"""Bytes that the log has at least, and that only what ends sessions may take from the disk: dozens of logouts."""

_PLENTY = 256 * ROOM
"""Bytes on the disk with which nobody has to look at how long the log is."""

_PAGES = 4 * 1024
"""Bytes that a record takes in the table and its indexes, beside its payload, as a rule."""

_ASIDE = ROOM // 4
"""Bytes within the file that are set aside for ends when the disk gets full."""


def is_full(error: sqlite3.Error) -> bool:
    """Whether there was no space: on the disk, within a quota, or within a limit on the size of files."""
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def keep_room(database: sqlite3.Connection) -> None:
    """Give the log its space; within a transaction that may write, since nobody else writes to the log then."""
    _, _, path = database.execute("PRAGMA database_list").fetchone()
    if not path:  # in memory
        return
    with contextlib.suppress(OSError, AttributeError):  # no space any more, or no such call on this system
        log = os.open(path + b"-wal", os.O_RDWR)
        try:
            os.posix_fallocate(log, 0, ROOM)
        finally:
            os.close(log)


def restart_log(database: sqlite3.Connection) -> None:
    """Move the log into the file, and let the next write begin it anew; where that cannot be, nothing is lost."""
    with contextlib.suppress(sqlite3.Error):
        database.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def run_in_room(
    database: sqlite3.Connection,
    run: Callable[[sqlite3.Connection, float, Sequence[Call]], Sequence[Any]],
    now: float,
    calls: Sequence[Call],
    path: str,
) -> Sequence[Any]:
    """Run calls together; where there is no space for all, those that end a session, and the others fail."""
    free = _free(path)
    if free < _PLENTY:
        needed = ROOM + sum(map(_needs, calls))
        if free < needed + _size(path + "-wal"):
            restart_log(database)  # as long as the file can grow for it
            if _free(path) + _unused(database) < needed:
                _set_aside(database, path)
                return _run_endings(database, run, now, calls, sqlite3.OperationalError("the disk is full"))
    try:
        return run(database, now, calls)
    except sqlite3.Error as error:
        if not is_full(error):
            raise
        restart_log(database)
        return _run_endings(database, run, now, calls, error)


def _run_endings(
    database: sqlite3.Connection, run: Callable[..., Sequence[Any]], now: float, calls: Sequence[Call], error: Exception
) -> Sequence[Any]:
    results = iter(_run_in_parts(database, run, now, [call for call in calls if _ends(call)]))
    return [next(results) if _ends(call) else error for call in calls]


def _run_in_parts(
    database: sqlite3.Connection, run: Callable[..., Sequence[Any]], now: float, calls: Sequence[Call]
) -> list[Any]:
    """Run calls in as many transactions as it takes for each to fit into the log."""
    if not calls:
        return []
    try:
        results = list(run(database, now, calls))
    except sqlite3.Error as error:
        if not is_full(error):
            raise
        if len(calls) == 1:
            return [error]
        half = len(calls) // 2
        restart_log(database)
        return [result for part in (calls[:half], calls[half:]) for result in _run_in_parts(database, run, now, part)]
    restart_log(database)
    return results


def _ends(call: Call) -> bool:
    function, args = call
    return function is statements.destroy or (function is statements.update and args[1].retired)


def _set_aside(database: sqlite3.Connection, path: str) -> None:
    """Let the file have some unused pages, as long as there is space: an index may need one for an end, too."""
    if _unused(database) >= _ASIDE or _free(path) < 3 * _ASIDE:
        return
    handle = secrets.token_hex(32)
    with contextlib.suppress(sqlite3.Error):
        # Expired from the start: nobody ever sees it, and the purge would take it.
        statements.create(database, 0.0, handle, SessionRecord(bytes(_ASIDE), 1, 0.0, 0.0))
        restart_log(database)
        statements.destroy(database, 0.0, handle)
        restart_log(database)


def _needs(call: Call) -> int:
    """Return how many bytes a call may need at the most, in the log and in the file."""
    if _ends(call):
        return 0
    payload = max((len(arg.payload) for arg in call[1] if isinstance(arg, SessionRecord)), default=0)
    return 2 * (payload + _PAGES)


def _unused(database: sqlite3.Connection) -> int:
    """Return how many bytes within the file are free."""
    pages, size = (database.execute(f"PRAGMA {what}").fetchone()[0] for what in ("freelist_count", "page_size"))
    return int(pages * size)


def _free(path: str) -> int:
    """Return by how many bytes the file may grow; plenty, where nobody says."""
    return min(_free_on_disk(path), _free_within_limit(path))


def _free_on_disk(path: str) -> int:
    try:
        disk = os.statvfs(path)
    except (OSError, AttributeError):
        return _PLENTY
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else _PLENTY


def _free_within_limit(path: str) -> int:
    """Return what the limit on the size of files leaves. Past it the log could not be moved into the file any more."""
    if resource is None:
        return _PLENTY
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return _PLENTY if limit == resource.RLIM_INFINITY else limit - _size(path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
