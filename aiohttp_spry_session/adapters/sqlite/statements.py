# ruff: noqa: S608 - the statements are put together from the constants here; values are bound
"""The adapter's operations as SQL. Each takes the connection and the time, in Unix seconds, before its arguments.

A record is live where ``retired = 0`` and its end has not come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from ...events import logger
from ...record import SessionRecord

__all__ = [
    "MAX_LOADS",
    "count_page",
    "create",
    "destroy",
    "find",
    "load_many",
    "purge",
    "renew",
    "rotate",
    "scan_page",
    "update",
    "update_data",
]

_LOAD_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MAX_LOADS = _LOAD_LENGTHS[-1]

_COLUMNS = "payload, version, created_at, expires_at, owner, retired"
_UNEXPIRED = "(expires_at IS NULL OR expires_at > :now)"
_LIVE = f"retired = 0 AND {_UNEXPIRED}"

# Each row tells which of the handles it is for. CROSS JOIN is SQLite's way to say in which order to join.
_LOAD = f"SELECT column1, {_COLUMNS} FROM (VALUES {{}}) CROSS JOIN sessions ON handle = column2"
_LOADS = {length: _LOAD.format(", ".join(f"({position}, ?)" for position in range(length))) for length in _LOAD_LENGTHS}
_CREATE = f"""
    INSERT INTO sessions (handle, {_COLUMNS})
    VALUES (:handle, :payload, :version, :created_at, :expires_at, :owner, :retired)
    ON CONFLICT (handle) DO UPDATE SET
        payload = excluded.payload, version = excluded.version, created_at = excluded.created_at,
        expires_at = excluded.expires_at, owner = excluded.owner, retired = excluded.retired
    WHERE NOT {_UNEXPIRED.replace("expires_at", "sessions.expires_at")}
"""
_UPDATE = f"""
    UPDATE sessions SET
        payload = :payload, version = :version, created_at = :created_at,
        expires_at = :expires_at, owner = :owner, retired = :retired
    WHERE handle = :handle AND version = :version - 1 AND {_LIVE}
"""
_UPDATE_DATA = """
    UPDATE sessions SET payload = ?, version = ?
    WHERE handle = ? AND version = ? AND retired = 0 AND (expires_at IS NULL OR expires_at > ?)
        AND created_at = ? AND expires_at IS ? AND owner IS ?
"""
_RENEW = f"""
    UPDATE sessions SET version = version + 1, expires_at = max(expires_at, :expires_at)
    WHERE handle = :handle AND {_LIVE}
"""
# As _UNEXPIRED, without IS NULL: within RETURNING that is 0 for NULL too (SQLite 3.40).
_DESTROY = "DELETE FROM sessions WHERE handle = :handle RETURNING coalesce(expires_at > :now, 1)"
_FIND = f"SELECT handle, {_COLUMNS} FROM sessions WHERE owner = :owner AND {_LIVE}"
# By the primary key, dead ones too: so each page takes the same time, however many of its records are over. A blob,
# which nobody here writes, comes after all text, and would be taken for the text of the same bytes.
_PAGE = "SELECT {} FROM sessions WHERE handle >= CAST(:start AS TEXT) AND handle < x'' ORDER BY handle LIMIT :step"
_SCAN = _PAGE.format(f"handle, {_COLUMNS}")
_COUNT = f"SELECT count(*), coalesce(sum(is_live), 0), max(handle) FROM ({_PAGE.format(f'handle, {_LIVE} AS is_live')})"
_PURGE = """
    DELETE FROM sessions WHERE handle IN (SELECT handle FROM sessions WHERE expires_at <= :now LIMIT :step)
"""

_Row = tuple[int, Any, Any, Any, Any, Any, Any]
"""The position of a handle, and the columns of its record: whatever somebody may have put there."""

_FIRST_TIME, _LAST_TIME = -62_135_596_800.0, 253_402_300_800.0
"""What a ``datetime`` can show, in Unix seconds: from the year 1 to the end of the year 9999."""


def load_many(database: sqlite3.Connection, now: float, handles: Sequence[str]) -> list[SessionRecord | None]:
    """Return the live and retired records of at most :data:`MAX_LOADS` handles, in one statement."""
    # A few lengths only, so that SQLite has each statement prepared already; what is left over matches nothing.
    length = next(length for length in _LOAD_LENGTHS if length >= len(handles))
    rows = database.execute(_LOADS[length], [*handles, *[None] * (length - len(handles))]).fetchall()
    return _records(rows, now, handles)


def create(database: sqlite3.Connection, now: float, handle: str, record: SessionRecord) -> bool:
    """Insert a record, or put it in the place of an expired one."""
    return _changed(database, _CREATE, _parameters(handle, record, now))


def update_data(database: sqlite3.Connection, now: float, updates: Sequence[tuple[str, SessionRecord]]) -> bool:
    """Update live records that stay live and keep their creation, end and owner; whether it was right for all.

    As a rule it is, and leaving the indexes alone makes it several times as fast. Where it is not, some are updated,
    and nobody knows which.
    """
    parameters = [
        (
            record.payload,
            record.version,
            handle,
            record.version - 1,
            now,
            record.created_at,
            record.expires_at,
            record.owner,
        )
        for handle, record in updates
    ]
    return database.executemany(_UPDATE_DATA, parameters).rowcount == len(parameters)


def update(database: sqlite3.Connection, now: float, handle: str, record: SessionRecord) -> bool:
    """Replace the live record of the previous version."""
    return _changed(database, _UPDATE, _parameters(handle, record, now))


def renew(database: sqlite3.Connection, now: float, handle: str, expires_at: float | None) -> bool:
    """Move a live record's end; ``max`` with NULL is NULL: never."""
    return _changed(database, _RENEW, {"handle": handle, "expires_at": expires_at, "now": now})


