"""The SQLite adapter at work: waiting, failing one by one, purging in steps, closing under way."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from aiohttp_spry_session import AdapterError, SessionManager, SQLiteSessionAdapter
from aiohttp_spry_session.adapter import retire
from aiohttp_spry_session.adapters import sqlite, sqlite_statements
from aiohttp_spry_session.adapters.sqlite_schema import prepare
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import a_record, opened

from .sqlite_support import no_thread_left, query

LONE_SURROGATE = "\ud800"
PAST_64_BITS = 2**63


@pytest.fixture
def batches(monkeypatch):
    """Record the names of the operations in each transaction."""
    batches = []
    run_really = sqlite.run_together

    def run(database, now, calls):
        batches.append([function.__name__ for function, _ in calls])
        return run_really(database, now, calls)

    monkeypatch.setattr(sqlite, "run_together", run)
    return batches


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


async def test_a_writer_in_another_process_is_waited_for(adapter, path, clock, monkeypatch):
    """A lock that somebody holds for a moment costs time, and no error; reads do not even notice."""
    await adapter.create("a", a_record(clock))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = [
            asyncio.ensure_future(adapter.update("a", a_record(clock, b"new", version=2))),
            asyncio.ensure_future(adapter.create("b", a_record(clock))),
        ]
        for _ in range(20):
            assert (await adapter.load("a")).payload == b"data"
        assert not any(task.done() for task in writing)
        other.execute("COMMIT")
        assert await asyncio.gather(*writing) == [True, True]
    assert (await adapter.load("a")).payload == b"new"


async def test_a_lock_that_stays_is_an_error_for_all_at_once(path, clock, monkeypatch):
    """Where waiting is over, the whole batch fails: each operation waiting for itself would take minutes."""
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
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
    assert batches == [["update"] * 3]
    succeeds = odd not in ("stale", "missing", "expired")
    assert results == [True, succeeds, True]
    assert await adapter.load("a") == await adapter.load("b") == neighbour
    assert await adapter.load(handle) == (changed if succeeds else before)
    found = await adapter.find("ada")
    assert ("odd" in found) == (odd not in ("retired", "expired", "bound"))


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
        adapter.rotate("old", "new", replace(record, version=2)),
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
        else adapter.rotate("old", "full", replace(record, version=2))
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

    with closing(sqlite._connect(str(path))) as database:
        prepare(database, "OFF")
        insert = (sqlite_statements.create, ("a", a_record(FakeClock())))
        with pytest.raises(KeyboardInterrupt):
            sqlite.run_together(database, 0.0, [insert, (interrupt, ())])
        assert not database.in_transaction
        assert sqlite.run_together(database, 0.0, [insert]) == [True]


async def test_purge_goes_in_steps(adapter, clock, batches):
    """Each step is a short transaction of its own, and what arrives meanwhile leaves with the next."""
    await asyncio.gather(*(adapter.create(f"{number}", a_record(clock)) for number in range(512)))
    clock.advance(1200)
    del batches[:]
    purging = asyncio.ensure_future(adapter.purge())
    await asyncio.sleep(0)
    creating = asyncio.ensure_future(adapter.create("new", a_record(clock)))
    assert await purging == 512
    assert await creating is True
    assert sum(batch.count("purge") for batch in batches) == 3
    assert batches.index(["purge"]) < next(n for n, batch in enumerate(batches) if "create" in batch) < len(batches) - 1


async def test_a_cancelled_write_that_did_not_leave_never_happens(adapter, path, clock, batches):
    """A caller that gives up in time takes its operation back."""
    first = asyncio.ensure_future(adapter.create("a", a_record(clock)))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(adapter.create("b", a_record(clock)))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await first is True
    await adapter.destroy("c")
    assert batches == [["create"], ["destroy"]]
    assert await adapter.load("b") is None


async def test_a_cancelled_write_that_left_is_whole(adapter, clock):
    """It may have been carried out, and then it was carried out completely."""
    record = a_record(clock)
    await adapter.create("old", record)
    rotation = asyncio.ensure_future(adapter.rotate("old", "new", replace(record, version=2)))
    for _ in range(3):
        await asyncio.sleep(0)
    rotation.cancel()
    await asyncio.gather(rotation, return_exceptions=True)
    await adapter.destroy("something else")
    assert (await adapter.load("old")).retired
    assert await adapter.load("new") is not None


async def test_closing_carries_out_what_was_asked_for(path, clock):
    """Operations under way and those that wait are finished; later ones are refused, and nothing hangs."""
    adapter = SQLiteSessionAdapter(path)
    adapter.clock = clock
    with no_thread_left():
        await adapter.open()
        creating = [asyncio.ensure_future(adapter.create(f"{number}", a_record(clock))) for number in range(600)]
        loading = [asyncio.ensure_future(adapter.load(f"{number}")) for number in range(600)]
        finding = asyncio.ensure_future(adapter.find("ada"))
        await asyncio.sleep(0)
        closing_down = asyncio.ensure_future(adapter.close())
        await asyncio.sleep(0)
        with pytest.raises(AdapterError, match="not open"):
            await adapter.create("late", a_record(clock))
        with pytest.raises(AdapterError, match="not open"):
            await adapter.find("ada")
        await closing_down
        assert all(await asyncio.gather(*creating))
        await asyncio.gather(*loading)
        assert await finding == {}
    assert query(path, "SELECT count(*) FROM sessions") == [(600,)]


async def test_a_purge_that_is_overtaken_by_closing_ends(path, clock):
    """The step under way is finished, the next one is refused."""
    adapter = SQLiteSessionAdapter(path)
    adapter.clock = clock
    await adapter.open()
    await asyncio.gather(*(adapter.create(f"{number}", a_record(clock)) for number in range(500)))
    clock.advance(1200)
    purging = asyncio.ensure_future(adapter.purge())
    await asyncio.sleep(0)
    await adapter.close()
    with pytest.raises(AdapterError, match="purge: the adapter is not open"):
        await purging
    assert query(path, "SELECT count(*) FROM sessions") == [(300,)]


async def test_a_cancelled_close_still_closes(path, clock):
    """Whoever stops waiting for the end has the file closed all the same."""
    adapter = SQLiteSessionAdapter(path)
    adapter.clock = clock
    with no_thread_left():
        await adapter.open()
        creating = asyncio.ensure_future(adapter.create("a", a_record(clock)))
        await asyncio.sleep(0)
        closing_down = asyncio.ensure_future(adapter.close())
        await asyncio.sleep(0)
        closing_down.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing_down
        await asyncio.gather(creating, return_exceptions=True)
    with pytest.raises(AdapterError, match="not open"):
        await adapter.load("a")


def test_it_can_be_used_in_one_event_loop_after_the_other(path, clock):
    """Nothing of a past loop is kept."""
    manager = SessionManager(SQLiteSessionAdapter(path), clock=clock)

    async def main(number):
        async with manager:
            assert await manager.adapter.create(f"{number}", a_record(clock))
            assert await manager.adapter.load("0") is not None

    for number in range(3):
        asyncio.run(main(number))
