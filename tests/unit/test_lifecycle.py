"""A session's turning points without HTTP: which of several identifiers counts, and what an end leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import (
    AdapterError,
    Session,
    SessionEndedError,
    SessionManager,
    SessionRecord,
    SessionTooLargeError,
)
from aiohttp_spry_session.identifiers import handle_of

from ..support import Recorder, arrive, session_of


@pytest.fixture
def manager(opened) -> SessionManager:
    """A manager with the default options."""
    return opened()


def begin(manager: SessionManager, *presented: str) -> Session:
    """A session as a request would have it."""
    return session_of(arrive(manager, presented))


async def start(manager: SessionManager) -> str:
    """Store a session, and return its identifier."""
    session = begin(manager)
    await session.set("n", 1)
    await session.save()
    return session.identifier


async def test_limit_that_was_lowered_since(opened, clock):
    """A session that is past the absolute limit by now is not used, although its stored end is later."""
    identifier = await start(opened())
    manager = opened(max_lifetime=300)
    events = Recorder(manager)
    clock.advance(299)
    assert await begin(manager, identifier).get("n") == 1
    clock.advance(1)
    assert await begin(manager, identifier).get("n") is None
    (event,) = events.events
    assert (event.name, event.reason, event.handle) == ("rejected", "unknown", handle_of(identifier))


async def test_retired_identifier_with_a_limit(opened, clock):
    """It is remembered as such: a plain write under it starts nothing, whatever the limit."""
    manager = opened(max_lifetime=300)
    identifier = await start(manager)
    clock.advance(290)
    await begin(manager, identifier).rotate()
    clock.advance(20)
    events = Recorder(manager)
    life = arrive(manager, (identifier,))
    await session_of(life).set("n", 2)
    await life.commit()
    assert events.told == [("rejected", "retired"), ("rejected", "retired")]


async def test_newest_of_two_identifiers_counts(manager, memory):
    """Within a grace a browser may send both: wherever it stands, the newest one is the session's."""
    old = await start(manager)
    session = begin(manager, old)
    await session.rotate(grace=30)
    new = session.identifier
    for presented in ((old, new), (new, old)):
        life = arrive(manager, presented)
        session = session_of(life)
        await session.renew()
        await life.commit()
        assert (session.identifier, session.handle, life.cookie.action.name) == (new, handle_of(new), "SEND")


async def test_identifier_within_its_grace_writes_no_cookie(manager):
    """Who came with the old identifier does not know the new one."""
    old = await start(manager)
    await begin(manager, old).rotate(grace=30)
    events = Recorder(manager)
    life = arrive(manager, (old,))
    session = session_of(life)
    await session.renew()
    await life.commit()
    assert (life.cookie.action.name, events.told) == ("KEEP", [("renewed", "renew")])


async def test_ambiguous_request_is_named_by_its_first_session(manager):
    """The event's handle is one that the store knows."""
    first, second = await start(manager), await start(manager)
    events = Recorder(manager)
    await begin(manager, first, second).load()
    (event,) = events.events
    assert (event.reason, event.handle) == ("ambiguous", handle_of(first))


async def test_corrupt_session_is_named(manager, memory, clock):
    """The event's handle is that of the damaged record."""
    identifier = await start(manager)
    damaged = SessionRecord(b"junk", 2, clock(), clock() + 60)
    assert await memory.inner.update(handle_of(identifier), damaged)
    events = Recorder(manager)
    await begin(manager, identifier).load()
    (event,) = events.events
    assert (event.reason, event.handle) == ("corrupt", handle_of(identifier))


@pytest.mark.parametrize("regenerate", [True, False])
async def test_destroy_of_what_this_request_stored(manager, memory, regenerate):
    """What was started and committed in the same request is deleted at once, and told of."""
    session = begin(manager)
    await session.increment("n")
    handle = session.handle
    events = Recorder(manager)
    await session.destroy(regenerate=regenerate)
    assert await memory.inner.load(handle) is None
    assert events.told[0] == ("destroyed", "destroy")
    assert events.events[0].handle == handle


