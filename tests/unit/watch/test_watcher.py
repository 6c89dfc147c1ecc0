"""The watcher: where it looks, how often, and what it leaves alone."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionEndedError, SessionManager
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.watch import watcher as watcher_module

from ...minimal import MinimalAdapter
from .conftest import OftenFaulty, Seldom, Site, for_ever

SECONDS = 30


async def enter(session, body=for_ever):
    """Return a task whose block depends on the session, once it is entered."""
    entered = asyncio.Event()

    async def run():
        async with session.alive():
            entered.set()
            await body()

    block = asyncio.create_task(run())
    await asyncio.wait_for(entered.wait(), SECONDS)
    return block


async def ended(*blocks):
    """Wait until these have ended with their sessions."""
    async with asyncio.timeout(SECONDS):
        outcomes = await asyncio.gather(*blocks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SessionEndedError] * len(blocks)


async def stopped(site, *blocks):
    for block in blocks:
        block.cancel()
    await asyncio.gather(*blocks, return_exceptions=True)
    await site.settled()


class Quick(MinimalAdapter):
    """Four methods."""

    watch_interval = 0.01


async def test_four_methods_are_enough(clock):
    """Without hints looking again finds out what another process ended."""
    records = {}
    here, there = Site(Quick(records), clock), Site(Quick(records), clock)
    session = await here.started(owner="ada")
    block = await enter(session)
    await there.session(session.identifier).load()
    await there.manager.revoke(session.handle)
    await ended(block)
    await here.settled()


async def test_another_manager_on_the_same_adapter_is_told(clock):
    """By the adapter's hints: nobody looks again."""
    adapter = Seldom()
    here, there = Site(adapter, clock), Site(adapter, clock)
    session = await here.started()
    block = await enter(session)
    await there.manager.revoke(session.handle)
    await ended(block)
    await here.settled()


async def test_rotations_elsewhere_are_followed(clock):
    """One after the other; the end is that of the last."""
    adapter = Seldom()
    here, there = Site(adapter, clock), Site(adapter, clock)
    session = await here.started(owner="ada")
    block = await enter(session)
    identifier = session.identifier
    for _ in range(3):
        other = there.session(identifier)
        await other.load()
        await other.rotate()
        identifier = other.identifier
        await asyncio.sleep(0)
    assert not block.done()
    await there.manager.revoke_owner("ada")
    await ended(block)
    await here.settled()


async def test_what_is_told_while_a_session_moves_is_kept(site, monkeypatch):
    """An end under the new handle may be told before the look that finds that handle has come back."""
    session = await site.started(owner="ada")
    old = session.handle
    block = await enter(session)
    newest = site.watcher._trails.newest
    found, go_on = asyncio.Event(), asyncio.Event()

    async def slow(handle):
        answer = await newest(handle)
        if handle == old:
            found.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(site.watcher._trails, "newest", slow)
    other = site.session(session.identifier)
    await other.load()
    await other.rotate()
    await found.wait()
    await site.manager.revoke(other.handle)
    go_on.set()
    await ended(block)
    await site.settled()


async def test_more_than_can_be_kept_is_kept_as_all(site, monkeypatch):
    """Then whatever moves is looked at once more."""
    monkeypatch.setattr(watcher_module, "_MOST_HEARD", 0)
    await test_what_is_told_while_a_session_moves_is_kept(site, monkeypatch)


async def test_blocks_that_meet_under_one_handle_end_together(site):
    """One came before a rotation, the other one after it."""
    first = await site.started(owner="ada")
    one = await enter(first)
    other = site.session(first.identifier)
    await other.load()
    await other.rotate()
    second = site.session(other.identifier)
    two = await enter(second)
    await asyncio.sleep(0)
    await site.manager.revoke(other.handle)
    await ended(one, two)
    await site.settled()


async def test_another_owner_ends_what_was_nobodys(site):
    """A visitor signs in; who enters then has the owner's session, and stays."""
    session = await site.started()
    block = await enter(session)
    other = site.session(session.identifier)
    await other.bind("ada")
    await ended(block)
    stays = await enter(site.session(other.identifier))
    again = site.session(other.identifier)
    await again.bind("ada")
    await asyncio.sleep(0)
    assert not stays.done()
    await stopped(site, stays)


async def test_the_end_of_time_is_noticed_when_it_comes():
    """By one timer, though nobody looks again."""
    site = Site(Seldom(expiration=0.5), time.time)
    await ended(await enter(await site.started()))
    await site.settled()


