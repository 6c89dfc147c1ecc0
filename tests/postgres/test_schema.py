"""The table: made, recognised, migrated, refused; under any name."""

from __future__ import annotations

import asyncio
import runpy
import sys
import traceback

import asyncpg
import pytest

from aiohttp_spry_session import AdapterError, SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter, schema_sql
from aiohttp_spry_session.adapters.postgres import schema as postgres_schema
from aiohttp_spry_session.adapters.postgres.schema import MIGRATIONS, Table
from aiohttp_spry_session.testing import FakeClock
from tests.postgres.conftest import MakePostgres
from tests.servers.postgres import PostgresServer

RECORD = SessionRecord(b"data", 1, 1_700_000_000.0, 1_700_001_200.0, "owner")

NEWEST = len(MIGRATIONS)

NAMES = {
    "quotes": """o'ne" "two" `three`""",
    "injection": 'x"; DROP TABLE sessions; --',
    "placeholders": "$1 {table} {0} %s %(x)s :now",
    "reserved": "select",
    "upper case": "Sessions",
    "not ASCII": "séances 会話 🍪",
    "longest": "x" * 63,
    "longest not ASCII": "é" * 31,
    "backslash and newline": "a\\b\nc\t",
    "a catalogue's": "pg_class",
}


@pytest.fixture
async def database(postgres_server: PostgresServer, namespace: str):
    """A connection whose ``search_path`` is the test's namespace."""
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(f"CREATE SCHEMA {namespace}; SET search_path = {namespace}")
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_any_name_is_safe(make_postgres: MakePostgres, name: str, namespace: str) -> None:
    """Every operation works on a table, in a namespace, of any name that PostgreSQL has room for."""
    schema = name if not name.startswith("pg_") else namespace
    adapter = make_postgres(table=name, schema=schema)
    adapter.clock = FakeClock()
    await adapter.open()
    try:
        assert await adapter.create("handle", RECORD)
        assert await adapter.renew("handle", None)
        assert list(await adapter.find("owner")) == ["handle"]
        await adapter.destroy("handle")
        assert await adapter.load("handle") is None
        assert await adapter.purge() == 0
    finally:
        await adapter.close()


@pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, "nul\0", "\ud800", 1])
@pytest.mark.parametrize("option", ["table", "schema"])
def test_unusable_names_are_refused(option: str, name) -> None:
    """A name that PostgreSQL would refuse, or cut off without a word, is refused at construction."""
    with pytest.raises(ValueError, match=f"{option} must be a name of 1 to 63 bytes"):
        PostgresSessionAdapter("postgresql://", **{option: name})


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "10", None])
def test_unusable_time_limits_are_refused(timeout) -> None:
    """``command_timeout`` is a number of seconds above zero."""
    with pytest.raises(ValueError, match="command_timeout must be"):
        PostgresSessionAdapter("postgresql://", command_timeout=timeout)


def test_something_else_than_a_pool_or_a_dsn_is_refused() -> None:
    """A connection is no pool."""
    with pytest.raises(ValueError, match=r"pool_or_dsn must be an asyncpg\.Pool or a URL, not a object"):
        PostgresSessionAdapter(object())  # type: ignore[arg-type]


async def test_a_missing_table_is_refused(make_postgres: MakePostgres, namespace: str) -> None:
    """Nothing is created unasked."""
    with pytest.raises(AdapterError, match=rf'table "{namespace}"."sessions": it does not exist: pass create_schema'):
        await make_postgres(create_schema=False).open()


async def test_the_printed_sql_makes_the_table(database: asyncpg.Connection, make_postgres: MakePostgres) -> None:
    """A migration tool's user never needs ``create_schema=True``."""
    await database.execute(schema_sql())
    adapter = make_postgres(create_schema=False)
    await adapter.open()
    assert await adapter.create("handle", RECORD)
    await adapter.close()


async def test_the_search_path_decides_without_a_namespace(
    database: asyncpg.Connection, postgres_server: PostgresServer, namespace: str
) -> None:
    """``schema=None`` makes and finds the table where the connection looks first."""
    adapter = PostgresSessionAdapter(f"{postgres_server.dsn}?search_path={namespace}", create_schema=True)
    await adapter.open()
    await adapter.close()
    assert await database.fetchval("SELECT to_regclass($1)::text", f"{namespace}.sessions") == "sessions"


