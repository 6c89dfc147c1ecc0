"""An outage of either store lets nobody pass for a stranger (promise 9), and no secret out (promise 10)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionManager
from aiohttp_spry_session.arrivals import visitors
from aiohttp_spry_session.testing import FakeClock

from ..minimal import MinimalAdapter
from ..servers.redis import RedisServer
from ..support import Recorder, WatchedAdapter
from .conftest import OLD, VALUES, Site, new_cookie


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("operation", ["load", "create", "rotate"])
async def test_our_store_fails(
    site: Site,
    store: WatchedAdapter,
    clock: FakeClock,
    operation: str,
    lazy: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """503 wherever the session is used, nothing where it is not; the cookies stay, and then it arrives."""
    browser = await site.new(SessionManager(store, clock=clock, lazy=lazy))
    old = await site.old()
    store.fail(operation)
    for path in "/", "/do/write", "/do/bind", "/do/destroy":
        response = await browser.ask(path, **{OLD: old})
        assert response.status == 503
        assert new_cookie(response) is new_cookie(response, OLD) is None
    response = await browser.ask("/untouched", **{OLD: old})
    assert response.status == 200
    assert new_cookie(response) is new_cookie(response, OLD) is None
    store.work()
    assert await browser.values(f"{OLD}={old}") == VALUES
    assert old.strip('"') not in caplog.text
    assert len([record for record in caplog.records if record.exc_info]) == 1


@pytest.mark.parametrize("operation", ["create", "rotate"])
async def test_an_answer_of_our_store_is_lost(
    site: Site, store: WatchedAdapter, manager: SessionManager, operation: str
) -> None:
    """The next request goes on from wherever it was."""
    browser = await site.new(manager)
    old = await site.old()

    async def after(done: str) -> None:
        if done == operation:
            raise TimeoutError

    store.after = after
    assert (await browser.ask(**{OLD: old})).status == 503
    store.work()
    store.calls.clear()
    assert await browser.values(f"{OLD}={old}") == VALUES
    assert store.calls.count("create") == 0
    assert await manager.count() == 1


async def test_a_session_that_cannot_be_looked_at(site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """It has arrived, and nobody knows how it is: 503, and not a stranger."""
    browser = await site.new(manager)
    old = await site.old()
    await browser.ask(**{OLD: old})
    loads = 0

    async def before(operation: str) -> None:
        nonlocal loads
        loads += 1
        if loads == 2:
            raise OSError

    store.before = before
    response = await browser.ask(**{OLD: old})
    assert response.status == 503
    assert new_cookie(response) is None
    assert await browser.values(f"{OLD}={old}") == VALUES


@pytest.mark.parametrize("lazy", [False, True])
async def test_who_arrived_is_told_of_in_an_outage_too(
    site: Site, store: WatchedAdapter, clock: FakeClock, lazy: bool
) -> None:
    """The store fails once the session is there: the request is answered 503, and the next finds what has begun."""
    manager = SessionManager(store, clock=clock, lazy=lazy)
    recorder = Recorder(manager)
    browser = await site.new(manager)
    old = await site.old()

    async def before(operation: str) -> None:
        if store.calls[-2:] == ["rotate", "load"]:
            raise OSError

    store.before = before
    assert (await browser.ask(**{OLD: old})).status == 503
    assert recorder.told == [("created", "arrived")]
    store.work()
    assert await browser.values(f"{OLD}={old}") == VALUES
    assert recorder.told == [("created", "arrived")]


async def test_an_outage_starts_nothing(site: Site, store: WatchedAdapter, clock: FakeClock) -> None:
    """With ``autostart`` neither: nobody knows whether there is a session."""
    manager = SessionManager(store, clock=clock, autostart=True)
    recorder = Recorder(manager)
    browser = await site.new(manager)
    old = await site.old()
    store.fail()
    assert (await browser.ask("/untouched", **{OLD: old})).status == 200
    assert (await browser.ask(**{OLD: old})).status == 503
    store.work()
    assert recorder.told == []
    assert await browser.values(f"{OLD}={old}") == VALUES


async def refuse(*args: Any) -> bool:
    """Rotate nothing."""
    return False


@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
async def test_the_cookie_cannot_be_looked_at_again(
    site: Site, clock: FakeClock, adapter: type[SessionAdapter]
) -> None:
    """Both ways stay open, in a cookie beside, and the next request settles it: who arrived stays signed in."""
    store = WatchedAdapter(adapter())

    async def style(request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": "public"})

    browser = await site.new(SessionManager(store, clock=clock), style=style)
    old = await site.old()
    rotated = False

    async def before(operation: str) -> None:
        nonlocal rotated
        if rotated and store.calls[-2:] == ["load", "load"]:
            raise OSError
        rotated = rotated or operation == "rotate"

    store.before = before
    response = await browser.ask("/untouched", **{OLD: old})
    assert response.status == 200
    assert new_cookie(response) is new_cookie(response, OLD) is None
    spare = new_cookie(response, "SPRY_SESSION_ID-next")
    assert spare
    store.work()
    for_all = await browser.send("/style", f"SPRY_SESSION_ID-next={spare}", f"{OLD}={old}")
    assert "Set-Cookie" not in for_all.headers  # what goes to caches settles nothing
    settled = await browser.send("/", f"SPRY_SESSION_ID-next={spare}", f"{OLD}={old}")
    assert (await settled.json())["values"] == VALUES
    assert new_cookie(settled) == spare
    assert (new_cookie(settled, "SPRY_SESSION_ID-next"), new_cookie(settled, OLD)) == ("", "")


async def test_a_claim_that_keeps_changing(site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """A store that answers nonsense ends in a 503, and not in a loop."""
    browser = await site.new(manager)
    old = await site.old()
    rotate, store.rotate = store.rotate, refuse  # type: ignore[method-assign]
    assert (await browser.ask(**{OLD: old})).status == 503
    store.rotate = rotate  # type: ignore[method-assign]
    assert await browser.values(f"{OLD}={old}") == VALUES


@pytest.fixture
def redis_site(make_site: Callable[..., Site], old_redis: Redis) -> Site:
    """An old site with Redis."""
    return make_site("redis")


async def test_the_old_redis_is_away(
    redis_site: Site, manager: SessionManager, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """503 for whom it may know, told once with its cause; nothing changes for others; then they arrive."""
    browser = await redis_site.new(manager)
    old = await redis_site.old()
    ours = new_cookie(await browser.ask("/do/write"))
    await asyncio.to_thread(redis_server.stop)
    for _ in range(3):
        response = await browser.ask(**{OLD: old})
        assert response.status == 503
        assert new_cookie(response) is new_cookie(response, OLD) is None
    assert await browser.values(f"SPRY_SESSION_ID={ours}", f"{OLD}={old}") == {"n": 1}
    assert await browser.values() == {}
    (told,) = [record for record in caplog.records if record.name == "aiohttp_spry_session"]
    assert "the old storage of aiohttp-session failed (ConnectionError)" in told.getMessage()
    assert told.exc_info
    await asyncio.to_thread(redis_server.start)
    assert await browser.values(f"{OLD}={old}") == VALUES
    assert caplog.records[-1].getMessage() == "the session store answers again, after 3 failed operations"
    assert old not in caplog.text


async def test_the_old_redis_hangs(redis_site: Site, store: WatchedAdapter, clock: FakeClock) -> None:
    """The manager's ``timeout`` holds for it too."""
    browser = await redis_site.new(SessionManager(store, clock=clock, timeout=0.05))
    old = await redis_site.old()

    async def hang(*args: Any) -> None:
        await asyncio.Event().wait()

    client = redis_site.source._client
    get, client.get = client.get, hang
    response = await browser.ask(**{OLD: old})
    assert response.status == 503
    client.get, client.delete = get, hang
    assert await browser.values(f"{OLD}={old}") == VALUES


