"""The SQLite adapter on a disk that is full: whatever ends a session works, and so does the purge."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import namedtuple
from contextlib import closing
from dataclasses import replace

import pytest

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.adapters.sqlite import connection as sqlite_connection
from aiohttp_spry_session.adapters.sqlite import room
from aiohttp_spry_session.adapters.sqlite.room import ROOM
from aiohttp_spry_session.adapters.sqlite.schema import prepare
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import a_record, opened, rotate

from .support import query

SIZE = 12 * ROOM


@pytest.fixture
def disk(tmp_path):
    """Mount a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def take(folder, size=SIZE):
    """Let another program take so many bytes, or all that there are."""
    with (folder / "taken").open("ab", 0) as file:
        for block in (65536, 4096, 512, 1):
            while file.tell() + block <= size:
                try:
                    if file.write(b"x" * block) < block:
                        break
                except OSError:
                    break


async def fill(adapter, record):
    """Create sessions until that fails, many at once and then one by one; return their handles."""
    handles = []
    for together in (100, 1):
        failed = []
        while not failed:
            batch = [f"{len(handles) + number}" for number in range(together)]
            results = await asyncio.gather(*(adapter.create(name, record) for name in batch), return_exceptions=True)
            handles += [name for name, result in zip(batch, results, strict=True) if result is True]
            failed = [result for result in results if result is not True]
        assert all(isinstance(error, sqlite3.OperationalError) for error in failed)
    return handles


async def everything_ends(adapter, handles, clock, record):
    """Hold an adapter on a full disk to what it promises: nothing new, and every end."""
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await adapter.create("new", record)
    for handle in handles[:40]:
        assert await adapter.destroy(handle) is True
        assert await adapter.load(handle) is None
    fence = retire(replace(record, version=2), "", now=clock())
    for handle in handles[40:80]:
        assert await adapter.update(handle, fence) is True
        assert await adapter.load(handle) == fence
    assert all(await asyncio.gather(*map(adapter.destroy, handles[80:400])))
    clock.advance(1200)
    assert await adapter.purge() == len(handles[40:80]) + len(handles[400:])
    assert query(adapter.path, "SELECT count(*) FROM sessions") == [(0,)]


