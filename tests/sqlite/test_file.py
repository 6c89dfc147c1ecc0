"""The SQLite adapter and its file: made, recognised, migrated, shared, closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from aiohttp_spry_session import AdapterError, SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import adapter as sqlite
from aiohttp_spry_session.adapters.sqlite import connection as sqlite_connection
from aiohttp_spry_session.adapters.sqlite import schema as sqlite_schema
from aiohttp_spry_session.adapters.sqlite.hints import prepare_notes
from aiohttp_spry_session.adapters.sqlite.schema import APPLICATION_ID, MIGRATIONS, SchemaError, prepare
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import a_record, opened, rotate

from .support import make_file, no_thread_left, query


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def refused(path, match):
    """Open an adapter, and hold its refusal to an AdapterError that names the file; no thread may be left."""
    adapter = SQLiteSessionAdapter(path)
    with no_thread_left():
        try:
            with pytest.raises(AdapterError, match=match) as caught:
                await adapter.open()
        finally:
            await adapter.close()
    assert caught.value.operation == "open"
    assert str(path) in str(caught.value)
    assert caught.value.__cause__ is not None
    with pytest.raises(AdapterError, match="not open"):
        await adapter.load("a")


@pytest.mark.parametrize("wrong", [{"path": ""}, {"path": b"sessions.db"}, {"path": "a\0b"}, {"synchronous": "MAYBE"}])
def test_options_are_checked(wrong):
    """What cannot work is refused at construction."""
    with pytest.raises(ValueError, match=r"^path must be the name of a file, or ':memory:'$|^synchronous must be"):
        SQLiteSessionAdapter(**{"path": "sessions.db", **wrong})


def test_a_path_may_be_anything_that_names_a_file(path):
    """``str`` and ``Path`` are the same."""
    assert SQLiteSessionAdapter(path).path == SQLiteSessionAdapter(str(path)).path == str(path)


def test_the_expiration_is_what_was_asked_for(path):
    """In seconds, and 20 minutes by default."""
    assert SQLiteSessionAdapter(path, expiration=90).expiration == 90
    assert SQLiteSessionAdapter(path).expiration == 1200


async def test_sessions_in_memory_leave_no_file(tmp_path, monkeypatch, clock):
    """``:memory:`` is not the name of one."""
    monkeypatch.chdir(tmp_path)
    async with opened(SQLiteSessionAdapter(":memory:"), clock) as adapter:
        assert await adapter.create("a", a_record(clock))
    assert not list(tmp_path.iterdir())


async def test_nothing_happens_before_open(path):
    """A constructor touches no file."""
    SQLiteSessionAdapter(path)
    assert not path.exists()


OPERATIONS = {
    "load": lambda adapter, record: adapter.load("a"),
    "create": lambda adapter, record: adapter.create("a", record),
    "update": lambda adapter, record: adapter.update("a", record),
    "destroy": lambda adapter, record: adapter.destroy("a"),
    "renew": lambda adapter, record: adapter.renew("a", None),
    "rotate": lambda adapter, record: rotate(adapter, "a", "b", record),
    "find": lambda adapter, record: adapter.find("ada"),
    "purge": lambda adapter, record: adapter.purge(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_is_not_open_says_what_was_asked_and_how_to_open_it(path, clock, operation):
    """Every operation is refused alike."""
    with pytest.raises(AdapterError) as caught:
        await OPERATIONS[operation](SQLiteSessionAdapter(path), a_record(clock))
    assert caught.value.operation == operation
    assert str(caught.value) == (
        f"session store: {operation}: the adapter is not open: "
        "use setup(app, manager), or 'async with manager:' in a script"
    )


async def test_a_new_file_is_its_owners_alone(path, clock):
    """The file, and what SQLite keeps beside it, can be read by nobody else, whatever the umask."""
    umask = os.umask(0)
    try:
        async with opened(SQLiteSessionAdapter(path), clock) as adapter:
            await adapter.create("a", a_record(clock))
            files = sorted(file.name for file in path.parent.iterdir())
            assert files == ["sessions.db", "sessions.db-shm", "sessions.db-wal"]
            assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    finally:
        os.umask(umask)


async def test_an_existing_files_mode_is_the_administrators(path, clock):
    """Who made the file decides who reads it."""
    path.touch()
    path.chmod(0o640)
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        assert await adapter.create("a", a_record(clock))
        assert mode(path) == 0o640


async def test_the_file_is_in_wal_mode_and_marked_as_ours(path, clock):
    """Another program can tell what it is, and closing leaves a single, whole file."""
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        await adapter.create("a", a_record(clock))
        assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert [file.name for file in path.parent.iterdir()] == ["sessions.db"]
    assert query(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert query(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "SELECT handle FROM sessions") == [("a",)]


@pytest.mark.parametrize(("name", "value"), [("OFF", 0), ("NORMAL", 1), ("FULL", 2), ("EXTRA", 3)])
async def test_synchronous_is_what_was_asked_for(path, clock, name, value):
    """The writing connection has the setting."""
    async with opened(SQLiteSessionAdapter(path, synchronous=name), clock) as adapter:
        assert await adapter._writer.perform(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (value,)


async def test_the_default_is_durable(path, clock):
    """What was answered survives a power cut unless somebody chose otherwise."""
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        assert await adapter._writer.perform(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)


async def test_a_missing_directory_is_refused(tmp_path):
    """It is not made: that it is missing may be a mistake in the path."""
    await refused(tmp_path / "missing" / "sessions.db", "No such file or directory")


async def test_a_directory_is_refused(tmp_path):
    """A directory is no file."""
    await refused(tmp_path, "unable to open database file")


@pytest.mark.parametrize("content", [b"\x00" * 4096, b"SQLite format 3\x00" + b"\xff" * 4080, b"name,value\n" * 500])
async def test_what_is_no_database_is_refused_and_left_alone(path, content):
    """Somebody's file is not overwritten."""
    path.write_bytes(content)
    await refused(path, r"not a database|malformed|unsupported|disk image")
    assert path.read_bytes() == content


