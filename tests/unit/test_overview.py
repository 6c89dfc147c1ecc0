"""Everybody's sessions, from outside a request: listed, counted, ended; and whether the store lives."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionManager, SessionRecord
from aiohttp_spry_session import overview as overview_module
from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.manager import overview_of
from aiohttp_spry_session.record import retire

from ..minimal import PlainAdapter
from ..support import Barrier, Recorder, WatchedAdapter
from .test_manager import begin, sign_in


@pytest.fixture
async def opened(manager):
    """A manager whose adapter is open."""
    async with manager:
        yield manager


async def listed(manager, *owner):
    """The handles that come, in order."""
    return sorted([info.handle async for info in manager.sessions(*owner)])


async def test_sessions_of_everybody(opened):
    """Each live session comes once, with owner and values, as find shows it."""
    ada, bob = await sign_in(opened, "ada", page=1), await sign_in(opened, "bob")
    nobody = begin(opened)
    await nobody.set("cart", ["shoe"])
    await nobody.save()
    assert await listed(opened) == sorted([ada.handle, bob.handle, nobody.handle])
    found = {info.handle: info async for info in opened.sessions()}
    assert [found[ada.handle]] == await opened.find("ada")
    assert (found[nobody.handle].owner, found[nobody.handle].values) == (None, {"cart": ["shoe"]})
    assert await opened.count() == 3


async def test_sessions_of_one_owner(opened, store):
    """They are found by the index of owners; nobody else's are looked at."""
    ada = await sign_in(opened, "ada")
    await sign_in(opened, "bob")
    store.calls.clear()
    assert await listed(opened, "ada") == [ada.handle]
    assert await listed(opened, "nobody") == []
    assert store.calls == ["find", "find"]


async def test_sessions_of_one_moment_come_as_a_limit_keeps_them(opened):
    """Those that began at the same time are sorted by handle, so that the first so many are those that stay."""
    handles = [(await sign_in(opened, "ada")).handle for _ in range(5)]
    assert [info.handle for info in await opened.find("ada")] == sorted(handles, reverse=True)


async def test_no_sessions(opened):
    """An empty store has none."""
    assert await listed(opened) == []
    assert await opened.count() == 0
    assert await opened.revoke_all() == 0


async def test_wrong_owner_is_told_before_anything_is_listed(opened):
    """Where the call stands, not where the iteration begins."""
    with pytest.raises(ValueError, match="owner"):
        opened.sessions(7)


async def test_what_is_over_or_corrupt_does_not_come(opened, store, clock, caplog):
    """Expired and rotated away ones, one past the absolute limit, one that cannot be read; the latter is reported."""
    strict = SessionManager(store, clock=clock, max_lifetime=100)
    record = SessionRecord(pack({}), 1, clock(), clock() + 1000)
    await store.create("old", record)
    clock.advance(100)
    await store.create("sound", SessionRecord(pack({"n": b"1"}), 1, clock(), None))
    await store.create("expired", SessionRecord(pack({}), 1, clock() - 9, clock() + 1))
    await store.create("rotated", retire(record, "sound", now=clock()))
    await store.create("no session", SessionRecord(b"what is this?", 1, clock(), None))
    await store.create("no value", SessionRecord(pack({"n": b"{"}), 1, clock(), None))
    clock.advance(1)
    assert await listed(strict) == ["sound"]
    assert caplog.text.count("is corrupt") == 2
    assert await listed(opened) == ["old", "sound"]


async def test_one_session_by_its_handle(opened, store):
    """Through rotations; what is no handle, ended, or corrupt is none."""
    overview = overview_of(opened)
    session = await sign_in(opened, "ada", n=1)
    first = session.handle
    await session.rotate()
    assert (await overview.get(first)).handle == session.handle
    assert (await overview.get(session.handle)).values == {"n": 1}
    await store.create("corrupt", SessionRecord(b"", 1, opened.clock(), None))
    for nothing in ("", "no handle", "Ä\n", "0" * 64, "corrupt"):
        assert await overview.get(nothing) is None
    await session.destroy()
    assert await overview.get(first) is None


@pytest.mark.parametrize("together", [1, 2, 3, 1000])
async def test_revoke_all(opened, monkeypatch, together):
    """Everybody's sessions end, however many at a time; each end is told once, and how many were ended is said."""
    monkeypatch.setattr(overview_module, "_TOGETHER", together)
    events = Recorder(opened)
    sessions = [await sign_in(opened, f"user {number}") for number in range(6)]
    events.events.clear()
    assert await opened.revoke_all() == 6
    assert events.told == [("destroyed", "revoke")] * 6
    assert sorted(event.handle for event in events.events) == sorted(session.handle for session in sessions)
    assert {event.owner for event in events.events} == {f"user {number}" for number in range(6)}
    assert await listed(opened) == []
    assert await opened.revoke_all() == 0