@pytest.mark.parametrize("version", range(1, NEWEST))
async def test_an_older_table_is_migrated_only_where_allowed(
    database: asyncpg.Connection, make_postgres: MakePostgres, version: int
) -> None:
    """It is refused without ``create_schema=True``, and migrated with it; the sessions stay."""
    await _make_version(database, version)
    row = "'\\x6162', 'x', 1, 0, NULL, NULL, false"
    await database.execute(f"INSERT INTO sessions VALUES ({row})")
    with pytest.raises(AdapterError, match=f"version {version}, {NEWEST} is needed: pass create_schema=True, or run"):
        await make_postgres(create_schema=False).open()
    adapter = make_postgres()
    await adapter.open()
    assert await adapter.load("ab") == SessionRecord(b"x", 1, 0.0, None)
    await adapter.close()
    assert await _shape(database, "sessions") == await _new_shape(database)


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
async def test_the_printed_migration_leads_to_the_same_table(database: asyncpg.Connection, version: int) -> None:
    """From every version the SQL leads to what a new table is."""
    await _make_version(database, version)
    await database.execute(schema_sql(since=version) or "SELECT 1")
    assert await _shape(database, "sessions") == await _new_shape(database)


async def test_a_newer_table_is_refused(database: asyncpg.Connection, make_postgres: MakePostgres) -> None:
    """An older release leaves it alone."""
    await database.execute(schema_sql())
    await database.execute(f"COMMENT ON TABLE sessions IS 'aiohttp-spry-session schema {NEWEST + 1}'")
    with pytest.raises(AdapterError, match=f"version {NEWEST + 1}, this release knows up to {NEWEST}: upgrade"):
        await make_postgres().open()


@pytest.mark.parametrize("comment", ["NULL", "'sessions'", "'aiohttp-spry-session schema 0'", "'schema 1'"])
async def test_another_applications_table_is_refused(
    database: asyncpg.Connection, make_postgres: MakePostgres, comment: str
) -> None:
    """A table without our mark is never touched."""
    await database.execute(f"CREATE TABLE sessions (id int); COMMENT ON TABLE sessions IS {comment}")
    with pytest.raises(
        AdapterError,
        match=r"^session store: open: table .*: it belongs to another application \(.*choose another name$",
    ):
        await make_postgres().open()
    assert await database.fetch("SELECT id FROM sessions") == []


async def test_several_may_make_the_table_at_once(make_postgres: MakePostgres) -> None:
    """Of processes that start together one makes the table, and all go on."""
    adapters = [make_postgres() for _ in range(12)]
    for adapter in adapters:
        adapter.clock = FakeClock()
    await asyncio.gather(*(adapter.open() for adapter in adapters))
    created = await asyncio.gather(*(adapter.create("handle", RECORD) for adapter in adapters))
    assert sorted(created) == [False] * 11 + [True]
    await asyncio.gather(*(adapter.close() for adapter in adapters))


@pytest.mark.parametrize(("version", "isolation"), [(NEWEST, "serializable"), (NEWEST + 1, "read%20committed")])
async def test_who_waited_for_the_lock_looks_again(
    database: asyncpg.Connection,
    make_postgres: MakePostgres,
    namespace: str,
    postgres_server: PostgresServer,
    version: int,
    isolation: str,
) -> None:
    """What another process has made meanwhile is seen, whatever the database's isolation: it is used, or refused."""
    adapter = make_postgres(f"{postgres_server.dsn}?default_transaction_isolation={isolation}")
    mark = f"aiohttp-spry-session schema {version}"
    async with database.transaction():
        await database.execute(f"SELECT pg_advisory_xact_lock({Table('sessions', namespace).lock})")
        opening = asyncio.create_task(adapter.open())
        watching = await asyncpg.connect(postgres_server.dsn)
        while not await watching.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not opening.done()
        await watching.close()
        await database.execute(schema_sql() + f"COMMENT ON TABLE sessions IS '{mark}'")
    if version == NEWEST:
        await opening
    else:
        with pytest.raises(AdapterError, match=f"version {version}, this release knows up to {NEWEST}"):
            await opening
    assert await database.fetchval("SELECT obj_description('sessions'::regclass, 'pg_class')") == mark
    await adapter.close()


@pytest.mark.parametrize("dsn", ["postgresql://127.0.0.1:1/x", "postgresql://127.0.0.1:{port}/missing?user=postgres"])
async def test_a_server_out_of_reach_is_told(dsn: str, postgres_server: PostgresServer) -> None:
    """A server that is away, or has no such database, is an ``AdapterError`` at the start."""
    adapter = PostgresSessionAdapter(dsn.format(port=postgres_server.port))
    with pytest.raises(AdapterError, match=r"open: (ConnectionRefusedError|OSError|InvalidCatalogNameError)"):
        await adapter.open()