async def test_destroy_after_the_end_does_nothing_more(manager, memory):
    """Where there is nothing left to destroy the store is left alone, and no session is started."""
    life = arrive(manager, (await start(manager),))
    session = session_of(life)
    await session.destroy(regenerate=False)
    memory.calls.clear()
    await session.destroy()
    assert memory.calls == []
    assert (session.created_at, life.cookie.action.name) == (None, "EXPIRE")


async def test_session_after_a_destroyed_one_is_like_any_new_one(opened, memory):
    """Nothing of the old one sticks to it: it is new, finds a free identifier, and rotates by the clock."""
    made = ["first", "rotated", "taken", "second", "third"]
    other = opened(identifier_generator=lambda: "taken")
    await start(other)
    manager = opened(identifier_generator=lambda: made.pop(0))
    old = await start(manager)
    await begin(manager, old).rotate(grace=30)
    session = begin(manager, old)
    await session.get("n")
    assert not session.is_new
    await session.destroy()
    assert session.is_new
    assert session.identifier == "second"
    await session.rotate(grace=30)
    assert session.identifier == "third"


async def test_session_that_was_handed_out_and_destroyed(opened):
    """The identifier of what follows was handed out to nobody, so it may be chosen again."""
    made = ["first", "taken", "second"]
    await start(opened(identifier_generator=lambda: "taken"))
    manager = opened(identifier_generator=lambda: made.pop(0))
    session = begin(manager)
    await session.load()
    assert session.identifier == "first"
    await session.destroy(regenerate=False)
    await session.set("n", 1)
    await session.save()
    assert session.identifier == "second"


@pytest.mark.parametrize("rotation", ["rotate", "bind"])
async def test_start_that_failed_can_be_made_up_for(manager, memory, rotation):
    """Where a rotation was to start a session and the store failed, a write starts one once the store is back."""
    session = begin(manager)
    memory.fail("create")
    with pytest.raises(AdapterError):
        await (session.rotate() if rotation == "rotate" else session.bind("ann"))
    memory.work()
    await session.set("n", 1)
    await session.save()
    assert await begin(manager, session.identifier).get("n") == 1


async def test_rotation_that_lost_against_one_with_a_grace(manager):
    """A change of privilege does not follow: the session was rotated, and that is what it is told."""
    identifier = await start(manager)
    late = begin(manager, identifier)
    await late.load()
    await begin(manager, identifier).rotate(grace=30)
    with pytest.raises(SessionEndedError) as caught:
        await late.rotate()
    assert caught.value.reason == "rotated"


@pytest.mark.parametrize("waits", [False, True])
async def test_rotation_by_the_clock_that_came_second(manager, waits):
    """It changes nothing, tells nobody, and writes no cookie, also where it had to wait for its turn."""
    identifier = await start(manager)
    life = arrive(manager, (identifier,))
    late = session_of(life)
    await late.load()
    await begin(manager, identifier).rotate(grace=30)
    events = Recorder(manager)
    if waits:
        async with manager._store.turns.take(late.handle):
            rotating = asyncio.create_task(late.rotate(grace=30))
            await asyncio.sleep(0)
        await rotating
    else:
        await late.rotate(grace=30)
    assert (life.cookie.action.name, events.told, late.identifier) == ("KEEP", [], identifier)


async def test_rotation_holds_to_the_limit_of_size(opened):
    """What two requests set fits by itself, and not together."""
    manager = opened(max_bytes=100)
    identifier = await start(manager)
    session = begin(manager, identifier)
    await session.set("mine", "m" * 50)
    other = begin(manager, identifier)
    await other.set("theirs", "t" * 50)
    await other.save()
    with pytest.raises(SessionTooLargeError):
        await session.rotate()
    assert await begin(manager, identifier).keys() == ["n", "theirs"]


async def test_pop_stores_a_session_that_was_asked_for(manager):
    """It is a commit point, for a renewal that starts a session too."""
    session = begin(manager)
    await session.renew()
    assert await session.pop("token") is None
    assert session.created_at is not None


async def test_discarded_changes_are_gone(manager):
    """What was set and discarded is not read any more; what is stored is."""
    life = arrive(manager, (await start(manager),))
    session = session_of(life)
    await session.set("n", 2)
    await session.set("m", 2)
    life.discard()
    assert await session.get("n") == 1
    assert await session.keys() == ["n"]
