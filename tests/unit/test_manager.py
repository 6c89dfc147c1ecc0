"""The manager outside a request, and sessions without HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from aiohttp_spry_session import (
    AdapterError,
    ConflictError,
    SessionEndedError,
    SessionError,
    SessionInfo,
    SessionManager,
    SessionRecord,
)
from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.record import retire

from ..minimal import MinimalAdapter
from ..support import Recorder, WatchedAdapter, arrive, session_of


@pytest.fixture
async def opened(manager):
    """A manager whose adapter is open."""
    async with manager:
        yield manager


def begin(manager: SessionManager, *presented: str):
    """A session as a request would have it."""
    return session_of(arrive(manager, presented))


async def sign_in(manager: SessionManager, owner: str = "user", **values: object):
    """A session of an owner."""
    session = begin(manager)
    for key, value in values.items():
        await session.set(key, value)
    await session.bind(owner)
    return session


async def test_find(opened, clock):
    """An owner's live sessions, the newest first, with what a device list shows."""
    first = await sign_in(opened, agent="one")
    clock.advance(10)
    second = await sign_in(opened, agent="two")
    await sign_in(opened, "somebody else")
    now = datetime.fromtimestamp(clock(), UTC)
    found = await opened.find("user")
    assert [info.handle for info in found] == [second.handle, first.handle]
    assert found[0] == SessionInfo(
        second.handle,
        "user",
        created_at=now,
        expires_at=datetime.fromtimestamp(clock() + 1200, UTC),
        last_used_at=now,
        authenticated_at=now,
        level=None,
        device=None,
        values={"agent": "two"},
    )
    assert await opened.find("nobody") == []


async def test_find_shows_no_dead_sessions(opened, make_manager, clock, store):
    """Neither expired, nor rotated away, nor revoked, nor past a limit that was lowered since."""
    await sign_in(opened)
    clock.advance(1100)
    rotated = await sign_in(opened)
    await rotated.rotate()
    revoked = await sign_in(opened)
    await opened.revoke(revoked.handle)
    clock.advance(150)
    assert [info.handle for info in await opened.find("user")] == [rotated.handle]
    assert await make_manager(max_lifetime=100).find("user") == []


async def test_find_leaves_out_what_is_corrupt(opened, store, caplog):
    """One damaged session does not hide the others, and is reported."""
    good = await sign_in(opened)
    bad = await sign_in(opened)
    record = await store.inner.load(bad.handle)
    await store.inner.update(bad.handle, SessionRecord(b"junk", 2, record.created_at, record.expires_at, "user"))
    assert [info.handle for info in await opened.find("user")] == [good.handle]
    assert f"the stored session {bad.handle} is corrupt" in caplog.text


async def test_find_shows_a_session_without_an_end(opened, store, clock):
    """Then expires_at is None."""
    await store.inner.create("h" * 64, SessionRecord(pack({}), 1, clock(), None, "user"))
    (info,) = await opened.find("user")
    assert info.expires_at is None


@pytest.mark.parametrize("answer", [None, [], "text", {"h": None}, {"h": "record"}], ids=repr)
async def test_find_in_a_store_that_answers_garbage(opened, store, answer):
    """It is a failure of the store."""

    async def find(owner: str) -> object:
        return answer

    store.find = find
    with pytest.raises(AdapterError, match="find: answered a"):
        await opened.find("user")


async def test_find_trusts_no_index_blindly(opened, store, clock):
    """A store whose index of owners is behind shows nobody another user's session."""

    async def find(owner: str) -> dict[str, SessionRecord]:
        record = SessionRecord(pack({}), 1, clock(), clock() + 10, "somebody else")
        mine = SessionRecord(pack({}), 1, clock(), clock() + 10, owner)
        expired = SessionRecord(pack({}), 1, clock() - 20, clock(), owner)
        return {"a": record, "b": retire(mine, "a", now=clock()), "c": expired, "d": mine}

    store.find = find
    assert [info.handle for info in await opened.find("user")] == ["d"]


