"""Sessions copied from one store to another."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import replace

import pytest

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionAdapter
from aiohttp_spry_session.adapters.migrating.marks import moving
from aiohttp_spry_session.cli import copying
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.testing import FaultyAdapter

from ..support import Barrier, WatchedAdapter
from .conftest import FAR, Run, a_session, held, make_url, nothing, on, put

PAIRS = list(itertools.permutations(["sqlite", "redis", "postgres"], 2))


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_copy(run: Run, request: pytest.FixtureRequest, source: str, target: str) -> None:
    """Every live record, as it is, to a store that is made where it is missing; again, and nothing is done twice."""
    old, new = make_url(source, request), make_url(target, request)
    on(old, nothing)
    put(
        old,
        a_session("ann", version=7, cart=["shoe"]),
        a_session(lifetime=None),
        *(a_session(f"user {number}") for number in range(500)),
        ("dead", a_session(lifetime=-FAR)[1]),
        ("rotated", retire(a_session()[1], "elsewhere", now=FAR)),
    )
    records = held(old)
    assert run(old, "copy", new) == (0, "copied 502 sessions, replaced 0, left 0 as they were\n", "")
    assert held(new) == held(old) == records
    assert run(old, "copy", new, "--json").objects == [{"copied": 0, "replaced": 0, "kept": 502}]
    assert held(new) == records
    owned = on(new, lambda adapter: adapter.find("ann"))
    assert [record.version for record in owned.values()] == [7]


def test_what_the_target_has_already(run: Run, sqlite_url: str, request: pytest.FixtureRequest) -> None:
    """The same and newer versions stay, and what was retired; an older one gives way; what is only there stays."""
    target = make_url("sqlite", request)
    on(target, nothing)
    sessions = {name: a_session("ann", version=3, where="source")[1] for name in ("same", "newer", "older", "retired")}
    put(sqlite_url, *sessions.items())
    there = {
        "same": a_session("ann", version=3, where="target")[1],
        "newer": a_session("ann", version=4, where="target")[1],
        "older": a_session("ann", version=1, where="target")[1],
        "own": a_session("bob")[1],
    }
    put(target, *there.items(), ("retired", retire(replace(sessions["retired"], version=1), "elsewhere", now=FAR)))
    assert run(sqlite_url, "copy", target).out == "copied 0 sessions, replaced 1, left 3 as they were\n"
    assert held(target) == {**there, "older": sessions["older"]}
    assert held(sqlite_url) == sessions


def test_the_target_from_the_environment(run: Run, sqlite_url: str, request: pytest.FixtureRequest) -> None:
    """Neither URL need be seen by others."""
    target = make_url("sqlite", request)
    put(sqlite_url, a_session())
    ran = run("copy", SPRY_SESSION_STORE=sqlite_url, SPRY_SESSION_TARGET=target)
    assert ran == (0, "copied 1 session, replaced 0, left 0 as they were\n", "")


def stores(source: SessionAdapter, target: SessionAdapter) -> tuple[GuardedStore, GuardedStore]:
    """Two stores in memory, as the command has them."""
    return GuardedStore(source, time.time, None), GuardedStore(target, time.time, None)


def ignore(more: int) -> None:
    """Show no progress."""


async def filled(many: int) -> MemorySessionAdapter:
    """A store with sessions."""
    adapter = MemorySessionAdapter()
    for number in range(many):
        await adapter.create(f"{number}", a_session("ann", version=5)[1])
    return adapter


async def live(adapter: SessionAdapter) -> dict[str, int]:
    """The handles of a store, with the versions."""
    return {handle: record.version async for handle, record in adapter.scan()}


@pytest.mark.parametrize("broken_off", ["create", "destroy", "load", "scan"])
@pytest.mark.parametrize("at", [1, 2, 700])
async def test_a_copy_that_was_broken_off_goes_on(broken_off: str, at: int) -> None:
    """Wherever the store failed, the next run does the rest."""
    source, target = FaultyAdapter(await filled(1000)), FaultyAdapter(MemorySessionAdapter())
    for number in range(0, 1000, 2):
        await target.create(f"{number}", a_session("ann", version=2)[1])
    (source if broken_off == "scan" else target).fail(broken_off, at=min(at, 400))  # type: ignore[arg-type]
    with pytest.raises(AdapterError):
        await copying.copy(*stores(source, target), ignore)
    assert len(asyncio.all_tasks()) == 1
    done = await copying.copy(*stores(source, target), ignore)
    assert done.total() == 1000
    assert await live(target) == {f"{number}": 5 for number in range(1000)}


async def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of each part, the last one too."""
    monkeypatch.setattr(copying, "_TOGETHER", 2)
    told: list[int] = []
    assert await copying.copy(*stores(await filled(5), MemorySessionAdapter()), told.append) == Counter(
        copied=5, replaced=0, kept=0
    )
    assert told == [2, 2, 1]


@pytest.mark.parametrize(("version", "operation"), [(2, "destroy"), (9, "load")], ids=["older", "newer"])
async def test_a_session_that_ends_in_the_target_meanwhile_stays_ended(version: int, operation: str) -> None:
    """Whoever signs out between the look and the copy, or between two looks, is not signed in again by it."""
    source, target = await filled(1), WatchedAdapter(MemorySessionAdapter())
    await target.create("0", a_session("ann", version=version)[1])
    barrier = Barrier(target, operation)
    copy = asyncio.create_task(copying.copy(*stores(source, target), ignore))
    await barrier.reached.wait()
    assert await target.inner.destroy("0")
    barrier.go_on.set()
    assert (await copy)["kept"] == 1
    assert await live(target) == {}


async def test_a_session_that_is_there_again() -> None:
    """Somebody else put it there in the moment in which the older one had gone: theirs stays."""
    source, target = await filled(1), WatchedAdapter(MemorySessionAdapter())
    await target.create("0", a_session("ann", version=2)[1])

    async def between(operation: str) -> None:
        if operation == "destroy":
            await target.inner.create("0", a_session("ann", version=6)[1])

    target.after = between
    assert (await copying.copy(*stores(source, target), ignore))["kept"] == 1
    assert await live(target) == {"0": 6}


async def test_a_session_that_is_just_being_moved() -> None:
    """What stands for it in the old store is no session, and takes no session's place: what it holds is copied."""
    source, target = await filled(1), MemorySessionAdapter()
    record = a_session("ann", version=5)[1]
    await source.create("moving", moving(record))
    await target.create("moving", record)
    assert (await copying.copy(*stores(source, target), ignore))["kept"] == 1
    assert await target.load("moving") == record


async def test_copies_beside_a_site_that_runs() -> None:
    """Requests change the target while two copies run: no update is lost, and no version goes back."""
    source, target = await filled(300), MemorySessionAdapter()
    for number in range(0, 300, 3):
        await target.create(f"{number}", a_session("ann", version=5 + number % 2)[1])
    seen: dict[str, int] = {}

    async def site() -> None:
        for handle in map(str, range(300)):
            await asyncio.sleep(0)
            record = await target.load(handle)
            if record is not None:
                assert record.version >= seen.get(handle, 0)
                assert await target.update(handle, replace(record, version=record.version + 1))
                seen[handle] = record.version + 1

    copies = (copying.copy(*stores(source, target), ignore) for _ in range(2))
    await asyncio.gather(site(), *copies, site())
    versions = await live(target)
    assert len(versions) == 300
    assert all(versions[handle] >= version for handle, version in seen.items())