async def test_a_key_of_another_type(redis_site: Site, manager: SessionManager, old_redis: Redis) -> None:
    """Whatever Redis refuses is a failure, and its message is kept out of the answer."""
    await old_redis.lpush(f"{OLD}_odd", "x")
    browser = await redis_site.new(manager)
    assert (await browser.ask(**{OLD: "odd"})).status == 503
    await old_redis.delete(f"{OLD}_odd")


async def test_a_command_that_is_not_there(
    redis_site: Site,
    manager: SessionManager,
    old_redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Redis repeats what it was asked for, and so its cause is not told: it names the cookie."""

    async def renamed(key: str) -> Any:
        return await old_redis.execute_command("RENAMED-GET", key)

    monkeypatch.setattr(old_redis, "get", renamed)
    browser = await redis_site.new(manager)
    old = await redis_site.old()
    assert (await browser.ask(**{OLD: old})).status == 503
    assert "the old storage of aiohttp-session failed (ResponseError)" in caplog.text
    assert old not in caplog.text


async def test_what_cannot_be_deleted(
    redis_site: Site, manager: SessionManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The session is safe, and arrives; its claim keeps it from doing so again. The log says so, and no key."""
    browser = await redis_site.new(manager)
    old = await redis_site.old()

    async def refuse(key: str) -> None:
        raise PermissionError(key)

    monkeypatch.setattr(redis_site.source._client, "delete", refuse)
    response = await browser.ask(**{OLD: old})
    assert (await response.json())["values"] == VALUES
    (told,) = caplog.records
    assert (told.levelno, told.exc_info) == (logging.WARNING, None)
    assert "could not be deleted there (PermissionError)" in told.getMessage()
    assert old not in caplog.text
    await browser.ask("/do/destroy", SPRY_SESSION_ID=old)
    assert await redis_site.still_there(old)
    assert await browser.values(f"{OLD}={old}") == {}


async def test_cancelled_at_the_old_redis(
    redis_site: Site, manager: SessionManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that goes away is no outage."""
    visitor = visitors.Visitors([redis_site.source], [], manager.codec, 5.0)
    reached = asyncio.Event()

    async def hang(*args: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    for method, ask in (("find", visitor.find(redis_site.source, "x", 0.0)), ("remove", visitor.remove)):
        reached.clear()
        monkeypatch.setattr(redis_site.source, method, hang)
        task = asyncio.ensure_future(ask(redis_site.source, "x") if callable(ask) else ask)
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert caplog.text == ""


async def test_no_secret_anywhere(
    site: Site, manager: SessionManager, store: WatchedAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    """The old cookie's value is in the cookie, and in no log, event or record, and in no name in the store."""
    caplog.set_level(logging.DEBUG, logger="aiohttp_spry_session")
    events: list[Any] = []
    for signal in (manager.on_created, manager.on_rejected, manager.on_destroyed):
        signal.append(events.append)
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    await browser.ask(**{OLD: old})
    await browser.ask("/do/destroy", **{OLD: old})
    await browser.ask(**{OLD: old})
    assert [event.name for event in events] == ["created", "destroyed", "rejected"]
    kept = [f"{handle} {record!r} {record.payload!r}" async for handle, record in store.scan_all()]
    assert len(kept) == 1
    for text in (caplog.text, *map(repr, events), *kept):
        assert old not in text