ODD_HANDLES = ["", " ", "h", "\ud800", "\0", "\xe9", "a" * 100_000, "'; DROP TABLE sessions", "%", "*"]


@pytest.mark.parametrize("handle", ODD_HANDLES)
async def test_revoke_of_what_is_no_handle(opened, store, handle):
    """Whatever a form sent, there is no such session, and the others are untouched."""
    session = await sign_in(opened)
    await store.inner.create("", SessionRecord(pack({}), 1, 0.0, None))
    assert await opened.revoke(handle) is False
    assert [info.handle for info in await opened.find("user")] == [session.handle]
    assert await store.inner.load("") is not None


@pytest.mark.parametrize("handle", ["", " ", "\ud800", "\0", "\xe9"])
async def test_revoke_asks_the_store_for_nothing_odd(opened, store, handle):
    """What no handle looks like, a store need not be able to express."""
    assert await opened.revoke(handle) is False
    assert store.calls == []


async def test_revoke_owner(opened, store):
    """All of an owner's sessions end, and nobody else's."""
    sessions = [await sign_in(opened) for _ in range(3)]
    other = await sign_in(opened, "somebody else")
    events = Recorder(opened)
    assert await opened.revoke_owner("user") == 3
    assert events.told == [("destroyed", "revoke")] * 3
    assert {event.handle for event in events.events} == {session.handle for session in sessions}
    store.calls.clear()
    assert await opened.revoke_owner("user") == 0
    assert store.counted == {"find": 2}
    for session in sessions:
        with pytest.raises(SessionEndedError):
            await session.reload()
    await other.reload()


async def test_revoke_owner_but_for_one(opened):
    """The session that asks lives on (ASVS 7.4.3), also where it was rotated meanwhile."""
    mine, other = await sign_in(opened), await sign_in(opened)
    assert await opened.revoke_owner("user", keep=mine) == 1
    assert [info.handle for info in await opened.find("user")] == [mine.handle]
    stale = begin(opened, mine.identifier)
    await stale.load()
    await mine.rotate()
    assert await opened.revoke_owner("user", keep=stale) == 0
    assert [info.handle for info in await opened.find("user")] == [mine.handle]
    with pytest.raises(SessionEndedError):
        await other.reload()


async def test_a_session_that_is_over_is_not_kept(opened):
    """Who came with a rotated-away identifier does not end the session that took over; nothing is ended."""
    mine = await sign_in(opened)
    before = mine.identifier
    await mine.rotate()
    with pytest.raises(SessionEndedError):
        await opened.revoke_owner("user", keep=begin(opened, before))
    assert [info.handle for info in await opened.find("user")] == [mine.handle]


async def test_revoke_gives_up_on_a_session_that_never_stands_still(opened, store, monkeypatch):
    """Endless conflicts are an error, not an endless loop."""
    monkeypatch.setattr("aiohttp_spry_session.store.trails.MAX_ATTEMPTS", 7)
    session = await sign_in(opened)

    async def update(handle: str, record: SessionRecord) -> bool:
        return False

    store.update = update
    store.calls.clear()
    with pytest.raises(ConflictError, match="kept changing"):
        await opened.revoke(session.handle)
    assert store.counted == {"load": 7}


@pytest.mark.parametrize("operation", ["load", "update", "destroy"])
async def test_revoke_that_was_cut_short_can_be_repeated(opened, store, operation):
    """Wherever the store failed in it, the next attempt ends the session."""
    session = await sign_in(opened)
    await session.rotate()
    old = session.handle
    await session.rotate()
    store.fail(operation)
    with pytest.raises(AdapterError):
        await opened.revoke(old)
    store.work()
    await opened.revoke(old)
    assert await opened.find("user") == []
    with pytest.raises(SessionEndedError):
        await session.reload()