def rotate(
    database: sqlite3.Connection, now: float, old: str, new: str, record: SessionRecord, retired: SessionRecord
) -> bool:
    """Retire the old record and create the new one: both, or neither."""
    if load_many(database, now, [new]) != [None]:
        return False
    database.execute("SAVEPOINT rotation")
    try:
        rotated = update(database, now, old, retired)
        if rotated:
            create(database, now, new, record)
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK TO rotation")
        raise
    database.execute("RELEASE rotation")
    return rotated


def destroy(database: sqlite3.Connection, now: float, handle: str) -> bool:
    """Delete a record; return whether it was one that had not expired."""
    return database.execute(_DESTROY, {"handle": handle, "now": now}).fetchall() == [(1,)]


def find(database: sqlite3.Connection, now: float, owner: str) -> dict[str, SessionRecord]:
    """Return an owner's live records."""
    return _found(database.execute(_FIND, {"owner": owner, "now": now}), now)


def scan_page(
    database: sqlite3.Connection, now: float, start: bytes, step: int
) -> tuple[dict[str, SessionRecord], bytes | None]:
    """Return the live and retired ones of ``step`` records by their handles, from one on; and the next page's start.

    The first page starts at ``b""``. A start is in bytes, since a handle may be none.
    """
    rows = database.execute(_SCAN, {"start": start, "step": step}).fetchall()
    return _found(rows, now), _after(rows[-1][0]) if len(rows) == step else None


def count_page(database: sqlite3.Connection, now: float, start: bytes, step: int) -> tuple[int, bytes | None]:
    """Return how many of the records of a page, as :func:`scan_page` has it, are live; and the start of the next."""
    ((rows, live, last),) = database.execute(_COUNT, {"start": start, "step": step, "now": now})
    return live, _after(last) if rows == step else None


def _after(handle: bytes) -> bytes:
    """Return the first of all handles that come after one."""
    return handle + b"\0"


def _found(stored_rows: Iterable[Sequence[Any]], now: float) -> dict[str, SessionRecord]:
    """Return the records of rows by the handles that these begin with, unless they are over."""
    handles: list[str] = []
    rows: list[Any] = []
    for stored, *row in stored_rows:
        handle = stored.decode(errors="replace")
        if handle.encode() == stored:
            rows.append((len(handles), *row))
            handles.append(handle)
        else:
            _report_corrupt(handle)
    records = _records(rows, now, handles)
    return {handle: record for handle, record in zip(handles, records, strict=True) if record is not None}


def purge(database: sqlite3.Connection, now: float, step: int) -> int:
    """Delete at most ``step`` expired records; return how many."""
    return database.execute(_PURGE, {"now": now, "step": step}).rowcount


def _changed(database: sqlite3.Connection, statement: str, parameters: dict[str, Any]) -> bool:
    return database.execute(statement, parameters).rowcount == 1


def _records(rows: Iterable[_Row], now: float, handles: Sequence[str]) -> list[SessionRecord | None]:
    """Return the records of rows by the positions of their handles, unless they are over.

    One that nobody here wrote is logged, and left out. All in one function, because every request comes through here.
    """
    records: list[SessionRecord | None] = [None] * len(handles)
    for position, payload, version, created_at, expires_at, owner, retired in rows:
        try:
            if type(payload) is not bytes or type(version) is not int:
                raise TypeError
            if not _FIRST_TIME <= created_at < _LAST_TIME:
                raise ValueError
            if expires_at is not None:
                if not _FIRST_TIME <= expires_at < _LAST_TIME:
                    raise ValueError
                if expires_at <= now:
                    continue
            records[position] = SessionRecord(
                payload, version, created_at, expires_at, None if owner is None else owner.decode(), bool(retired)
            )
        except (AttributeError, TypeError, ValueError):
            _report_corrupt(handles[position])
    return records


def _report_corrupt(handle: str) -> None:
    logger.error("the stored session %r is corrupt and counts as absent", handle)


def _parameters(handle: str, record: SessionRecord, now: float) -> dict[str, Any]:
    return {
        "handle": handle,
        "payload": record.payload,
        "version": record.version,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "owner": record.owner,
        "retired": record.retired,
        "now": now,
    }
