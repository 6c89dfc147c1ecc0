"""A SQLite file that is removed, moved or replaced while a server uses it."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

from aiohttp_spry_session import AdapterError, SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import files as sqlite_files
from aiohttp_spry_session.testing.contract.base import a_record, opened

from .support import make_file, no_thread_left, query


def remove(path):
    path.unlink()


def remove_all(path):
    for file in path.parent.iterdir():
        file.unlink()


def move(path):
    path.rename(path.with_name("elsewhere.db"))


def move_all(path):
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    for file in path.parent.glob("sessions.db*"):
        file.rename(elsewhere / file.name)


def replace_by_an_empty_one(path):
    path.with_name("new.db").touch()
    path.with_name("new.db").rename(path)


def replace_by_another(path):
    make_file(path.with_name("new.db"))
    path.with_name("new.db").rename(path)


WAYS = [remove, remove_all, move, move_all, replace_by_an_empty_one, replace_by_another]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
async def test_the_next_purge_opens_the_file_that_is_there(adapter, path, clock, caplog, way):
    """It says so once; what is answered from then on is in the file where the path leads, and is there later."""
    assert await adapter.create("before", a_record(clock))
    way(path)
    assert await adapter.purge() == 0
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert told.message == (
        f"{path} was removed, moved or replaced while it was in use: it is opened anew, and what was stored since then "
        "is lost; stop the site before you do that"
    )
    assert await adapter.load("before") is None
    assert await adapter.create("after", a_record(clock))
    assert await adapter.purge() == 0
    assert len(caplog.records) == 1
    await adapter.close()
    assert query(path, "SELECT handle FROM sessions") == [("after",)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    async with opened(SQLiteSessionAdapter(path), clock) as later:
        assert await later.load("after") is not None


async def test_a_backup_that_takes_its_place_is_what_is_read(adapter, path, clock):
    """The log of the file that went away is not taken for that of the one that came."""
    assert await adapter.create("old", a_record(clock))
    await adapter._checkpoint()
    shutil.copy(path, path.with_name("backup.db"))
    assert await adapter.create("newer", a_record(clock))
    assert await adapter.destroy("old")
    path.with_name("backup.db").rename(path)
    await adapter.purge()
    assert await adapter.load("old") is not None
    assert await adapter.load("newer") is None
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_log_that_is_removed_is_noticed_too_and_costs_nothing(adapter, path, clock, caplog, suffix):
    """What it held is moved into the file before that is opened anew."""
    assert await adapter.create("before", a_record(clock))
    path.with_name(path.name + suffix).unlink()
    await adapter.purge()
    assert len(caplog.records) == 1
    assert await adapter.load("before") is not None
    assert await adapter.create("after", a_record(clock))
    await adapter.close()
    assert query(path, "SELECT count(*) FROM sessions") == [(2,)]


async def test_two_processes_find_to_the_same_file(adapter, path, clock):
    """The second one clears away nothing of what the first one made."""
    async with opened(SQLiteSessionAdapter(path), clock) as other:
        assert await other.create("before", a_record(clock))
        path.unlink()
        for each, name in ((adapter, "a"), (other, "b")):
            await each.purge()
            assert await each.create(name, a_record(clock))
        assert await adapter.load("b") == await other.load("a") is not None
        assert await adapter.load("before") is None
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_operations_wait_while_it_is_opened_anew(adapter, path, clock, caplog):
    """Nobody meets a connection that is being closed; two purges at once open it once."""
    assert await adapter.load("a") is None  # who reads from a removed file for the first time meets an error
    path.unlink()
    purging = [asyncio.ensure_future(adapter.purge()) for _ in range(2)]
    results = []
    while not all(purge.done() for purge in purging):
        results += await asyncio.gather(
            adapter.create(f"{len(results)}", a_record(clock)), adapter.load("a"), adapter.find("ada")
        )
    assert await asyncio.gather(*purging) == [0, 0]
    assert set(map(repr, results)) == {"True", "None", "{}"}
    assert len(caplog.records) == 1


async def test_what_cannot_be_opened_anew_fails_until_it_can(adapter, path, clock, caplog):
    """An outage logs nobody out: each purge tries again."""
    moved = path.parent.rename(path.parent.with_name("moved"))
    for _ in range(2):
        with pytest.raises(AdapterError, match="No such file or directory") as caught:
            await adapter.purge()
        assert caught.value.operation == "open"
        for operation in (adapter.load("a"), adapter.create("a", a_record(clock)), adapter.find("ada")):
            with pytest.raises(AdapterError, match="could not be opened anew"):
                await operation
    moved.rename(path.parent)
    assert await adapter.purge() == 0
    assert await adapter.create("a", a_record(clock)) is True
    assert len(caplog.records) == 3


async def test_closing_meanwhile_leaves_nothing_open(path, monkeypatch):
    """The file that is being opened anew is closed again, whether somebody waits for that or not."""
    begun, reopen = asyncio.Event(), SQLiteSessionAdapter._reopen

    async def reopen_and_say_so(self):
        begun.set()
        await reopen(self)

    monkeypatch.setattr(SQLiteSessionAdapter, "_reopen", reopen_and_say_so)
    for patient in (True, False):
        with no_thread_left():
            adapter = SQLiteSessionAdapter(path)
            await adapter.open()
            path.unlink()
            purging = asyncio.ensure_future(adapter.purge())
            await begun.wait()
            begun.clear()
            reopening = adapter._reopening
            closing_down = asyncio.ensure_future(adapter.close())
            await asyncio.sleep(0)
            if not patient:
                closing_down.cancel()
            await asyncio.gather(closing_down, purging, reopening, return_exceptions=True)


def test_what_is_gone_already_is_no_error(path, monkeypatch):
    """Another process may have cleared it away in the same moment."""
    path.with_name("sessions.db-wal").touch()
    files = sqlite_files.identify(str(path))
    files[""] = (0, 0)
    identity = sqlite_files._identity

    def identify_and_remove(name):
        found = identity(name)
        if found is not None:
            os.unlink(name)
        return found

    monkeypatch.setattr(sqlite_files, "_identity", identify_and_remove)
    sqlite_files.clear_remains(str(path), files)
    assert not path.with_name("sessions.db-wal").exists()