async def test_failures_outside_a_request(opened, store):
    """Every operation of the manager tells of a failing store by AdapterError, with the cause."""
    session = await sign_in(opened)
    store.fail()
    for name, work in {
        "find": opened.find("user"),
        "load": opened.revoke(session.handle),
        "purge": opened.purge(),
    }.items():
        with pytest.raises(AdapterError, match=rf"{name}: failed \(OSError\)") as caught:
            await work
        assert caught.value.operation == name
        assert isinstance(caught.value.__cause__, OSError)


async def test_purge(opened, clock):
    """Expired sessions and forgotten identifiers go; what lives stays."""
    session = await sign_in(opened)
    await session.rotate()
    clock.advance(60 - 1)
    assert await opened.purge() == 0
    clock.advance(1 + 1)
    assert await opened.purge() == 1
    clock.advance(1200)
    assert await opened.purge() == 1
    assert await opened.purge() == 0


async def test_closed_manager_can_be_opened_again(make_manager, tmp_path):
    """A manager may be used in one script after another."""
    manager = make_manager()
    for _ in range(2):
        async with manager:
            assert await manager.find("user") == []


async def test_endless_chain_of_rotations(opened, store, clock, monkeypatch):
    """A forged store cannot keep a request following successors for ever."""
    monkeypatch.setattr("aiohttp_spry_session.store.trails.MAX_ROTATIONS", 10)

    async def load(handle: str) -> SessionRecord:
        store.calls.append("load")
        record = SessionRecord(b"", 1, clock(), None)
        return retire(record, handle + "x", now=clock(), grace=1000.0)

    store.load = load
    session = begin(opened, "x" * 43)
    await session.load()
    assert session.is_new
    assert store.counted == {"load": 11}


async def test_identifiers_that_collide(make_manager):
    """A generator that repeats itself now and then is asked again; one that always does, is an error."""
    made = iter(["a", "a", "a", "b", "b", "c", *["c"] * 100])
    manager = make_manager(identifier_generator=lambda: next(made))
    async with manager:
        identifiers = []
        for _ in range(3):
            session = begin(manager)
            await session.renew()
            await session.save()
            identifiers.append(session.identifier)
        assert identifiers == ["a", "b", "c"]
        session = begin(manager)
        await session.renew()
        with pytest.raises(SessionError, match="keeps returning identifiers that are in use"):
            await session.save()
        with pytest.raises(SessionError, match="keeps returning identifiers"):
            await begin(manager).bind("user")


async def test_identifier_that_was_handed_out_collides(make_manager):
    """What the handler was told cannot be changed behind its back: then nothing is stored."""
    manager = make_manager(identifier_generator=lambda: "same")
    async with manager:
        first, second = begin(manager), begin(manager)
        await first.load()
        await second.load()
        assert first.identifier == second.identifier == "same"
        await first.save()
        with pytest.raises(SessionError, match="identifier is in use already: nothing was stored"):
            await second.save()


async def test_rotation_to_an_identifier_that_is_in_use(make_manager, monkeypatch):
    """It never takes over somebody's record."""
    monkeypatch.setattr("aiohttp_spry_session.request.driver.MAX_ATTEMPTS", 3)
    made = ["a"]
    manager = make_manager(identifier_generator=lambda: made[0])
    async with manager:
        first = await sign_in(manager, "one")
        made[0] = "b"
        second = await sign_in(manager, "two")
        made[0] = "a"
        with pytest.raises(ConflictError):
            await second.rotate()
        assert [info.owner for info in await manager.find("one")] == ["one"]
        await first.reload()
        await second.reload()
        assert second.identifier == "b"


numbers = iter(range(1000))


async def asynchronous() -> str:
    """An identifier that took its time."""
    return f"made-{next(numbers)}"


