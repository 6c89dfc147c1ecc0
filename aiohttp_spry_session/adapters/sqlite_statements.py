# ruff: noqa: S608 - the statements are put together from the constants here; values are bound
"""The adapter's operations as SQL. Each takes the connection and the time, in Unix seconds, before its arguments.

A record is live where ``retired = 0`` and its end has not come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ..adapter import SessionRecord, retire
from ..events import logger

__all__ = ["MAX_LOADS", "create", "destroy", "find", "load_many", "purge", "renew", "rotate", "update"]

_LOAD_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MAX_LOADS = _LOAD_LENGTHS[-1]

_COLUMNS = "payload, version, created_at, expires_at, owner, retired"
_UNEXPIRED = "(expires_at IS NULL OR expires_at > :now)"
_LIVE = f"retired = 0 AND {_UNEXPIRED}"

_LOAD = f"SELECT handle, {_COLUMNS} FROM sessions WHERE handle IN ({{}})"
_LOADS = {length: _LOAD.format(", ".join("?" * length)) for length in _LOAD_LENGTHS}
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
_RENEW = f"""
    UPDATE sessions SET version = version + 1, expires_at = max(expires_at, :expires_at)
    WHERE handle = :handle AND {_LIVE}
"""
_DESTROY = "DELETE FROM sessions WHERE handle = :handle"
_FIND = f"SELECT handle, {_COLUMNS} FROM sessions WHERE owner = :owner AND {_LIVE}"
_PURGE = """
    DELETE FROM sessions WHERE handle IN (SELECT handle FROM sessions WHERE expires_at <= :now LIMIT :step)
"""

_FIRST_TIME, _LAST_TIME = -62_135_596_800.0, 253_402_300_800.0
"""What a ``datetime`` can show, in Unix seconds: from the year 1 to the end of the year 9999."""


def load_many(database: sqlite3.Connection, now: float, handles: Sequence[str]) -> dict[str, SessionRecord]:
    """Return the live and retired records of at most :data:`MAX_LOADS` handles, in one statement."""
    # A few lengths only, so that SQLite has each statement prepared already; repeating a handle does no harm.
    length = next(length for length in _LOAD_LENGTHS if length >= len(handles))
    rows = database.execute(_LOADS[length], [*handles, *[handles[0]] * (length - len(handles))]).fetchall()
    records = _records(rows)
    return {handle: record for handle, record in records.items() if not record.is_expired(now)}


def create(database: sqlite3.Connection, now: float, handle: str, record: SessionRecord) -> bool:
    """Insert a record, or put it in the place of an expired one."""
    return _changed(database, _CREATE, _parameters(handle, record, now))


def update(database: sqlite3.Connection, now: float, handle: str, record: SessionRecord) -> bool:
    """Replace the live record of the previous version."""
    return _changed(database, _UPDATE, _parameters(handle, record, now))


def renew(database: sqlite3.Connection, now: float, handle: str, expires_at: float | None) -> bool:
    """Move a live record's end; ``max`` with NULL is NULL: never."""
    return _changed(database, _RENEW, {"handle": handle, "expires_at": expires_at, "now": now})


def rotate(database: sqlite3.Connection, now: float, old: str, new: str, record: SessionRecord, grace: float) -> bool:
    """Retire the old record and create the new one: both, or neither."""
    if load_many(database, now, [new]):
        return False
    database.execute("SAVEPOINT rotation")
    try:
        rotated = update(database, now, old, retire(record, new, now=now, grace=grace))
        if rotated:
            create(database, now, new, record)
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK TO rotation")
        raise
    database.execute("RELEASE rotation")
    return rotated


def destroy(database: sqlite3.Connection, now: float, handle: str) -> None:
    """Delete a record."""
    database.execute(_DESTROY, {"handle": handle})


def find(database: sqlite3.Connection, now: float, owner: str) -> dict[str, SessionRecord]:
    """Return an owner's live records."""
    return _records(database.execute(_FIND, {"owner": owner, "now": now}).fetchall())


def purge(database: sqlite3.Connection, now: float, step: int) -> int:
    """Delete at most ``step`` expired records; return how many."""
    return database.execute(_PURGE, {"now": now, "step": step}).rowcount


def _changed(database: sqlite3.Connection, statement: str, parameters: dict[str, Any]) -> bool:
    return database.execute(statement, parameters).rowcount == 1


def _records(rows: Sequence[Sequence[Any]]) -> dict[str, SessionRecord]:
    """Return the records of rows by handle; one that nobody here wrote is logged, and left out."""
    records: dict[str, SessionRecord] = {}
    for stored_handle, *row in rows:
        try:
            records[stored_handle.decode()] = _record(*row)
        except (AttributeError, TypeError, ValueError):
            handle = stored_handle.decode(errors="replace")
            logger.error("the stored session %r is corrupt and counts as absent", handle)
    return records


def _record(payload: Any, version: Any, created_at: Any, expires_at: Any, owner: Any, retired: Any) -> SessionRecord:
    if type(payload) is not bytes or type(version) is not int:
        raise TypeError
    if not _FIRST_TIME <= created_at < _LAST_TIME or not (expires_at is None or _FIRST_TIME <= expires_at < _LAST_TIME):
        raise ValueError
    return SessionRecord(
        payload, version, created_at, expires_at, None if owner is None else owner.decode(), bool(retired)
    )


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
