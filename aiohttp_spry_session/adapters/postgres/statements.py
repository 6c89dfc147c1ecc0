"""The adapter's operations as SQL: each statement carries out a whole batch, in one round trip and one transaction.

A record is live where it is not retired and its end has not come. Time is always a parameter: the adapter's clock.
Handles and owners are ``bytea``, so that any string can be stored in a database of any encoding.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...record import SessionRecord
from .rows import encode, key_of, stored_payload
from .schema import Table

__all__ = ["COUNT_STEP", "SCAN_STEP", "Kind", "Row", "Statements", "columns", "store"]

SCAN_STEP, COUNT_STEP = 200, 2000
"""How many records are looked at in one step."""

_COLUMNS = "payload, version, created_at, expires_at, owner, retired"
_UNEXPIRED = "(s.expires_at IS NULL OR s.expires_at > $1)"
_LIVE = "NOT s.retired AND " + _UNEXPIRED
_FITS = f"""(op.kind IN ('c', 'b', 'd')
        OR ({_LIVE} AND (op.kind = 'n' OR (op.kind IN ('u', 'r') AND s.version = op.version - 1))))"""
_PATIENCE = "20ms"

# For where the statement is not its own transaction: a host that vanishes before it commits must not leave its locks.
_ABANDONED = "(SELECT set_config('idle_in_transaction_session_timeout', '30s', true)) IS NOT NULL"

# The server cannot see through the inner SELECT how many handles there are, so it plans once, not for every batch anew.
_LOAD = "SELECT handle, {columns} FROM {table} s WHERE handle = ANY((SELECT $2::bytea[])::bytea[]) AND {unexpired}"

# OFFSET 0 keeps the look-up of one owner apart: joined, all of them would be one scan of the whole table.
_FIND = """
SELECT sought.owner, found.*
FROM unnest($2::bytea[]) AS sought (owner)
CROSS JOIN LATERAL (
    SELECT handle, {columns} FROM {table} s WHERE s.owner = sought.owner AND {live} OFFSET 0
) AS found
"""

# By the primary key, dead ones too: so each page takes the same time, however many of its records are over. How many
# these are stands in the statement, where the server sees it when it plans.
_SCAN = "SELECT {unexpired}, handle, {columns} FROM {table} s WHERE handle >= $2 ORDER BY handle LIMIT {scan_step}"
_COUNT = """
WITH page AS MATERIALIZED (
    SELECT handle, {live} AS is_live FROM {table} s WHERE handle >= $2 ORDER BY handle LIMIT {count_step}
)
SELECT (SELECT count(*) FROM page WHERE is_live), (SELECT count(*) FROM page),
    (SELECT handle FROM page ORDER BY handle DESC LIMIT 1)
