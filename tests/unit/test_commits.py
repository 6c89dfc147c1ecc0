"""Commits of one request, without HTTP: what they take along, what stays pending, and what errors say."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import (
    ConflictError,
    HeadersSentError,
    SessionEndedError,
    SessionError,
    SessionManager,
    SessionRecord,
    SessionTooLargeError,
)
from aiohttp_spry_session.codec import pack

from ..support import Recorder, arrive, held_up_save, session_of


async def start(manager: SessionManager, **values: object) -> str:
    """Store a session, and return its identifier."""
    session = session_of(arrive(manager, ()))
    for key, value in values.items():
        await session.set(key, value)
    await session.renew()
    await session.save()
    return session.identifier


async def test_renewal_after_an_early_save(opened, clock):
    """A rolling request that saved before the session's half is over renews it at its end, past the half."""
    manager = opened(rolling=True)
    life = arrive(manager, (await start(manager),))
    session = session_of(life)
    await session.set("n", 1)
    await session.save()
    clock.advance(700)
    assert life.dirty
    await life.commit()
    assert session.expires_at.timestamp() == clock() + 1200


async def test_renewal_that_is_asked_for_during_a_save(opened, memory, clock):
    """What another task of the request asks for while a commit is under way is done at the next one."""
    manager = opened()
    life = arrive(manager, (await start(manager),))
    session = session_of(life)
    await session.set("n", 1)
    clock.advance(100)
    saving, barrier = await held_up_save(session, memory, "update")
    await session.renew()
    barrier.go_on.set()
    await saving
    assert life.dirty
    await life.commit()
    assert session.expires_at.timestamp() == clock() + 1200


async def test_pop_from_nothing_changes_nothing(opened, memory):
    """A visitor without a session can pop, read and write as before; nothing is stored until something is set."""
    manager = opened()
    session = session_of(arrive(manager, ()))
    assert await session.pop("token", "none") == "none"
    assert await session.keys() == []
    assert memory.calls == []
    await session.set("n", 1)
    assert await session.pop("token") is None
    assert await session.keys() == ["n"]


async def test_rolling_is_throttled_for_writes_too(opened, clock):
    """A write in the first half of the lifetime moves no end, and writes no cookie; nor does a commit point ever."""
    manager = opened(rolling=True)
    life = arrive(manager, (await start(manager),))
    session = session_of(life)
    events = Recorder(manager)
    await session.load()
    end = session.expires_at
    clock.advance(600)
    await session.increment("n")
    await life.commit()
    assert (session.expires_at, life.cookie.action.name, events.told) == (end, "KEEP", [])
    clock.advance(1)
    await session.increment("n")
    assert (session.expires_at, life.cookie.action.name, events.told) == (end, "KEEP", [])
    await session.set("n", 5)
    await life.commit()
    assert session.expires_at.timestamp() == clock() + 1200
    assert (life.cookie.action.name, events.told) == ("SEND", [("renewed", "rolling")])


async def test_renewal_that_goes_with_a_write(opened, memory, clock):
    """It goes with the last commit, in one write, and is told of as one that was asked for."""
    manager = opened()
    life = arrive(manager, (await start(manager),))
    session = session_of(life)
    events = Recorder(manager)
    clock.advance(60)
    await session.renew()
    await session.increment("n")
    assert events.told == []
    assert session.expires_at.timestamp() == clock() + 1140
    await session.set("m", 1)
    memory.calls.clear()
    await life.commit()
    assert events.told == [("renewed", "renew")]
    assert session.expires_at.timestamp() == clock() + 1200
    assert memory.counted == {"update": 1}


async def test_corrupt_record_is_named_in_the_log(opened, memory, caplog):
    """Who looks after the store reads which record was damaged while it was in use."""
    manager = opened()
    session = session_of(arrive(manager, (await start(manager),)))
    await session.load()
    record = await memory.inner.load(session.handle)
    handle = session.handle
    await memory.inner.update(handle, SessionRecord(b"junk", 2, record.created_at, record.expires_at))
    with pytest.raises(SessionEndedError):
        await session.reload()
    assert [entry.getMessage() for entry in caplog.records] == [
        f"the stored session {handle} is corrupt and counts as absent"
    ]


async def test_commit_that_never_gets_through(opened, memory, monkeypatch):
    """It says so, and that nothing was stored."""
    monkeypatch.setattr("aiohttp_spry_session.request.landing.MAX_ATTEMPTS", 3)
    manager = opened()
    session = session_of(arrive(manager, (await start(manager),)))

    async def update(handle: str, record: SessionRecord) -> bool:
        memory.calls.append("update")
        return False

    memory.update = update
    memory.calls.clear()
    with pytest.raises(ConflictError) as caught:
        await session.increment("n")
    assert str(caught.value) == "other requests kept changing the session: nothing was stored"
    assert memory.counted == {"load": 1 + 3, "update": 1 + 3}


