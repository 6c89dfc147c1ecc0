"""Operations on SQLite that share a statement or a transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import adapter as sqlite
from aiohttp_spry_session.adapters.sqlite import connection as sqlite_connection
from aiohttp_spry_session.adapters.sqlite import statements as sqlite_statements
from aiohttp_spry_session.adapters.sqlite.schema import prepare
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import a_record, opened, rotate

from .support import query

LONE_SURROGATE = "\ud800"
PAST_64_BITS = 2**63


async def test_writes_that_come_together_share_a_transaction(adapter, clock, batches):
    """One commit for all that arrived while another was under way, never more than 256 at a time."""
    created = await asyncio.gather(*(adapter.create(f"{number}", a_record(clock)) for number in range(600)))
    assert all(created)
    assert [len(batch) for batch in batches] == [256, 256, 88]


async def test_loads_that_come_together_share_a_statement(adapter, clock, monkeypatch):
    """Loads are answered from one statement, each with its own record, and the same one to all who asked for it."""
    records = {f"{number}": a_record(clock, b"%d" % number) for number in range(300)}
    await asyncio.gather(*(adapter.create(handle, record) for handle, record in records.items()))
    lengths = []
    load_really = sqlite_statements.load_many

    def load(database, now, handles):
        lengths.append(len(handles))
        return load_really(database, now, handles)

    monkeypatch.setattr(sqlite_statements, "load_many", load)
    handles = [*records, "missing", "7", "7"]
    loaded = await asyncio.gather(*map(adapter.load, handles))
    assert loaded == [records.get(handle) for handle in handles]
    assert lengths == [256, len(handles) - 256]


async def test_a_lock_that_stays_is_an_error_for_all_at_once(path, clock, monkeypatch):
    """Where waiting is over, the whole batch fails: each operation waiting for itself would take minutes."""
    monkeypatch.setattr(sqlite_connection, "_BUSY_SECONDS", 0.05)
    attempts = []
    execute_really = sqlite.run_together

    def run(database, now, calls):
        database.set_trace_callback(attempts.append)
        return execute_really(database, now, calls)

    monkeypatch.setattr(sqlite, "run_together", run)
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            results = await asyncio.gather(
                *(adapter.create(f"{number}", a_record(clock)) for number in range(50)), return_exceptions=True
            )
            assert {type(result) for result in results} == {sqlite3.OperationalError}
            assert attempts == ["BEGIN IMMEDIATE"]
            other.execute("ROLLBACK")
        assert await adapter.create("0", a_record(clock)) is True


@pytest.mark.parametrize("bad", ["handle", "version", "owner", "refused"])
async def test_one_bad_write_does_not_fail_its_neighbours(adapter, path, clock, batches, bad):
    """An operation that the database cannot carry out fails for itself; those in its transaction are committed."""
    query(
        path,
        "CREATE TRIGGER t BEFORE INSERT ON sessions WHEN NEW.handle = 'refused' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    record = a_record(clock)
    await adapter.create("there", record)
    handle, wrong = {
        "handle": (LONE_SURROGATE, record),
        "version": ("bad", replace(record, version=PAST_64_BITS)),
        "owner": ("bad", replace(record, owner=LONE_SURROGATE)),
        "refused": ("refused", record),
    }[bad]
    del batches[:]
    results = await asyncio.gather(
        adapter.create("before", record),
        adapter.create(handle, wrong),
        adapter.update("there", replace(record, version=2)),
        return_exceptions=True,
    )
    assert len(batches) == 1
    assert (results[0], results[2]) == (True, True)
    assert isinstance(results[1], UnicodeEncodeError | OverflowError | sqlite3.IntegrityError)
    assert await adapter.load("before") == record
    assert (await adapter.load("there")).version == 2
    assert await adapter.load("bad") is None


@pytest.mark.parametrize("odd", ["stale", "missing", "retired", "expired", "moved", "bound", "begun anew"])
async def test_updates_in_one_transaction_succeed_or_fail_each_for_itself(adapter, clock, batches, odd):
    """Whatever one of them finds or changes, its neighbours' outcomes are their own, and so are their records."""
    record = a_record(clock, owner="ada")
    for handle in ("a", "b", "odd"):
        await adapter.create(handle, record)
    changed = {
        "stale": replace(record, version=3),
        "missing": replace(record, version=2),
        "retired": retire(replace(record, version=2), "", now=clock()),
        "expired": replace(record, version=3, expires_at=clock() + 9),
        "moved": replace(record, version=2, expires_at=record.expires_at + 1),
        "bound": replace(record, version=2, owner="bob"),
        "begun anew": replace(record, version=2, created_at=record.created_at + 1),
    }[odd]
    handle = "missing" if odd == "missing" else "odd"
    if odd == "expired":
        assert await adapter.update("odd", replace(record, version=2, expires_at=clock() + 9))
        clock.advance(9)
    before = await adapter.load(handle)
    neighbour = a_record(clock, b"new", owner="ada", version=2)
    neighbour = replace(neighbour, created_at=record.created_at, expires_at=record.expires_at)
    del batches[:]
    results = await asyncio.gather(
        adapter.update("a", neighbour), adapter.update(handle, changed), adapter.update("b", neighbour)
    )
    assert batches == [["update"] * 3 + ["note"] * (odd == "retired")]
    succeeds = odd not in ("stale", "missing", "expired")
    assert results == [True, succeeds, True]
    assert await adapter.load("a") == await adapter.load("b") == neighbour
    assert await adapter.load(handle) == (changed if succeeds else before)
    found = await adapter.find("ada")
    assert ("odd" in found) == (odd not in ("retired", "expired", "bound"))


