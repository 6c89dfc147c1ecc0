"""The schema of the SQLite store: made, recognised, migrated."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from .checkpoints import MAX_LOG
from .room import keep_room

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SchemaError", "prepare"]

APPLICATION_ID = 0x53707279
"""``Spry``: what marks the file as one of ours."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE sessions (
            handle TEXT NOT NULL PRIMARY KEY,
            payload BLOB NOT NULL,
            version INTEGER NOT NULL,
            created_at REAL NOT NULL,
            expires_at REAL,
            owner TEXT,
            retired INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
    ),
    (
        "CREATE INDEX sessions_by_end ON sessions (expires_at) WHERE expires_at IS NOT NULL",
        "CREATE INDEX sessions_by_owner ON sessions (owner) WHERE owner IS NOT NULL",
    ),
)
"""The statements that lead to each version of the schema from the one before it; ``user_version`` counts them."""

_CACHE_KB = 16_000
"""The writer's cache: some 4,000 pages, which hold that many sessions in use. Each batch of loads begins with an empty
one after each write, so that the reader has no use for more than the default of 2 MB."""

_MIN_SQLITE = (3, 35, 0)


class SchemaError(Exception):
    """The file is not one that this version can use."""


def prepare(database: sqlite3.Connection, synchronous: str) -> None:
    """Configure the connection, and bring the file to the newest schema."""
    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        raise SchemaError(f"SQLite {sqlite3.sqlite_version} is too old: {'.'.join(map(str, _MIN_SQLITE))} is needed")
    # Before anything is changed; in one transaction, since another process may be at it.
    with _transaction(database, "BEGIN"):
        _check(database)
    (mode,) = database.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode not in (b"wal", b"memory"):
        raise SchemaError("write-ahead logging is not possible there: the file has to be on a local disk")
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.execute(f"PRAGMA wal_autocheckpoint = {MAX_LOG}")
    database.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    with _transaction(database, "BEGIN IMMEDIATE"):
        # Looked at again under the lock: another process may have migrated it meanwhile.
        version = _check(database)
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                database.execute(statement)
        if version < len(MIGRATIONS):  # else nothing is written: the disk may be full
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        keep_room(database)


@contextmanager
def _transaction(database: sqlite3.Connection, begin: str) -> Iterator[None]:
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _check(database: sqlite3.Connection) -> int:
    """Return the file's schema version; an empty file has 0."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise SchemaError("the database belongs to another application: give sessions a file of their own")
    if version > len(MIGRATIONS):
        raise SchemaError(
            f"the schema has version {version}, this release knows up to {len(MIGRATIONS)}: "
            "upgrade aiohttp-spry-session"
        )
    return int(version)