@pytest.mark.parametrize("part", ["se/cret@127.0.0.1", "se#cret@127.0.0.1", "secret@[::1", "secret@127.0.0.1:99999"])
async def test_a_malformed_url_is_told_without_its_password(part: str) -> None:
    """Neither the error nor what is chained to it repeats any part of the URL."""
    with pytest.raises(AdapterError, match="open: the URL cannot be read") as raised:
        await PostgresSessionAdapter(f"postgresql://user:{part}/database").open()
    assert "'se" not in "".join(traceback.format_exception(raised.value))


async def test_a_table_that_is_there_is_not_migrated(
    make_postgres: MakePostgres, database: asyncpg.Connection, namespace: str
) -> None:
    """A start does not wait for the lock of a migration where none is needed."""
    first, another = make_postgres(), make_postgres()
    await first.open()
    await first.close()
    async with database.transaction():
        await database.execute(f"SELECT pg_advisory_xact_lock({Table('sessions', namespace).lock})")
        await another.open()
    await another.close()


def test_a_version_that_does_not_exist_is_refused() -> None:
    """The error names those that do."""
    for since in (-1, NEWEST + 1):
        with pytest.raises(ValueError, match=rf"^since must be a version of the schema, 0 to {NEWEST}, not {since}$"):
            schema_sql(since=since)


def test_another_databases_url_is_refused() -> None:
    """A URL of another kind is refused at construction, without being repeated."""
    with pytest.raises(ValueError, match="must begin with postgresql://") as raised:
        PostgresSessionAdapter("mysql://user:secret@host/database")
    assert "secret" not in str(raised.value)


async def test_an_error_of_the_caller_is_no_adapter_error(make_postgres: MakePostgres, monkeypatch) -> None:
    """Whatever interrupts ``open`` leaves no connection behind."""

    async def interrupt(*args: object, **options: object) -> bool:
        raise asyncio.CancelledError

    monkeypatch.setattr("aiohttp_spry_session.adapters.postgres.adapter.needs_migration", interrupt)
    adapter = make_postgres()
    with pytest.raises(asyncio.CancelledError):
        await adapter.open()
    assert adapter._writer._connection is None


def test_the_command_prints_the_sql(monkeypatch, capsys) -> None:
    """``python -m ...postgres_schema`` prints what ``schema_sql`` returns."""
    monkeypatch.setattr(sys, "argv", ["postgres_schema", "--table", "t", "--schema", "s", "--since", "1"])
    postgres_schema.main()
    assert capsys.readouterr().out == schema_sql("t", "s", since=1)
    assert '"s"."t"' in schema_sql("t", "s")


# Where another test has imported the module, running it is told of; that is no matter here.
ALREADY_IMPORTED = pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")


@ALREADY_IMPORTED
def test_the_command_refuses_what_does_not_exist(monkeypatch, capsys) -> None:
    """A wrong version or name is an error message and status 2."""
    monkeypatch.setattr(sys, "argv", ["postgres_schema", "--since", "99"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module("aiohttp_spry_session.adapters.postgres_schema", run_name="__main__")
    assert exit_.value.code == 2
    assert f"since must be a version of the schema, 0 to {NEWEST}, not 99" in capsys.readouterr().err


@ALREADY_IMPORTED
def test_the_command_runs_only_when_it_is_run(capsys) -> None:
    """Whoever imports it prints nothing."""
    runpy.run_module("aiohttp_spry_session.adapters.postgres_schema", run_name="imported")
    assert capsys.readouterr().out == ""


async def _make_version(database: asyncpg.Connection, version: int) -> None:
    for migration in MIGRATIONS[:version]:
        for statement in migration:
            await database.execute(statement.format(table="sessions"))
    await database.execute(f"COMMENT ON TABLE sessions IS 'aiohttp-spry-session schema {version}'")


async def _new_shape(database: asyncpg.Connection) -> list[str]:
    await database.execute(schema_sql("fresh"))
    return [line.replace("fresh", "sessions") for line in await _shape(database, "fresh")]


async def _shape(database: asyncpg.Connection, table: str) -> list[str]:
    """The table's columns, indexes and mark."""
    rows = await database.fetch(
        """
        SELECT format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull) FROM pg_attribute
        WHERE attrelid = $1::regclass AND attnum > 0
        UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1::regclass
        UNION ALL SELECT obj_description($1::regclass, 'pg_class')
        ORDER BY 1
        """,
        table,
    )
    return [row[0] for row in rows]