@pytest.mark.parametrize("size", [100, 3000, 20_000])
@pytest.mark.parametrize("others", ["nothing", "the rest", "all at once"])
async def test_a_disk_that_is_full(disk, clock, size, others):
    """By its own sessions, with or without another program that then takes what is left, or all of a sudden."""
    record = replace(a_record(clock, owner="ada"), payload=os.urandom(size))
    async with opened(SQLiteSessionAdapter(disk / "sessions.db"), clock) as adapter:
        if others == "all at once":
            handles = [f"{number}" for number in range(min(100, 2 * ROOM // size))]
            assert all(await asyncio.gather(*(adapter.create(handle, record) for handle in handles)))
            assert await adapter.purge() == 0
            take(disk)
        else:
            handles = await fill(adapter, record)
            if others == "the rest":
                take(disk)
        assert len(handles) > 50
        await everything_ends(adapter, handles, clock, record)
        if others != "nothing":
            (disk / "taken").unlink()
        assert await adapter.create("new", a_record(clock)) is True


@pytest.mark.parametrize("limit", [ROOM // 2, 2 * ROOM, 6 * ROOM])
async def test_a_limit_on_the_size_of_files(tmp_path, clock, limit):
    """As a service manager sets one: the same as a disk of that size."""
    resource = pytest.importorskip("resource")
    record = replace(a_record(clock, owner="ada"), payload=os.urandom(2000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(SQLiteSessionAdapter(tmp_path / "sessions.db"), clock) as adapter:
        handles = [f"first {number}" for number in range(100)]
        assert all(await asyncio.gather(*(adapter.create(handle, record) for handle in handles)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            handles += await fill(adapter, record)
            await everything_ends(adapter, handles, clock, record)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert await adapter.create("new", a_record(clock)) is True


async def test_a_system_without_such_limits(tmp_path, clock, monkeypatch):
    """It is taken for one without a limit."""
    monkeypatch.setattr(room, "resource", None)
    async with opened(SQLiteSessionAdapter(tmp_path / "sessions.db"), clock) as adapter:
        assert await adapter.create("new", a_record(clock)) is True


async def test_a_server_that_starts_on_a_full_disk(disk, clock):
    """It opens the file, and whoever is signed in can sign out."""
    record = a_record(clock)
    async with opened(SQLiteSessionAdapter(disk / "sessions.db"), clock) as adapter:
        for handle in "abc":
            await adapter.create(handle, record)
    take(disk, SIZE - (disk / "sessions.db").stat().st_size - ROOM // 2)
    async with opened(SQLiteSessionAdapter(disk / "sessions.db"), clock) as adapter:
        assert await adapter.load("a") == record
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await adapter.create("d", record)
        assert [await adapter.destroy(handle) for handle in "abcd"] == [True, True, True, False]


async def test_an_end_goes_before_what_needs_space(disk, clock):
    """In one batch, too: the rotation and the creation fail, and the logout beside them works."""
    record = a_record(clock)
    async with opened(SQLiteSessionAdapter(disk / "sessions.db"), clock) as adapter:
        for handle in "abcd":
            await adapter.create(handle, record)
        take(disk)
        newer = replace(record, version=2)
        results = await asyncio.gather(
            adapter.create("new", record),
            adapter.destroy("a"),
            rotate(adapter, "b", "e", newer),
            adapter.update("c", retire(newer, "", now=clock())),
            adapter.update("d", newer),
            adapter.destroy("missing"),
            return_exceptions=True,
        )
        assert [str(result) for result in results] == [
            *("the disk is full", "True", "the disk is full", "True", "the disk is full", "False"),
        ]
        assert await adapter.load("b") == await adapter.load("d") == record


async def test_a_database_that_may_not_grow(adapter, clock):
    """What SQLite itself limits fails for itself alone."""
    record = a_record(clock, bytes(3000))
    handles = [f"{number}" for number in range(100)]
    await asyncio.gather(*(adapter.create(handle, record) for handle in handles))
    (pages,) = await adapter._writer.perform(lambda database: database.execute("PRAGMA page_count").fetchone())
    await adapter._writer.perform(lambda database: database.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    await everything_ends(adapter, handles, clock, record)


async def test_the_log_has_room_from_the_start(path, clock):
    """A megabyte, so that the first logout on a full disk finds it; each time that the file is opened."""
    for _ in range(2):
        async with opened(SQLiteSessionAdapter(path), clock):
            assert path.with_name("sessions.db-wal").stat().st_size >= ROOM


Disk = namedtuple("Disk", "f_bavail f_frsize f_blocks")


@pytest.mark.parametrize(
    ("disk", "works"),
    [
        (Disk(2**20 // 4096 - 1, 4096, 10**6), False),
        (Disk(2**20 // 4096 + 8, 4096, 10**6), True),
        (Disk(0, 4096, 0), True),  # some file systems say nothing
        (OSError("gone"), True),
    ],
)
async def test_what_is_left_for_ends_alone(adapter, path, clock, monkeypatch, disk, works):
    """A megabyte of the disk, where its size is known."""

    def statvfs(name):
        assert name == str(path)
        if isinstance(disk, OSError):
            raise disk
        return disk

    monkeypatch.setattr(room.os, "statvfs", statvfs)
    (created,) = await asyncio.gather(adapter.create("a", a_record(clock)), return_exceptions=True)
    assert str(created) == ("True" if works else "the disk is full")
    assert await adapter.destroy("a") is works


FULL = sqlite3.OperationalError("full")
FULL.sqlite_errorcode = sqlite3.SQLITE_FULL


@pytest.mark.parametrize("fits", [0, 1, 3])
def test_ends_that_do_not_fit_together_are_carried_out_in_parts(path, fits):
    """Each is told what became of it."""

    def run(database, now, calls):
        attempts.append(len(calls))
        if len(calls) > fits:
            raise FULL
        return [args for _, args in calls]

    attempts = []
    calls = [(room.statements.destroy, (name,)) for name in "abcdefg"]
    with closing(sqlite_connection.connect(str(path))) as database:
        prepare(database, "OFF")
        results = room.run_in_room(database, run, 0.0, calls, str(path))
    assert results == ([FULL] * 7 if fits == 0 else [args for _, args in calls])
    assert max(attempts[1:]) == 7
    assert sum(attempt for attempt in attempts if attempt <= fits) == (7 if fits else 0)


@pytest.mark.parametrize("when", ["at first", "among the ends"])
def test_another_error_is_not_taken_for_a_full_disk(path, when):
    """It is everybody's, at once."""

    def run(database, now, calls):
        attempts.append(len(calls))
        raise FULL if when == "among the ends" and len(attempts) == 1 else sqlite3.OperationalError("locked")

    attempts = []
    calls = [(room.statements.create, ("a", a_record(FakeClock()))), (room.statements.destroy, ("b",))]
    with closing(sqlite_connection.connect(str(path))) as database:
        prepare(database, "OFF")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            room.run_in_room(database, run, 0.0, calls, str(path))
    assert attempts == ([2] if when == "at first" else [2, 1])


def test_a_log_that_is_not_there_takes_no_space(path):
    """Whoever removed it, that is no error."""
    assert room._size(str(path)) == 0


async def test_sessions_in_memory_take_no_room_anywhere(tmp_path, monkeypatch, clock):
    """A file that happens to have the name of a log without a database is nobody's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-wal").touch()
    async with opened(SQLiteSessionAdapter(":memory:"), clock) as adapter:
        assert await adapter.create("a", a_record(clock))
    assert (tmp_path / "-wal").stat().st_size == 0


async def test_a_disk_without_room_for_the_log_can_be_opened(path, clock, monkeypatch):
    """What is there can still be read, and ended."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room.os, "posix_fallocate", fail)
    async with opened(SQLiteSessionAdapter(path), clock) as adapter:
        assert await adapter.create("a", a_record(clock))
        assert await adapter.destroy("a") is True
