"""What is particular to the memory adapter: it lets go of what is over, and it is bounded."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import tracemalloc
from dataclasses import replace

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionRecord
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import LIFETIME, a_record, rotate


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make(clock):
    def make(**options):
        adapter = MemorySessionAdapter(**{"expiration": LIFETIME, **options})
        adapter.clock = clock
        return adapter

    return make


def queued(adapter):
    """How many handles stand in the queues of ends."""
    return sum(map(len, adapter._ends.values()))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "10"])
def test_max_sessions_is_checked(wrong):
    """Only a whole number above 0 is a bound."""
    with pytest.raises(ValueError, match="max_sessions must be a whole number above 0"):
        MemorySessionAdapter(max_sessions=wrong)


async def test_expired_sessions_leave_with_new_ones(make, clock):
    """Without any purge the store does not grow: each new session clears away up to two."""
    adapter = make()
    for number in range(100):
        await adapter.create(f"old {number}", a_record(clock, owner="ada"))
    clock.advance(LIFETIME + 60)
    for number in range(60):
        await adapter.create(f"new {number}", a_record(clock))
    assert len(adapter) == 60
    assert queued(adapter) == 60
    assert not adapter._owners


async def test_new_sessions_clear_away_nothing_that_lives(make, clock):
    """What stands in the slice of time that has begun is looked at, and stays unless its end has come."""
    adapter = make(expiration=640)
    await adapter.create("soon", a_record(clock, lifetime=9.0))
    await adapter.create("later", a_record(clock, lifetime=19.0))
    clock.advance(9.5)
    await adapter.create("new", a_record(clock))
    assert len(adapter) == 2
    assert await adapter.load("later") is not None


@pytest.mark.parametrize("expiration", [LIFETIME, None])
async def test_destroyed_sessions_leave_no_garbage(make, clock, expiration):
    """Sessions that end long before their time, as at every logout, leave nothing behind."""
    adapter = make(expiration=expiration)
    rng = random.Random(7)
    live = []
    for number in range(20_000):
        handle = f"{number}"
        await adapter.create(handle, a_record(clock, lifetime=expiration, owner=handle))
        live.append(handle)
        if len(live) > 50:
            await adapter.destroy(live.pop(rng.randrange(len(live))))
        clock.advance(0.01)
    assert len(adapter) == len(adapter._owners) == 50
    assert queued(adapter) <= 200
    for handle in live:
        await adapter.destroy(handle)
    assert queued(adapter) <= 100
    assert not adapter._records
    assert not adapter._owners


async def test_renewed_sessions_leave_no_garbage(make, clock):
    """A session that is renewed again and again stands in the queues about once."""
    adapter = make()
    for number in range(10):
        await adapter.create(f"{number}", a_record(clock))
    for step in range(5000):
        clock.advance(7)
        assert await adapter.renew(f"{step % 10}", clock() + LIFETIME)
    assert queued(adapter) <= 40
    clock.advance(LIFETIME)
    assert await adapter.purge() == 10
    assert not adapter._ends


async def test_endless_sessions_that_begin_anew_leave_no_garbage(make, clock):
    """A bind sets a new beginning, by which a session without an end is queued."""
    adapter = make(expiration=None)
    record = a_record(clock, lifetime=None)
    await adapter.create("a", record)
    for version in range(2, 1000):
        clock.advance(1000)
        record = a_record(clock, lifetime=None, version=version)
        assert await adapter.update("a", record)
    assert queued(adapter) <= 4
    assert await adapter.load("a") == record


async def test_purge_gives_way(make, clock):
    """However much there is to delete, others get their turn every few hundred records."""
    adapter = make()
    for number in range(5000):
        await adapter.create(f"{number}", a_record(clock))
    clock.advance(LIFETIME)
    purging = asyncio.ensure_future(adapter.purge())
    turns = 0
    while not purging.done():
        await asyncio.sleep(0)
        turns += 1
    assert 10 <= turns <= 40
    assert purging.result() == 5000


async def test_purge_counts_what_it_found(make, clock):
    """A session that was destroyed before does not count."""
    adapter = make()
    for number in range(10):
        await adapter.create(f"{number}", a_record(clock))
    await adapter.destroy("9")
    assert queued(adapter) == 10
    clock.advance(LIFETIME)
    assert await adapter.purge() == 9
    assert not adapter._ends


async def test_purge_while_everything_changes(make, clock):
    """What others destroy, renew and create between the steps of a purge confuses nobody."""
    adapter = make()
    for number in range(3000):
        await adapter.create(f"{number}", a_record(clock, lifetime=LIFETIME if number % 3 else 10.0))
    clock.advance(10)
    purging = asyncio.ensure_future(adapter.purge())
    await asyncio.sleep(0)
    for number in range(3000):
        if number % 3 == 0:
            await adapter.destroy(f"{number}")
    assert 0 < await purging < 1000
    assert len(adapter) == 2000
    assert await adapter.purge() == 0


async def test_the_nearest_to_its_end_is_evicted(make, clock):
    """Over the bound, the session that would have ended first goes; renewed ones are not that."""
    adapter = make(max_sessions=3)
    for number in range(3):
        await adapter.create(f"{number}", a_record(clock, owner="ada"))
        clock.advance(60)
    await adapter.renew("0", clock() + LIFETIME)
    await adapter.create("3", a_record(clock))
    assert len(adapter) == 3
    assert await adapter.load("1") is None
    assert set(await adapter.find("ada")) == {"0", "2"}
    await adapter.destroy("2")
    await adapter.create("4", a_record(clock))
    assert await adapter.load("0") is not None


async def test_short_sessions_are_told_apart_by_the_second(make, clock):
    """However short the expiration: of two ends in different seconds the first is the nearest."""
    adapter = make(max_sessions=2, expiration=5)
    await adapter.create("later", a_record(clock, lifetime=1.5))
    await adapter.create("sooner", a_record(clock, lifetime=0.5))
    await adapter.create("new", a_record(clock))
    assert sorted(adapter._records) == ["later", "new"]


async def test_endless_sessions_of_an_hour_share_a_queue(make, clock):
    """They take no more memory than others."""
    adapter = make(expiration=None)
    for number in range(1000):
        await adapter.create(f"{number}", a_record(clock, lifetime=None))
        clock.advance(1)
    assert len(adapter._ends) <= 2


async def test_endless_sessions_are_evicted_last_and_the_oldest_first(make, clock):
    """Of sessions without an end the one that began first goes, once there is none with an end."""
    adapter = make(max_sessions=3, expiration=None)
    for number in range(3):
        await adapter.create(f"{number}", a_record(clock, lifetime=None))
        clock.advance(3600)
    await adapter.destroy("1")
    await adapter.create("mortal", a_record(clock, lifetime=1e7))
    for number, left in ((3, "023"), (4, "234"), (5, "345")):
        await adapter.create(f"{number}", a_record(clock, lifetime=None))
        clock.advance(3600)
        assert sorted(adapter._records) == list(left)


async def test_a_rotation_keeps_the_bound(make, clock):
    """What a rotation leaves behind counts; it is what goes first."""
    adapter = make(max_sessions=2)
    await adapter.create("a", a_record(clock))
    await adapter.create("b", a_record(clock))
    assert await rotate(adapter, "a", "c", a_record(clock, version=2))
    assert sorted(adapter._records) == ["b", "c"]
    single = make(max_sessions=1)
    await single.create("a", a_record(clock))
    assert await rotate(single, "a", "b", a_record(clock, version=2))
    assert sorted(single._records) == ["b"]
    roomy = make(max_sessions=3)
    await roomy.create("a", a_record(clock))
    await roomy.create("b", a_record(clock))
    assert await rotate(roomy, "a", "c", a_record(clock, version=2))
    assert sorted(roomy._records) == ["a", "b", "c"]


@pytest.fixture
def crowded(make, clock):
    """Return a full store in whose first slice of time some live sessions hide an expired one from the sweep."""

    async def crowded(live):
        adapter = make(max_sessions=live + 1)
        for number in range(live):
            await adapter.create(f"live {number}", a_record(clock, lifetime=5.0))
        await adapter.create("expired", a_record(clock, lifetime=1.0))
        assert len(adapter._ends) == 1
        clock.advance(1)
        return adapter

    return crowded


async def test_the_bound_counts_no_replacement(crowded, clock):
    """A session in the place of an expired one needs no room."""
    adapter = await crowded(live=3)
    assert await adapter.create("expired", a_record(clock))
    assert sorted(adapter._records) == ["expired", "live 0", "live 1", "live 2"]


async def test_what_has_expired_is_not_evicted_but_gone(crowded, clock, caplog):
    """Room that an expired record leaves is no eviction."""
    adapter = await crowded(live=2)
    assert await adapter.create("new", a_record(clock))
    assert sorted(adapter._records) == ["live 0", "live 1", "new"]
    assert not caplog.records


async def test_nothing_is_evicted_that_left_before(make, clock):
    """A destroyed session makes room once, and each eviction after that costs a session that is there."""
    adapter = make(max_sessions=10)
    for number in range(10):
        await adapter.create(f"{number}", a_record(clock))
    await adapter.destroy("5")
    for number in range(10, 15):
        await adapter.create(f"{number}", a_record(clock))
        assert len(adapter) == 10
    assert adapter._evicted == 4


async def test_evictions_are_logged_once_a_minute(make, clock, caplog):
    """The log says that the bound is reached, how often, and which handle went last."""
    adapter = make(max_sessions=2)
    for number in range(6):
        await adapter.create(f"{number}", a_record(clock))
        clock.advance(1)
    assert [record.getMessage() for record in caplog.records] == [
        "max_sessions=2 is reached: 1 sessions evicted so far, the last was 0"
    ]
    assert caplog.records[0].levelno == logging.WARNING
    clock.advance(56)  # since the first warning: 60
    await adapter.create("next", a_record(clock))
    assert caplog.messages[1:] == ["max_sessions=2 is reached: 5 sessions evicted so far, the last was 4"]


async def test_many_sessions_and_random_operations_against_a_plain_model(make, clock):
    """After any sequence of operations the store holds what a dict would, and its queues and index say the same."""
    adapter, model, rng = make(expiration=100), {}, random.Random(3)
    for step in range(20_000):
        handle, kind = f"{rng.randrange(60)}", rng.randrange(7)
        current = model.get(handle)
        if current is not None and current.is_expired(clock()):
            del model[handle]
            current = None
        record = replace(
            a_record(clock, lifetime=rng.choice([0.5, 3.0, 100.0, None]), owner=rng.choice([None, "ada", "bob"])),
            version=1 if current is None else current.version + 1,
        )
        if kind < 2:
            if await adapter.create(handle, record):
                assert current is None
                model[handle] = record
        elif kind < 4:
            if await adapter.update(handle, record):
                assert current is not None
                model[handle] = record
        elif kind == 4:
            await adapter.destroy(handle)
            model.pop(handle, None)
        elif kind == 5:
            clock.advance(rng.random())
        elif step % 50 == 6:
            live = {h: r for h, r in model.items() if not r.is_expired(clock())}
            await adapter.purge()
            assert adapter._records == live
            for owner in ("ada", "bob"):
                assert await adapter.find(owner) == {h: r for h, r in live.items() if r.owner == owner}
            standing = {(when, h) for when, handles in adapter._ends.items() for h in handles}
            assert {(adapter._slice_of(r), h) for h, r in live.items()} <= standing
            assert queued(adapter) <= 4 * 60


async def test_a_session_takes_few_bytes(clock):
    """A session with 60 bytes of data and an owner of its own takes at most 450 bytes, and little more once renewed."""
    adapter = MemorySessionAdapter(expiration=LIFETIME)
    adapter.clock = clock
    sessions = 10_000

    def handle(number):
        return hashlib.sha256(b"%d" % number).hexdigest()

    def used():
        return (tracemalloc.get_traced_memory()[0] - before) / sessions

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(sessions):
            begin = clock() + number * 0.01
            record = SessionRecord(b"%060d" % number, 1, begin, begin + LIFETIME, f"user {number:05}")
            await adapter.create(handle(number), record)
        assert used() <= 450
        for number in range(sessions):
            await adapter.renew(handle(number), clock() + 1.5 * LIFETIME + number * 0.01)
        assert used() <= 500
    finally:
        tracemalloc.stop()