async def test_the_earliest_end_comes_first():
    """Also where it was entered last."""
    adapter = Seldom(expiration=3000)
    long, short = Site(adapter, time.time), Site(adapter, time.time, max_lifetime=0.5)
    later = await enter(await long.started())
    await ended(await enter(await short.started()))
    assert not later.done()
    await stopped(long, later)


async def test_a_renewal_elsewhere_keeps_it():
    """The end that was known comes, the store is asked, and there is a later one."""
    clock = FakeClock()
    site = Site(OftenFaulty(MemorySessionAdapter(expiration=60)), clock)
    site.adapter.lose_hints()
    session = await site.started()
    block = await enter(session)
    clock.advance(40)
    other = site.session(session.identifier)
    await other.load()
    await other.renew()
    await site.requests.driver.commit(other._state)
    clock.advance(40)
    for _ in range(3):
        await looked_at(site)
    assert not block.done()
    clock.advance(21)
    await ended(block)
    await site.settled()


async def looked_at(site):
    """Wait until the store has been asked twice more."""
    before = site.adapter.calls.count("load")
    async with asyncio.timeout(SECONDS):
        while site.adapter.calls.count("load") < before + 2:  # noqa: ASYNC110 - an adapter tells nobody
            await asyncio.sleep(0.001)


async def test_lost_hints_are_made_up_for(faulty):
    """By looking again."""
    sessions = [await faulty.started() for _ in range(60)]
    blocks = [await enter(session) for session in sessions]
    faulty.adapter.lose_hints()
    faulty.watcher._store.on_ended = None
    for session in sessions:
        await faulty.adapter.adapter.destroy(session.handle)
    await ended(*blocks)
    await faulty.settled()


async def test_an_outage_ends_nothing(faulty, caplog):
    """Whatever is asked for meanwhile; what ends afterwards is noticed, and the log says it once."""
    sessions = [await faulty.started(), await faulty.started()]
    blocks = [await enter(session) for session in sessions]
    faulty.adapter.fail("load", times=None)
    for _ in range(3):
        await looked_at(faulty)
    assert not any(block.done() for block in blocks)
    faulty.adapter.heal()
    await faulty.manager.revoke(sessions[0].handle)
    await ended(blocks[0])
    assert not blocks[1].done()
    await stopped(faulty, blocks[1])
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def test_an_end_during_an_outage_is_noticed_after_it(faulty):
    """The time has come, and the store does not say whether the session was renewed: nothing ends."""
    session = await faulty.started()
    block = await enter(session)
    faulty.adapter.fail("load", times=None)
    faulty.clock.advance(faulty.adapter.expiration + 1)
    for _ in range(3):
        await looked_at(faulty)
    assert not block.done()
    faulty.adapter.heal()
    await ended(block)
    await faulty.settled()


class Failing(Seldom):
    """Its hints fail twice before they work."""

    watch_interval = 0.01

    def __init__(self):
        super().__init__()
        self.tries = 0
        self.working = asyncio.Event()

    async def hints(self):
        self.tries += 1
        if self.tries < 3:
            raise OSError("no way")
        self.working.set()
        async for hint in super().hints():
            yield hint


async def test_hints_that_fail_are_tried_again(clock, caplog):
    """The log says it once."""
    site = Site(Failing(), clock)
    block = await enter(await site.started())
    await asyncio.wait_for(site.adapter.working.wait(), SECONDS)
    assert not block.done()
    await stopped(site, block)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OSError: no way" in caplog.text


