"""Batches of operations on SQLite: one statement for many loads, one transaction for many writes.

The usual batch takes few statements and few calls; only what is unusual is carried out one by one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

from ...record import SessionRecord
from . import statements

__all__ = ["Call", "load_together", "purge_step", "run_together"]

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""An operation of :mod:`~.statements`, and its arguments after the connection and the time."""


def load_together(
    database: sqlite3.Connection, now: float, handles: Sequence[str]
) -> Sequence[SessionRecord | BaseException | None]:
    """Load records in one statement; where that fails, each in one of its own, so that each fails for itself."""
    try:
        return statements.load_many(database, now, handles)
    except Exception as error:  # noqa: BLE001 - the callers get it
        if len(handles) == 1:
            return [error]
        return [result for handle in handles for result in load_together(database, now, [handle])]


def run_together(database: sqlite3.Connection, now: float, calls: Sequence[Call]) -> Sequence[Any]:
    """Run calls in one transaction; one that fails has changed nothing, and the others are committed.

    Their callers wait at the same time, so one order among them is as good as another.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        results = _run_as_expected(database, now, calls)
        if results is None:
            if database.in_transaction:
                database.execute("ROLLBACK")
            database.execute("BEGIN IMMEDIATE")
            results = [_run(database, now, call) for call in calls]
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return results


def _run_as_expected(database: sqlite3.Connection, now: float, calls: Sequence[Call]) -> Sequence[Any] | None:
    """Run calls, all plain updates among them at once; ``None``, and half done, unless each of these succeeds."""
    results: list[Any] = [True] * len(calls)
    updates: list[Any] = []
    try:
        for position, (function, args) in enumerate(calls):
            if function is statements.update and not args[1].retired:
                updates.append(args)
            else:
                results[position] = function(database, now, *args)
        return results if not updates or statements.update_data(database, now, updates) else None
    except Exception:  # noqa: BLE001 - it will come again, and then it is known whose it is
        return None


def _run(database: sqlite3.Connection, now: float, call: Call) -> Any:
    function, args = call
    try:
        return function(database, now, *args)
    except Exception as error:
        # After some errors, such as a full disk, SQLite has rolled everything back by itself.
        if not database.in_transaction:
            raise
        return error


def purge_step(database: sqlite3.Connection, now: float, step: int, synchronous: str) -> tuple[int, float]:
    """Delete at most ``step`` expired records; return how many, and the seconds that it took.

    It does not wait for the disk: should a power cut undo it, they are still expired.
    """
    started = time.perf_counter()
    if synchronous != "OFF":
        database.execute("PRAGMA synchronous = NORMAL")
    try:
        removed = statements.purge(database, now, step)
    finally:
        database.execute(f"PRAGMA synchronous = {synchronous}")
    return removed, time.perf_counter() - started
