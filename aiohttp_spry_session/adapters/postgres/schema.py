"""The table of the PostgreSQL store: named, made, recognised, migrated.

``python -m aiohttp_spry_session.adapters.postgres_schema`` prints the SQL that makes or migrates it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from typing import Any, NamedTuple

__all__ = ["MIGRATIONS", "SchemaError", "Table", "main", "migrate", "needs_migration", "schema_sql"]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # Room in each page lets an update that changes no indexed column stay in its page and out of the indexes (HOT).
        """CREATE TABLE {table} (
    handle bytea NOT NULL PRIMARY KEY,
    payload bytea NOT NULL,
    version bigint NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision,
    owner bytea,
    retired boolean NOT NULL
) WITH (fillfactor = 80)""",
    ),
    (
        "CREATE INDEX ON {table} (expires_at) WHERE expires_at IS NOT NULL",
        # A hash takes an owner of any length, which a B-tree does not.
        "CREATE INDEX ON {table} USING hash (owner) WHERE owner IS NOT NULL",
    ),
)
"""The statements that lead to each version of the schema from the one before it."""

_MARK = "aiohttp-spry-session schema {version}"
_MAX_NAME_BYTES = 63


class SchemaError(Exception):
    """The table is not one that this version can use."""


class Table(NamedTuple):
    """The table's name, and the namespace that it is in; without one the connection's ``search_path`` decides."""

    name: str
    schema: str | None = None

    @property
    def sql(self) -> str:
        """The name as SQL has it."""
        return _quote(self.name) if self.schema is None else f"{_quote(self.schema)}.{_quote(self.name)}"

    @property
    def lock(self) -> int:
        """The key of the advisory lock under which this table is made, migrated or purged."""
        digest = hashlib.sha256(f"aiohttp-spry-session {self.sql}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    @classmethod
    def checked(cls, name: str, schema: str | None) -> Table:
        """Return the table; ``ValueError`` for a name that PostgreSQL would refuse, or cut off without a word."""
        _check_name("table", name)
        if schema is not None:
            _check_name("schema", schema)
        return cls(name, schema)


def schema_sql(table: str = "sessions", schema: str | None = None, *, since: int = 0) -> str:
    """Return the SQL, for a migration tool, that brings the table from one version of its schema to the newest.

    Run it in one transaction. The version is kept as the table's comment.

    :param since: the version that is there; 0: no table.
    :raises ValueError: for an unusable name, or a version that does not exist.
    """
    if not 0 <= since <= len(MIGRATIONS):
        raise ValueError(f"since must be a version of the schema, 0 to {len(MIGRATIONS)}, not {since!r}")
    return "".join(f"{statement};\n" for statement in _migration(Table.checked(table, schema), since))


async def needs_migration(connection: Any, table: Table, *, create: bool) -> bool:
    """Whether :func:`migrate` is to be called: the table is missing or old, and ``create`` allows to change that.

    :raises SchemaError: where it does not, and where the table is another application's or too new.
    """
    version = await _version(connection, table)
    newest = len(MIGRATIONS)
    if version > newest:
        raise SchemaError(
            f"the schema has version {version}, this release knows up to {newest}: upgrade aiohttp-spry-session"
        )
    if version == newest:
        return False
    if create:
        return True
    state = "it does not exist" if version == 0 else f"the schema has version {version}, {newest} is needed"
    raise SchemaError(f"{state}: pass create_schema=True, or run the SQL that schema_sql(since={version}) returns")


async def migrate(connection: Any, table: Table) -> None:
    """Make the table, or bring it to the newest version; of several processes that do so together, one does it."""
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(f"SELECT pg_advisory_xact_lock({table.lock})")
        if not await needs_migration(connection, table, create=True):
            return
        if table.schema is not None and not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", table.schema
        ):
            await connection.execute(f"CREATE SCHEMA {_quote(table.schema)}")
        for statement in _migration(table, await _version(connection, table)):
            await connection.execute(statement)


async def _version(connection: Any, table: Table) -> int:
    """Return the version of the table's schema; 0 where there is no table."""
    row = await connection.fetchrow(
        "SELECT obj_description(oid, 'pg_class') AS comment FROM pg_class WHERE oid = to_regclass($1)", table.sql
    )
    if row is None:
        return 0
    match = re.fullmatch(re.escape(_MARK.format(version="")) + r"([1-9][0-9]{0,8})", row["comment"] or "")
    if match is None:
        raise SchemaError("it belongs to another application (its comment names no version): choose another name")
    return int(match[1])


def _migration(table: Table, since: int) -> list[str]:
    if since == len(MIGRATIONS):
        return []
    statements = [statement.format(table=table.sql) for step in MIGRATIONS[since:] for statement in step]
    return [*statements, f"COMMENT ON TABLE {table.sql} IS '{_MARK.format(version=len(MIGRATIONS))}'"]


def _check_name(option: str, name: str) -> None:
    try:
        length = len(name.encode())
    except (AttributeError, UnicodeEncodeError):
        length = 0
    if not 0 < length <= _MAX_NAME_BYTES or "\0" in name:
        raise ValueError(f"{option} must be a name of 1 to {_MAX_NAME_BYTES} bytes in UTF-8, without NUL, not {name!r}")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def main() -> None:
    """Print what :func:`schema_sql` returns, as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m aiohttp_spry_session.adapters.postgres_schema",
        description="Print the SQL that makes or migrates the table of sessions; run it in one transaction.",
    )
    parser.add_argument("--table", default="sessions", help="the table's name (default: %(default)s)")
    parser.add_argument("--schema", help="the namespace that it is in (default: what search_path says)")
    parser.add_argument("--since", type=int, default=0, help="the version that is there (default: 0, no table)")
    options = parser.parse_args()
    try:
        print(schema_sql(options.table, options.schema, since=options.since), end="")  # noqa: T201
    except ValueError as error:
        parser.error(str(error))