"""

# Who wins is decided once, in "held": it locks the rows that fulfil their operation's condition. It waits for nobody: a
# row that somebody else holds, or has changed since the statement began, is "skipped", and its operation is left for
# another time. Only where another transaction has inserted a handle and not yet ended can "born" wait, a moment.
# A rotation is two rows, each the other's peer: the new record is born where the old one is held, and the old one is
# retired where the new one was born.
_WRITE = """
WITH op AS MATERIALIZED (
    SELECT * FROM unnest(
        $2::"char"[], $3::bytea[], $4::bytea[],
        $5::bytea[], $6::bigint[], $7::float8[], $8::float8[], $9::bytea[], $10::boolean[]
    ) AS op (kind, handle, peer, {columns})
), held AS MATERIALIZED (
    SELECT op.* FROM op JOIN {table} s ON s.handle = op.handle
    WHERE {fits}
    ORDER BY s.handle FOR UPDATE OF s SKIP LOCKED
), rest AS MATERIALIZED (
    SELECT kind, handle, peer, version FROM op WHERE handle NOT IN (SELECT handle FROM held)
), skipped AS MATERIALIZED (
    SELECT op.handle FROM rest op JOIN {table} s ON s.handle = op.handle
    WHERE {fits} AND (op.kind <> 'b' OR op.peer IN (SELECT held.handle FROM held))
), born AS (
    INSERT INTO {table} AS s (handle, {columns})
    SELECT op.handle, op.payload, op.version, op.created_at, op.expires_at, op.owner, op.retired
    FROM op
    WHERE (SELECT set_config('lock_timeout', '{patience}', true)) IS NOT NULL AND {abandoned}
        AND (op.kind = 'c' OR (op.kind = 'b' AND op.peer IN (SELECT held.handle FROM held)))
        AND op.handle NOT IN (SELECT skipped.handle FROM skipped)
    ORDER BY op.handle
    ON CONFLICT (handle) DO UPDATE SET
        payload = excluded.payload, version = excluded.version, created_at = excluded.created_at,
        expires_at = excluded.expires_at, owner = excluded.owner, retired = excluded.retired
    WHERE s.expires_at <= $1
    RETURNING s.handle
), updated AS (
    UPDATE {table} s SET
        payload = op.payload, version = op.version, created_at = op.created_at,
        expires_at = op.expires_at, owner = op.owner, retired = op.retired
    FROM held op LEFT JOIN born ON born.handle = op.peer
    WHERE s.handle = op.handle AND (op.kind = 'u' OR (op.kind = 'r' AND born.handle IS NOT NULL))
    RETURNING s.handle
), renewed AS (
    UPDATE {table} s SET
        version = s.version + 1,
        expires_at = CASE WHEN s.expires_at IS NOT NULL AND op.expires_at IS NOT NULL
            THEN greatest(s.expires_at, op.expires_at) END
    FROM held op WHERE s.handle = op.handle AND op.kind = 'n'
    RETURNING s.handle
), gone AS (
    DELETE FROM {table} s USING held op WHERE s.handle = op.handle AND op.kind = 'd'
    RETURNING s.handle, {unexpired} AS was_there
)
SELECT handle, true FROM born UNION ALL SELECT handle, true FROM updated UNION ALL SELECT handle, true FROM renewed
UNION ALL SELECT handle, true FROM gone WHERE was_there UNION ALL SELECT handle, false FROM skipped
"""

# Whoever takes the lock has the turn, until the end of the statement.
_PURGE = """
WITH expired AS MATERIALIZED (
    SELECT handle FROM {table}
    WHERE (SELECT pg_try_advisory_xact_lock({lock})) AND {abandoned} AND expires_at <= $1
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {table} WHERE handle = ANY(ARRAY(SELECT handle FROM expired)) RETURNING 1
)
SELECT count(*) FROM gone
"""


class Statements(NamedTuple):
    """The statements for one table. ``$1`` is the time, in Unix seconds."""

    load: str
    """Returns the live and retired ones of some handles: handle, then the fields of the record."""

    find: str
    """Returns the live records of some owners: owner, handle, then the fields of the record."""

    write: str
    """Carries out the :func:`columns` of rows of distinct handles.

    Returns handles of the operations that won, each with true, and of those that somebody else's hold on a row kept
    from being decided, each with false: nothing was changed for them. The others have lost.
    """

    purge: str
    """Deletes at most ``$2`` expired records, unless another worker is at it; returns how many."""

    scan_page: str
    """Returns :data:`SCAN_STEP` records by handle, from ``$2`` on: whether unexpired, handle, then the fields."""

    count_page: str
    """Returns how many of :data:`COUNT_STEP` records, from ``$2`` on, are live; how many these are; the last handle."""

    @classmethod
    def on(cls, table: Table) -> Statements:
        """Return the statements for a table."""
        parts = {
            "table": table.sql,
            "lock": table.lock,
            "columns": _COLUMNS,
            "unexpired": _UNEXPIRED,
            "live": _LIVE,
            "fits": _FITS,
            "patience": _PATIENCE,
            "abandoned": _ABANDONED,
            "scan_step": SCAN_STEP,
            "count_step": COUNT_STEP,
        }
        return cls(*(template.format_map(parts) for template in (_LOAD, _FIND, _WRITE, _PURGE, _SCAN, _COUNT)))


class Kind(bytes, enum.Enum):
    """What is to be done with a row; the letter is that of the statement."""

    CREATE = b"c"
    UPDATE = b"u"
    RENEW = b"n"
    DESTROY = b"d"
    RETIRE = b"r"
    """Of a rotation, the old row: update it where its peer is born."""
    BEAR = b"b"
    """Of a rotation, the new row: create it where its peer is held."""


class Row(NamedTuple):
    """One row of the statement that writes."""

    kind: Kind
    handle: bytes
    peer: bytes | None = None
    payload: bytes | None = None
    version: int | None = None
    created_at: float | None = None
    expires_at: float | None = None
    owner: bytes | None = None
    retired: bool | None = None


def store(kind: Kind, handle: str, record: SessionRecord, *, peer: str | None = None) -> Row:
    """Return the row that stores a record."""
    key = key_of(handle)
    return Row(
        kind,
        key,
        None if peer is None else key_of(peer),
        stored_payload(handle, key, record.payload),
        record.version,
        record.created_at,
        record.expires_at,
        None if record.owner is None else encode(record.owner),
        record.retired,
    )


def columns(rows: Iterable[Row]) -> list[list[Any]]:
    """Return the parameters of the statement that writes, after the time."""
    return [list(column) for column in zip(*rows, strict=True)]