async def test_a_usual_batch_is_carried_out_once(adapter, clock):
    """Where every update finds what it expects there is one transaction, and each operation is one statement in it."""
    record = a_record(clock, owner="ada")
    newer = replace(record, version=2)
    for handle in "abcd":
        await adapter.create(handle, record)
    executed = []
    adapter._writer._conn.set_trace_callback(executed.append)
    results = await asyncio.gather(
        adapter.update("a", newer),
        adapter.create("a", record),
        adapter.create("new", record),
        adapter.update("b", newer),
        adapter.destroy("c"),
        adapter.update("d", retire(newer, "", now=clock())),
    )
    assert results == [True, False, True, True, True, True]
    kinds = [statement.split()[0] for statement in executed]
    told = ["INSERT", "INSERT", "DELETE"]  # what ended, to other processes, and what is old in that table
    assert kinds == ["BEGIN", "INSERT", "INSERT", "DELETE", "UPDATE", *told, "UPDATE", "UPDATE", "COMMIT"]
    assert await adapter.load("c") is None
    assert (await adapter.load("d")).retired


async def test_of_updates_to_one_version_in_one_transaction_one_succeeds(adapter, clock, batches):
    """Writers that meet in a batch are held to the version as those that do not."""
    record = a_record(clock)
    await adapter.create("a", record)
    del batches[:]
    results = await asyncio.gather(
        *(adapter.update("a", replace(record, payload=b"%d" % number, version=2)) for number in range(4))
    )
    assert batches == [["update"] * 4]
    assert sorted(results) == [False, False, False, True]
    assert (await adapter.load("a")).payload == b"%d" % results.index(True)


async def test_one_bad_load_does_not_fail_its_neighbours(adapter, clock):
    """A handle that is no text the database can hold fails for itself."""
    record = a_record(clock)
    await adapter.create("a", record)
    results = await asyncio.gather(
        adapter.load("a"), adapter.load(LONE_SURROGATE), adapter.load("a"), return_exceptions=True
    )
    assert (results[0], results[2]) == (record, record)
    assert isinstance(results[1], UnicodeEncodeError)


async def test_a_rotation_that_fails_half_way_changes_nothing(adapter, path, clock):
    """The old session lives on where the new one cannot be stored, whoever shares the transaction."""
    query(
        path, "CREATE TRIGGER t BEFORE INSERT ON sessions WHEN NEW.handle = 'new' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    record = a_record(clock)
    await adapter.create("old", record)
    results = await asyncio.gather(
        adapter.create("before", record),
        rotate(adapter, "old", "new", replace(record, version=2)),
        adapter.create("after", record),
        return_exceptions=True,
    )
    assert (results[0], results[2]) == (True, True)
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert await adapter.load("old") == record
    assert await adapter.load("after") == record


@pytest.mark.parametrize("operation", ["create", "rotate"])
async def test_a_transaction_that_the_database_gives_up_is_an_error_for_all(adapter, path, clock, operation):
    """Where SQLite rolls everything back by itself, as with a full disk, nobody is told that it worked."""
    query(
        path,
        "CREATE TRIGGER t BEFORE INSERT ON sessions WHEN NEW.handle = 'full' BEGIN SELECT RAISE(ROLLBACK, 'full'); END",
    )
    record = a_record(clock)
    await adapter.create("old", record)
    failing = (
        adapter.create("full", record)
        if operation == "create"
        else rotate(adapter, "old", "full", replace(record, version=2))
    )
    results = await asyncio.gather(
        adapter.create("before", record), failing, adapter.create("after", record), return_exceptions=True
    )
    assert all(isinstance(result, sqlite3.Error) for result in results)
    assert await adapter.load("before") is None
    assert await adapter.load("after") is None
    assert await adapter.load("old") == record
    assert await adapter.create("before", record) is True


def test_an_interruption_leaves_no_transaction_open(path):
    """Whatever stops a batch, the connection is free for the next one, and nothing is half done."""

    def interrupt(database, now):
        raise KeyboardInterrupt

    with closing(sqlite_connection.connect(str(path))) as database:
        prepare(database, "OFF")
        insert = (sqlite_statements.create, ("a", a_record(FakeClock())))
        with pytest.raises(KeyboardInterrupt):
            sqlite.run_together(database, 0.0, [insert, (interrupt, ())])
        assert not database.in_transaction
        assert sqlite.run_together(database, 0.0, [insert]) == [True]