async def test_asynchronous_generator(make_manager):
    """The plain properties work without a cookie too, since what they may need is made when the session is loaded."""
    manager = make_manager(identifier_generator=asynchronous)
    async with manager:
        session = begin(manager)
        await session.load()
        assert session.is_new
        first = session.identifier
        assert first.startswith("made-")
        await session.set("n", 1)
        await session.save()
        assert session.identifier == first
        await session.rotate()
        assert session.identifier != first
        await session.destroy(regenerate=False)
        assert session.identifier.startswith("made-")
        again = begin(manager, "unknown")
        await again.load()
        assert again.handle is None
        assert again.identifier.startswith("made-")


@pytest.mark.parametrize("grace", [-1, float("nan"), "soon", True, 10**10], ids=repr)
async def test_unusable_grace(opened, grace):
    """It is a lifetime as any other; nothing happens."""
    session = await sign_in(opened)
    handle = session.handle
    with pytest.raises(ValueError, match="grace must be"):
        await session.rotate(grace=grace)
    assert session.handle == handle


async def test_repr_of_a_session(opened):
    """It tells the state, and no secret."""
    session = begin(opened)
    assert repr(session) == "<Session absent>"
    await session.renew()
    await session.save()
    assert repr(session) == "<Session live>"
    lazily = begin(opened, session.identifier)
    assert repr(lazily) == "<Session unloaded>"


async def test_turns_leave_nothing_behind(make_manager):
    """After commits that competed no lock is kept for their session."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager)
        others = [begin(manager, session.identifier) for _ in range(10)]
        await asyncio.gather(*(other.increment("n") for other in others))
        assert manager._store.turns._turns == {}
        await session.reload()
        assert await session.get("n") == 10


async def test_waiting_for_a_turn_is_bounded(make_manager, store):
    """A commit that waits behind one that hangs gives up in time."""
    manager = make_manager(timeout=0.3)
    async with manager:
        session = await sign_in(manager)
        async with manager._store.turns.take(session.handle):
            other = begin(manager, session.identifier)
            with pytest.raises(AdapterError, match=r"no answer in time \(timeout=0.3\)"):
                await other.increment("n")
        assert manager._store.turns._turns == {}
        assert await asyncio.wait_for(session.increment("n"), 30) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clock": 7}, "clock must be a callable that returns Unix seconds"),
        ({"adapter": "sqlite"}, "adapter must be a SessionAdapter or None, not str"),
        *(
            ({option: 1}, f"{option} must be True or False, not 1")
            for option in ("secure", "http_only", "partitioned", "persistent", "autostart", "lazy")
        ),
        (
            {"rolling": 1},
            (
                "rolling must be True or False, or a plain function that gets the request and says whether it counts "
                "as activity, not 1"
            ),
        ),
    ],
    ids=repr,
)
def test_what_a_manager_refuses(options, said):
    """It says which option is wrong, and what is allowed."""
    with pytest.raises(ValueError, match="must be") as caught:
        SessionManager(**options)
    assert str(caught.value) == said


def test_signals_tell_whose_they_are(manager):
    """Who debugs an application with several managers sees which one a signal belongs to."""
    for name in ("created", "renewed", "rotated", "destroyed", "rejected"):
        assert repr(manager) in repr(getattr(manager, f"on_{name}"))


def test_watched_adapter_is_transparent(store, clock):
    """The store that these tests watch takes the manager's clock and keeps the expiration."""
    SessionManager(store, clock=clock)
    assert isinstance(store, WatchedAdapter)
    assert store.inner.clock is clock
    assert store.expiration == store.inner.expiration


def test_an_adapter_of_release_1_0_is_refused():
    """Its rotations would be called with what it does not know: that shows when the manager is made."""

    class Old(MinimalAdapter):
        async def rotate(self, old, new, record, *, grace=0.0):
            return False

    with pytest.raises(ValueError, match=r"Old\.rotate has to be rotate\(old, new, record, retired\)"):
        SessionManager(Old())