async def test_another_applications_database_is_refused_and_left_alone(path):
    """A database with tables that are not ours, or with another's mark, is not touched."""
    make_file(path, version=0, application_id=0, statements=["CREATE TABLE customers (name TEXT)"])
    before = path.read_bytes()
    await refused(path, ": the database belongs to another application: give sessions a file of their own$")
    assert path.read_bytes() == before
    path.unlink()
    make_file(path, version=0, application_id=0x12345678)
    await refused(path, "belongs to another application")
    path.unlink()
    make_file(path, version=3, application_id=0, statements=[])
    await refused(path, "belongs to another application")


async def test_a_newer_schema_is_refused(path):
    """An older release does not write into what it does not know."""
    make_file(path)
    query(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    await refused(path, f"version {len(MIGRATIONS) + 1}, this release knows up to {len(MIGRATIONS)}: upgrade")


async def test_an_older_schema_is_migrated_with_its_sessions(path, clock):
    """Whoever was signed in before an upgrade still is."""
    make_file(path, version=1)
    begin = clock()
    insert = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)"
    query(path, insert, "a", b"data", 3, begin, begin + 60, "ada", 0)
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        record = await adapter.load("a")
        assert (record.payload, record.version, record.owner) == (b"data", 3, "ada")
        assert set(await adapter.find("ada")) == {"a"}
        clock.advance(60)
        assert await adapter.purge() == 1
    assert query(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    indexes = query(path, "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'sessions_by_%'")
    assert len(indexes) == 2


async def test_a_migration_that_fails_changes_nothing(path):
    """A schema is the old one or the new one."""
    make_file(path, version=1)
    query(path, "CREATE INDEX sessions_by_owner ON sessions (owner)")  # in the way of the second step
    await refused(path, "already exists")
    assert query(path, "PRAGMA user_version") == [(1,)]
    assert query(path, "SELECT count(*) FROM sqlite_master WHERE name = 'sessions_by_end'") == [(0,)]


async def test_a_migration_that_the_database_gives_up_is_refused(path, monkeypatch):
    """Where SQLite has rolled everything back by itself, the error is still the one that it met."""
    monkeypatch.setattr(sqlite_schema, "MIGRATIONS", (("CREATE TABLE t (a)", "ROLLBACK", "nonsense"),))
    await refused(path, 'near "nonsense"')
    assert query(path, "SELECT count(*) FROM sqlite_master") == [(0,)]


async def test_the_indexes_are_used(path, clock):
    """Finding an owner's sessions and purging look at no other rows."""
    async with opened(SQLiteSessionAdapter(path), clock):
        plans = [
            query(path, "EXPLAIN QUERY PLAN SELECT * FROM sessions WHERE owner = 'ada' AND retired = 0"),
            query(path, "EXPLAIN QUERY PLAN SELECT handle FROM sessions WHERE expires_at <= 5 LIMIT 200"),
        ]
    assert "sessions_by_owner" in str(plans[0])
    assert "sessions_by_end" in str(plans[1])


async def test_an_old_sqlite_is_refused(path, monkeypatch):
    """The message says which version is there, and which is needed."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    await refused(path, "too old: 3.35.0 is needed")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    adapter = SQLiteSessionAdapter(path)
    await adapter.open()
    await adapter.close()


def test_a_place_without_wal_is_refused():
    """Where SQLite cannot share memory, as on a network file system, it keeps its old journal, and we refuse that."""
    with closing(sqlite3.connect("", isolation_level=None)) as database:  # a temporary database: never in WAL mode
        database.text_factory = bytes
        with pytest.raises(
            SchemaError, match=r"^write-ahead logging is not possible there: the file has to be on a local disk$"
        ):
            prepare(database, "FULL")


@pytest.fixture
def read_only():
    """Return a database that this process may only read, whoever runs it: root is stopped by no mode."""
    directory = Path(tempfile.mkdtemp())
    path = directory / "sessions.db"
    make_file(path)
    path.chmod(0o444)
    directory.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield path
    if root:
        os.seteuid(0)
    directory.chmod(0o755)
    shutil.rmtree(directory)


async def test_a_file_that_may_only_be_read_is_refused(read_only):
    """A store that cannot be written to is noticed at the start, not at the first sign-in."""
    await refused(read_only, "readonly|read-only|unable to open")


async def test_two_adapters_open_a_new_file_together(path, clock):
    """However many processes start at once, one makes the schema, and all see it."""
    adapters = [SQLiteSessionAdapter(path) for _ in range(8)]
    for adapter in adapters:
        adapter.clock = clock
    await asyncio.gather(*(adapter.open() for adapter in adapters))
    try:
        assert await adapters[0].create("a", a_record(clock))
        for adapter in adapters:
            assert await adapter.load("a") is not None
    finally:
        await asyncio.gather(*(adapter.close() for adapter in adapters))


@pytest.mark.parametrize("step", range(12))
def test_a_file_that_another_process_makes_meanwhile_is_ours(path, step):
    """Wherever in the opening of an empty file another process makes the schema, it is recognised."""
    with (
        closing(sqlite_connection.connect(str(path))) as database,
        closing(sqlite_connection.connect(str(path))) as other,
    ):
        seen = []

        def make_it_there(statement):
            seen.append(statement)
            if len(seen) == step:
                with contextlib.suppress(sqlite3.OperationalError):  # this one holds the lock: the other has to wait
                    prepare(other, "OFF")

        other.execute("PRAGMA busy_timeout = 0")
        database.execute("PRAGMA busy_timeout = 0")
        database.set_trace_callback(make_it_there)
        with contextlib.suppress(sqlite3.OperationalError):  # a lock, for which open() tries again
            prepare(database, "OFF")
        database.set_trace_callback(None)
        prepare(database, "OFF")
        assert len(seen) >= min(step, 4)
    assert query(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]


def locked_file(path):
    """Return a connection that holds the only write lock on a file in the old journal mode."""
    make_file(path)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("BEGIN EXCLUSIVE")
    return database


async def test_opening_waits_for_a_lock(path, clock, monkeypatch):
    """A file that another program has locked for a moment is waited for."""
    monkeypatch.setattr(sqlite_connection, "_BUSY_SECONDS", 0.0)
    with closing(locked_file(path)) as database:
        attempts = []
        perform_really = sqlite_connection.Connection.perform

        async def perform(self, function, *args):
            attempts.append(function)
            if len(attempts) == 3:
                database.execute("ROLLBACK")
            return await perform_really(self, function, *args)

        monkeypatch.setattr(sqlite_connection.Connection, "perform", perform)
        async with opened(SQLiteSessionAdapter(path), clock):
            assert attempts == [prepare] * 3 + [prepare_notes]


async def test_opening_does_not_wait_for_ever(path, monkeypatch):
    """A file that stays locked is refused in the end."""
    monkeypatch.setattr(sqlite_connection, "_BUSY_SECONDS", 0.0)
    monkeypatch.setattr(sqlite, "_OPEN_SECONDS", 0.05)
    with closing(locked_file(path)):
        await refused(path, "database is locked")


async def test_a_cancelled_open_leaves_nothing(path):
    """Whoever gives up while the file is opened gets all threads and the file back."""
    for steps in range(12):
        adapter = SQLiteSessionAdapter(path)
        with no_thread_left():
            opening = asyncio.ensure_future(adapter.open())
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            (outcome,) = await asyncio.gather(opening, return_exceptions=True)
            await adapter.close()
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    gc.collect()  # a database that nobody closed would be reported now
    async with opened(SQLiteSessionAdapter(path), FakeClock()) as adapter:
        assert await adapter.load("a") is None


async def test_an_open_that_is_cancelled_while_its_thread_connects_closes_what_it_opened(path, monkeypatch):
    """The thread cannot be stopped: what it opens after the caller gave up is closed again."""
    loop = asyncio.get_running_loop()
    connecting, may_connect = asyncio.Event(), threading.Event()
    connect = sqlite_connection.connect

    def connect_late(name):
        loop.call_soon_threadsafe(connecting.set)
        assert may_connect.wait(30)
        return connect(name)

    monkeypatch.setattr(sqlite_connection, "connect", connect_late)
    adapter = SQLiteSessionAdapter(path)
    with no_thread_left():
        opening = asyncio.ensure_future(adapter.open())
        await connecting.wait()
        opening.cancel()
        may_connect.set()
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    gc.collect()  # a database that nobody closed would be reported now
