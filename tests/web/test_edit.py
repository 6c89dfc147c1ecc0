"""``manager.edit``: a session changed from outside a request."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from aiohttp_spry_session import (
    AdapterError,
    HeadersSentError,
    Session,
    SessionEndedError,
    SessionError,
    SessionManager,
    SessionValueError,
)
from aiohttp_spry_session.identifiers import handle_of

from ..support import Recorder, arrive, session_of


async def start(manager: SessionManager, owner: str | None = None, **options: object) -> Session:
    """A session that holds ``n=1``."""
    session = session_of(arrive(manager, ()))
    await session.set("n", 1)
    if owner is None:
        await session.save()
    else:
        await session.bind(owner, **options)  # type: ignore[arg-type]
    return session


async def seen(manager: SessionManager, identifier: str) -> Session:
    """What a further request of the client sees."""
    session = session_of(arrive(manager, (identifier,)))
    await session.load()
    return session


async def test_edit_commits_at_the_end(make_manager, store):
    """All together, in one write, where the block ends."""
    manager = make_manager()
    async with manager:
        mine = await start(manager)
        store.calls.clear()
        async with manager.edit(mine.handle) as session:
            assert (await session.get("n"), session.handle, session.is_new) == (1, mine.handle, False)
            await session.set("m", 2)
            await session.remove("n")
            assert await (await seen(manager, mine.identifier)).keys() == ["n"]
        assert store.counted == {"load": 2, "update": 1}
        again = await seen(manager, mine.identifier)
        assert (await again.keys(), await again.get("m")) == (["m"], 2)


async def test_a_look_writes_nothing(make_manager, store):
    """Nothing for nothing (promise 6)."""
    manager = make_manager(track_use=1, rolling=True)
    async with manager:
        mine = await start(manager)
        store.calls.clear()
        async with manager.edit(mine.handle) as session:
            await session.get("n")
        assert store.counted == {"load": 1}


async def test_edit_discards_what_a_block_did_that_raises(make_manager, store):
    """But for its commit points, as in a handler (promise 8)."""
    manager = make_manager()
    async with manager:
        mine = await start(manager)
        with contextlib.suppress(RuntimeError):
            async with manager.edit(mine.handle) as session:
                await session.increment("visits")
                await session.set("n", 7)
                raise RuntimeError("no")
        with pytest.raises(RuntimeError, match="no"):
            async with manager.edit(mine.handle):
                raise RuntimeError("no")
        again = await seen(manager, mine.identifier)
        assert [await again.get(key) for key in ("n", "visits")] == [1, 1]


async def test_facts_are_known_and_stay(make_manager, clock):
    """Whose it is, for how long, and how they proved it."""
    manager = make_manager()
    async with manager:
        mine = await start(manager, "ada", level="totp", expiration=timedelta(days=30), device={"a": "b"})
        clock.advance(10)
        async with manager.edit(mine.handle) as session:
            assert (session.owner, session.level, session.device) == ("ada", "totp", {"a": "b"})
            assert session.is_fresh(10, level="totp")
            await session.set("n", 2)
        again = await seen(manager, mine.identifier)
        for name in ("owner", "level", "device", "created_at", "expires_at", "authenticated_at"):
            assert getattr(again, name) == getattr(mine, name)


async def test_what_needs_a_response_raises(make_manager, store):
    """``HeadersSentError``, and nothing is changed."""
    manager = make_manager()
    async with manager:
        mine = await start(manager, "ada")
        async with manager.edit(mine.handle) as session:
            store.calls.clear()
            for operation in (
                session.rotate(),
                session.rotate(grace=10),
                session.bind("ada"),
                session.bind("eve"),
                session.confirm(),
                session.destroy(),
            ):
                with pytest.raises(HeadersSentError):
                    await operation
            assert store.calls == []
        assert (await seen(manager, mine.identifier)).owner == "ada"


async def test_the_identifier_is_not_known(make_manager):
    """The store does not hold it, so nobody can be told (promise 10); the handle is."""
    manager = make_manager()
    async with manager:
        mine = await start(manager)
        async with manager.edit(mine.handle) as session:
            with pytest.raises(SessionError, match="the client alone") as caught:
                session.identifier  # noqa: B018 - it raises
            assert type(caught.value) is SessionError


async def test_renewal(make_manager, clock):
    """It moves the stored end; there is no cookie to write."""
    manager = make_manager()
    recorder = Recorder(manager)
    async with manager:
        mine = await start(manager, "ada", expiration=3000)
        clock.advance(100)
        for change in (False, True):
            clock.advance(100)
            async with manager.edit(mine.handle) as session:
                await session.renew()
                if change:
                    await session.set("n", 2)
            assert (await seen(manager, mine.identifier)).expires_at.timestamp() == clock() + 3000
    renewed = [event for event in recorder.events if event.name == "renewed"]
    assert [(event.handle, event.reason, event.request) for event in renewed] == [(mine.handle, "renew", None)] * 2


async def test_end(make_manager):
    """It ends at once; what is set afterwards would need a cookie."""
    manager = make_manager()
    recorder = Recorder(manager)
    async with manager:
        mine = await start(manager, "ada")
        async with manager.edit(mine.handle) as session:
            await session.set("n", 2)
            await session.destroy(regenerate=False)
            assert session.handle is None
            with pytest.raises(HeadersSentError):
                await session.set("n", 3)
        assert (await seen(manager, mine.identifier)).is_new
    ended = [event for event in recorder.events if event.name == "destroyed"]
    assert [(event.handle, event.owner, event.reason) for event in ended] == [(mine.handle, "ada", "destroy")]


async def test_limits_hold(make_manager):
    """What cannot be stored is refused, and what was stored stays."""
    manager = make_manager(max_bytes=100)
    async with manager:
        mine = await start(manager)
        async with manager.edit(mine.handle) as session:
            with pytest.raises(SessionValueError):
                await session.set("n", object())
            with pytest.raises(SessionError):
                await session.set("m", "x" * 100)
        assert await (await seen(manager, mine.identifier)).get("n") == 1


# Others, meanwhile.


async def test_others_writes_are_not_lost(make_manager):
    """Different keys never overwrite each other (promise 2), whoever commits last."""
    manager, elsewhere = make_manager(), make_manager()
    async with manager, elsewhere:
        mine = await start(manager)
        request = await seen(elsewhere, mine.identifier)
        async with manager.edit(mine.handle) as session:
            await session.set("mine", 1)
            await request.set("theirs", 2)
            await request.save()
        await request.increment("n")
        again = await seen(manager, mine.identifier)
        assert [await again.get(key) for key in ("n", "mine", "theirs")] == [2, 1, 2]


@pytest.mark.parametrize("grace", [0, 30])
async def test_a_rotation_before_is_followed(make_manager, grace):
    """A handle from a list leads to the session, wherever it was rotated since."""
    manager = make_manager()
    async with manager:
        mine = await start(manager, "ada")
        old = mine.handle
        await mine.rotate(grace=grace)
        await mine.rotate()
        async with manager.edit(old) as session:
            assert session.handle == mine.handle
            await session.set("m", 2)
        assert await (await seen(manager, mine.identifier)).get("m") == 2


@pytest.mark.parametrize("way", ["rotate", "rotate with grace", "confirm", "bind"])
@pytest.mark.parametrize("kind", ["set", "increment", "renew"])
async def test_a_rotation_meanwhile_is_followed(make_manager, clock, way, kind):
    """The change is made to the session, not to what it was called when the block began."""
    manager, elsewhere = make_manager(), make_manager()
    async with manager, elsewhere:
        mine = await start(manager, "ada")
        request = await seen(elsewhere, mine.identifier)
        clock.advance(100)
        async with manager.edit(mine.handle) as session:
            if kind == "set":
                await session.set("m", 2)
            elif kind == "renew":
                await session.renew()
            await {
                "rotate": request.rotate,
                "rotate with grace": lambda: request.rotate(grace=30),
                "confirm": request.confirm,
                "bind": lambda: request.bind("ada"),
            }[way]()
            await request.rotate()
            if kind == "increment":
                assert await session.increment("m", 2) == 2
        again = await seen(manager, request.identifier)
        assert (again.owner, await again.get("m")) == ("ada", None if kind == "renew" else 2)
        assert session.handle == request.handle
        if kind == "renew":
            assert again.expires_at.timestamp() == clock() + 1200


async def test_reload_follows_a_rotation(make_manager):
    """And sees what others changed."""
    manager = make_manager()
    async with manager:
        mine = await start(manager)
        async with manager.edit(mine.handle) as session:
            await mine.set("n", 2)
            await mine.rotate()
            await session.reload()
            assert (await session.get("n"), session.handle) == (2, mine.handle)


@pytest.mark.parametrize("end", ["destroy", "revoke", "another owner", "expiry"])
async def test_a_session_that_ends_meanwhile(make_manager, clock, end):
    """``SessionEndedError`` where the block ends, and it stays ended (promise 3)."""
    manager = make_manager()
    async with manager:
        mine = await start(manager, "ada")
        edited = manager.edit(mine.handle)
        session = await edited.__aenter__()
        await session.set("m", 2)
        if end == "destroy":
            await mine.destroy(regenerate=False)
        elif end == "revoke":
            await manager.revoke(mine.handle)
        elif end == "another owner":
            await mine.bind("eve")
        else:
            clock.advance(1200)
        with pytest.raises(SessionEndedError):
            await edited.__aexit__(None, None, None)
        assert await manager.find("ada") == []
        assert [await each.get("m") for each in [await seen(manager, mine.identifier)]] == [None]


# Where there is none.


@pytest.mark.parametrize("case", ["unknown", "no hash", "ended", "expired", "corrupt", "past its limit"])
async def test_no_session_lives_there(make_manager, store, clock, case):
    """``SessionEndedError`` at entry."""
    manager = make_manager(max_lifetime=2000)
    async with manager:
        mine = await start(manager)
        handle = {"unknown": handle_of("unknown"), "no hash": "é\n"}.get(case, mine.handle)
        if case == "ended":
            await manager.revoke(handle)
        elif case == "expired":
            clock.advance(1200)
        elif case == "corrupt":
            record = await store.load(handle)
            await store.update(handle, type(record)(b"\xc1", record.version + 1, record.created_at, record.expires_at))
        elif case == "past its limit":
            manager = make_manager(max_lifetime=10)
            clock.advance(10)
        entered = False
        with pytest.raises(SessionEndedError) as caught:
            async with manager.edit(handle):
                entered = True
        assert (entered, caught.value.reason) == (False, "ended")


@pytest.mark.parametrize("handle", [None, 7, b"x"])
def test_a_handle_is_text(make_manager, handle):
    """It is said at once."""
    with pytest.raises(ValueError, match="a handle must be a str"):
        make_manager().edit(handle)


async def test_outage(make_manager, store):
    """At entry and at the end it is an ``AdapterError``."""
    manager = make_manager()
    async with manager:
        mine = await start(manager)
        store.fail("load")
        with pytest.raises(AdapterError, match="load"):
            async with manager.edit(mine.handle):
                raise AssertionError("it was entered")
        store.work()
        edited = manager.edit(mine.handle)
        session = await edited.__aenter__()
        await session.set("n", 2)
        store.fail("update")
        with pytest.raises(AdapterError, match="update"):
            await edited.__aexit__(None, None, None)
        store.work()
        assert await (await seen(manager, mine.identifier)).get("n") == 1


@pytest.mark.parametrize("options", [{"lazy": True}, {"autostart": True}, {"max_sessions": 1}])
async def test_options_change_nothing(make_manager, options):
    """Lazy or not: it is loaded at entry, and none is started."""
    manager = make_manager(**options)
    async with manager:
        mine = await start(manager, "ada")
        async with manager.edit(mine.handle) as session:
            assert session.owner == "ada"
            await session.set("n", 2)
        assert len(await manager.find("ada")) == 1
        with pytest.raises(SessionEndedError):
            async with manager.edit(handle_of("unknown")):
                raise AssertionError("it was entered")