async def test_revoke_all_tells_how_it_gets_on(opened, monkeypatch):
    """For a bar of progress."""
    monkeypatch.setattr(overview_module, "_TOGETHER", 2)
    for _ in range(5):
        await sign_in(opened)
    told = []
    assert await overview_of(opened).revoke_all(told.append) == 5
    assert told == [2, 2, 1]


async def test_revoke_all_follows_a_rotation(opened, store):
    """A session that gets another handle between the look and the end is ended under that, and told once."""
    session = await sign_in(opened, "ada")
    events = Recorder(opened)
    barrier = Barrier(store, "update")
    revoking = asyncio.create_task(opened.revoke_all())
    await barrier.reached.wait()
    other = begin(opened, session.identifier)
    await other.rotate()
    barrier.go_on.set()
    assert await revoking == 1
    assert [event.name for event in events.events] == ["rotated", "destroyed"]
    assert await listed(opened) == []
    assert not await begin(opened, other.identifier).has("anything")


class Hiding(MemorySessionAdapter):
    """Its first scan sees nothing, as one does that a rotation got out of sight of."""

    scans = 0

    async def scan_all(self):
        self.scans += 1
        if self.scans > 1:
            async for found in super().scan_all():
                yield found


async def test_revoke_all_looks_twice(clock):
    """What the first look did not see is ended after the second."""
    manager = SessionManager(Hiding(), clock=clock)
    await sign_in(manager)
    assert await manager.revoke_all() == 1


async def test_revoke_all_that_fails_can_be_repeated(opened, store):
    """The others of the same part are ended all the same, nothing runs on; the next call ends, and tells, the rest."""
    for _ in range(5):
        await sign_in(opened)
    events = Recorder(opened)
    failing = iter([None, OSError("lost"), None, None, None])

    async def fail_second(operation):
        error = next(failing, None) if operation == "destroy" else None
        if error is not None:
            raise error

    store.before = fail_second
    with pytest.raises(AdapterError):
        await opened.revoke_all()
    assert len(events.events) == 4
    assert len(asyncio.all_tasks()) == 1
    store.work()
    assert await listed(opened) == []  # the one left had been fenced, and is no session any more
    assert await opened.revoke_all() == 1
    assert len({event.handle for event in events.events}) == len(events.events) == 5


async def test_a_receiver_that_fails_stops_nothing(opened):
    """It is logged, and everybody is signed out."""

    async def fail(event):
        raise RuntimeError("receiver")

    opened.on_destroyed.append(fail)
    for _ in range(3):
        await sign_in(opened)
    assert await opened.revoke_all() == 3


async def test_check(opened, store):
    """A store that answers is fine, and was asked for nobody's session."""
    store.calls.clear()
    assert await opened.check() is None
    assert store.calls == ["load"]


async def test_check_of_a_store_that_fails(opened, store):
    """It says what the store failed with."""
    store.fail("load")
    with pytest.raises(AdapterError, match="load: failed"):
        await opened.check()


async def test_check_of_a_store_that_hangs(memory, clock):
    """It returns within the time limit."""
    manager = SessionManager(memory, clock=clock, timeout=0.01)

    async def hang(operation: str) -> None:
        await asyncio.Event().wait()

    memory.before = hang
    with pytest.raises(AdapterError, match="no answer in time"):
        await manager.check()


async def test_a_store_that_cannot_list(clock):
    """It says what its author has to write; a check needs nothing of that."""
    manager = SessionManager(WatchedAdapter(PlainAdapter()), clock=clock)
    await sign_in(manager)
    for call in (listed(manager), manager.count(), manager.revoke_all()):
        with pytest.raises(NotImplementedError, match=r"PlainAdapter cannot .* (scan|count)\(\)"):
            await call
    assert len(await listed(manager, "user")) == 1
    await manager.check()


async def test_revoke_all_finds_a_session_that_never_stands_still(clock):
    """One that is rotated at each step, always out of sight of what is listed, is found through its old handle."""

    class Stepwise(MemorySessionAdapter):
        async def scan_all(self):
            async for found in super().scan_all():
                await move()
                yield found

    manager = SessionManager(Stepwise(), clock=clock)
    moving = [await sign_in(manager, "mover")]

    async def move():
        session = begin(manager, moving[-1].identifier)
        await session.load()
        if session.owner is not None:
            await session.rotate()
            moving.append(session)

    for _ in range(10):
        await sign_in(manager)
    assert await manager.revoke_all() == 11
    assert len(moving) > 5
    assert await listed(manager) == []


async def test_revoke_all_leaves_the_marks_of_adapters(opened, store, clock):
    """A retired record that is no rotation's and no end's belongs to an adapter around the store, and stays."""
    await sign_in(opened)
    mark = SessionRecord(b"a mark", 1, clock(), None, retired=True)
    assert await store.create("mark", mark)
    assert await opened.revoke_all() == 1
    assert await store.load("mark") == mark
    assert await listed(opened) == []