async def test_identifiers_that_are_in_use(opened):
    """A generator that repeats itself for ever is told of, and so is an identifier that was handed out already."""
    manager = opened(identifier_generator=lambda: "same")
    first, second, third = (session_of(arrive(manager, ())) for _ in range(3))
    await second.load()
    assert second.identifier == "same"
    await first.set("n", 1)
    await first.save()
    for session, told in (
        (second, "the new session's identifier is in use already: nothing was stored"),
        (third, "identifier_generator keeps returning identifiers that are in use"),
    ):
        await session.set("n", 2)
        with pytest.raises(SessionError) as caught:
            await session.save()
        assert str(caught.value) == told
    await first.reload()
    assert await first.get("n") == 1


@pytest.mark.parametrize("limit", [None, 300], ids=["expiration", "max_lifetime"])
async def test_session_is_over_at_its_very_end(opened, clock, limit):
    """Neither end is passed by a request that began before it, and the error says that it was time."""
    identifier = await start(opened(), n=1)
    manager = opened(max_lifetime=limit)
    session = session_of(arrive(manager, (identifier,)))
    clock.advance((limit or 1200) - 1)
    assert await session.increment("n") == 2
    clock.advance(1)
    with pytest.raises(SessionEndedError) as caught:
        await session.increment("n")
    assert caught.value.reason == "expired"


async def test_request_that_ends_while_a_task_of_it_commits(opened, memory):
    """The last commit waits for its turn, and stores what was set meanwhile."""
    manager = opened()
    life = arrive(manager, (await start(manager, n=1),))
    session = session_of(life)
    await session.set("n", 2)
    saving, barrier = await held_up_save(session, memory, "update")
    await session.set("m", 3)
    ending = asyncio.create_task(life.commit())
    await asyncio.sleep(0)
    assert not ending.done()
    barrier.go_on.set()
    await asyncio.gather(saving, ending)
    await session.reload()
    assert (await session.get("n"), await session.get("m")) == (2, 3)
    assert life.record.version == 3


async def test_request_that_fails_while_a_task_of_it_commits(opened, memory):
    """What was under way is stored, and the rest is forgotten, without another failure."""
    manager = opened()
    life = arrive(manager, (await start(manager, m=1, n=1),))
    session = session_of(life)
    await session.remove("n")
    saving, barrier = await held_up_save(session, memory, "update")
    await session.remove("m")
    life.discard()
    barrier.go_on.set()
    await saving
    await session.reload()
    assert await session.keys() == ["m"]


async def test_events_name_the_owner(opened):
    """Every event of a session that has an owner says whose it was, by its newest handle."""
    manager = opened()
    events = Recorder(manager)
    life = arrive(manager, ())
    session = session_of(life)
    await session.bind("ann")
    await session.renew()
    await life.commit()
    handles = [session.handle, session.handle]
    await session.rotate()
    handles.append(session.handle)
    assert [event.name for event in events.events] == ["created", "renewed", "rotated"]
    assert [event.owner for event in events.events] == ["ann"] * 3
    assert [event.handle for event in events.events] == handles


@pytest.mark.parametrize("key", ["k", "k" * 40, "\N{GRINNING FACE}" * 10], ids=["short", "long", "wide"])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("others", [(), ("\N{GRINNING FACE}" * 5, "a", "b", "c")], ids=["alone", "with others"])
async def test_set_fails_at_the_very_limit_of_size(opened, key, stored, others):
    """A value that just fits is taken, one byte more is refused there and then, and the old value stays."""
    limit = 300
    manager = opened(max_bytes=limit)
    presented = (await start(manager, one="1" * 100),) if stored else ()
    fitting = None
    for length in range(limit):
        life = arrive(manager, presented)
        session, value = session_of(life), "v" * length
        await session.load()
        for name in others:
            await session.set(name, name)
        before = dict(life.view.values)
        if len(pack({**before, key: manager.codec.encode(value)})) <= limit:
            fitting = session
            await session.set(key, value)
        else:
            with pytest.raises(SessionTooLargeError) as caught:
                await session.set(key, value)
            assert (caught.value.limit, caught.value.key) == (limit, key)
            assert life.view.values == before
    await fitting.save()
    assert len((await manager.adapter.inner.load(fitting.handle)).payload) == limit


async def test_write_that_comes_too_late(opened):
    """What would need a cookie says so, and when it should have been done."""
    life = arrive(opened(), ())
    session = session_of(life)
    await session.load()
    life.state.headers_sent = True
    with pytest.raises(HeadersSentError) as caught:
        await session.set("n", 1)
    assert str(caught.value) == (
        "this needs a session cookie in the response, and its headers have left already: "
        "do it before the response is prepared"
    )