class Iterator:
    """Hints that are no generator."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration


async def test_hints_need_not_be_a_generator(clock):
    """An iterator is enough, and one that ends is fine."""

    class Adapter(Seldom):
        def hints(self):
            return Iterator()

    site = Site(Adapter(), clock)
    session = await site.started()
    block = await enter(session)
    await site.manager.revoke(session.handle)
    await ended(block)
    await site.settled()


async def test_all_runs_from_the_first_block_to_the_last(site):
    """Nothing listens, and no timer is set, while nobody watches."""
    session = await site.started()
    assert len(asyncio.all_tasks()) == 1
    assert site.watcher._store.on_ended is None
    for _ in range(3):
        block = await enter(session)
        assert site.watcher._timer is not None
        await stopped(site, block)
        assert site.watcher._store.on_ended is None
        assert site.watcher._timer is None


async def test_many_are_looked_at_a_few_at_a_time(clock, monkeypatch):
    """However many there are at once."""
    monkeypatch.setattr(watcher_module, "_TOGETHER", 5)

    class Counting(Seldom):
        now = most = 0

        async def load(self, handle):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return await super().load(handle)

    site = Site(Counting(), clock)
    sessions = [await site.started(owner="ada") for _ in range(40)]
    blocks = [await enter(session) for session in sessions]
    site.adapter.most = 0
    site.watcher._hear(None)
    await asyncio.sleep(0)
    assert 0 < site.adapter.most <= 5
    for session in sessions:
        await site.adapter.destroy(session.handle)
    await ended(*blocks)
    assert site.adapter.most <= 5
    await site.settled()


async def test_a_rejected_handle_is_no_session(site):
    """Nothing is held, and nothing ends."""
    block = await enter(await site.started())
    assert not await site.manager.revoke("no; handle")
    assert not block.done()
    await stopped(site, block)


async def test_the_options_of_the_manager_count(clock):
    """``max_lifetime`` ends what the store still holds."""
    site = Site(OftenFaulty(MemorySessionAdapter(expiration=None)), clock, max_lifetime=100)
    block = await enter(await site.started())
    clock.advance(101)
    await ended(block)
    await site.settled()
    assert isinstance(site.manager, SessionManager)


@pytest.mark.parametrize("ends", ["destroy", "bind"])
async def test_what_the_block_does_to_its_own_session_is_done(site, ends):
    """The signal goes out, and the block goes on to its next wait."""
    told = []

    async def receiver(event):
        await asyncio.sleep(0.01)
        told.append((event.name, event.reason))

    site.manager.on_destroyed.append(receiver)
    session = await site.started(owner="ada")
    done = []

    async def body():
        if ends == "destroy":
            await session.destroy()
        else:
            await session.bind("grace")
        done.append(told[-1])
        await for_ever()

    await ended(await enter(session, body))
    assert done == [("destroyed", ends)]
    await site.settled()


class Held:
    """Holds up the answers to looks at one handle."""

    def __init__(self, site, monkeypatch, handle, times):
        self.found, self.go_on = asyncio.Event(), asyncio.Event()
        newest = site.watcher._trails.newest

        async def held(asked):
            nonlocal times
            answer = await newest(asked)
            if asked == handle and times:
                times -= 1
                self.found.set()
                await self.go_on.wait()
            return answer

        monkeypatch.setattr(site.watcher._trails, "newest", held)


async def test_of_two_looks_the_one_that_saw_the_move_counts(site, monkeypatch):
    """The other one, which is older, does not move it back, and is made again."""
    session = await site.started(owner="ada")
    first = await enter(session)
    async with asyncio.timeout(SECONDS):
        while not site.watcher._looks:  # noqa: ASYNC110 - the hint that all is to be looked at
            await asyncio.sleep(0)
        while site.watcher._looks:  # noqa: ASYNC110
            await asyncio.sleep(0)
    held = Held(site, monkeypatch, session.handle, 1)
    entering = asyncio.create_task(enter(site.session(session.identifier)))
    await held.found.wait()
    other = site.session(session.identifier)
    await other.load()
    await other.rotate()
    async with asyncio.timeout(SECONDS):
        while site.watcher._table.get(other.handle) is None:  # noqa: ASYNC110 - a table tells nobody
            await asyncio.sleep(0)
    held.go_on.set()
    second = await entering
    await site.manager.revoke(other.handle)
    await ended(first, second)
    await site.settled()


async def left_meanwhile(site, held, block, kept):
    """Let a block end while the store is asked; who stays is not disturbed."""
    await held.found.wait()
    block.cancel()
    await asyncio.gather(block, return_exceptions=True)
    held.go_on.set()
    await asyncio.sleep(0)
    assert not kept.done()
    await stopped(site, kept)


async def test_who_left_while_the_store_was_asked(site, monkeypatch):
    """Nobody is told, and others are left alone."""
    session, kept = await site.started(), await enter(await site.started())
    block = await enter(session)
    held = Held(site, monkeypatch, session.handle, 1)
    site.watcher._hear(session.handle)
    site.watcher._hear(session.handle)
    await left_meanwhile(site, held, block, kept)


async def test_who_left_before_it_was_their_turn(site, monkeypatch):
    """The store is not asked for what nobody depends on any more."""
    monkeypatch.setattr(watcher_module, "_TOGETHER", 1)
    first, second = await site.started(), await site.started()
    kept, block = await enter(first), await enter(second)
    held = Held(site, monkeypatch, first.handle, 1)
    site.watcher._hear(first.handle)
    site.watcher._hear(second.handle)
    await left_meanwhile(site, held, block, kept)
