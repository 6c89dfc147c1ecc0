"""The change-over: an old site hands out the cookie, the new one takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import SessionAdapter, SessionManager
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock

from ..support import Recorder
from .conftest import OLD, VALUES, Site, new_cookie


async def test_signed_in_before_and_after(
    any_store: SessionAdapter, make_site: Callable[..., Site], kind: str, old_redis: Redis, clock: FakeClock
) -> None:
    """Six requests at once get one session with all values; a logout ends it, and the old cookie is nobody's then."""
    site = make_site(kind, owner="user_id")
    old = await site.old()
    began = clock.now
    clock.advance(60)
    manager = SessionManager(any_store, clock=clock)
    recorder = Recorder(manager)
    browser = await site.new(manager)
    responses = await asyncio.gather(*(browser.ask(**{OLD: old}) for _ in range(6)))
    identifiers = {new_cookie(response) for response in responses}
    assert [response.status for response in responses] == [200] * 6
    assert len(identifiers) == 1
    for response in responses:
        seen = await response.json()
        assert seen["values"] == VALUES
        assert (seen["owner"], seen["new"]) == ("7", False)
        assert began - 2 <= seen["created"] == seen["authenticated"] <= began + 2
        assert seen["expires"] == clock.now + 20 * 60
        assert new_cookie(response, OLD) == ""
        assert response.headers["Cache-Control"] == "no-store"
    assert [told for told in recorder.told if told[0] == "created"] == [("created", "arrived")]
    if any_store.finds_owners:
        (info,) = await manager.find("7")
        assert await manager.count() == 1
        assert info.handle == handle_of(identifiers.pop())
    else:
        identifiers.clear()
    ours = new_cookie(responses[0])
    assert await browser.values(f"SPRY_SESSION_ID={ours}") == VALUES
    if kind == "redis":
        assert not await site.still_there(old)
    left = await browser.send("/do/destroy", f"SPRY_SESSION_ID={ours}")
    assert new_cookie(left) == ""
    for path in ("/", "/do/write"):
        response = await browser.ask(path, **{OLD: old})
        assert response.status == 200
    assert await browser.values(f"{OLD}={old}") == {}
    assert await browser.values(f"{OLD}={old}", f"SPRY_SESSION_ID={ours}") == {}


@pytest.mark.parametrize("shared", ["sqlite", "redis", "postgres"])
async def test_several_processes(
    process: Callable[[str], SessionAdapter], site: Site, clock: FakeClock, shared: str
) -> None:
    """They share the store alone, and one of them makes the session."""
    managers = [SessionManager(process(shared), clock=clock) for _ in range(3)]
    recorders = [Recorder(manager) for manager in managers]
    browsers = [await site.new(manager) for manager in managers]
    for _ in range(5):
        old = await site.old()
        responses = await asyncio.gather(*(browser.ask(**{OLD: old}) for browser in browsers * 2))
        assert [(await response.json())["values"] for response in responses] == [VALUES] * 6
        assert len({new_cookie(response) for response in responses}) == 1
    assert sorted(event.name for recorder in recorders for event in recorder.events) == ["created"] * 5
    assert await managers[0].count() == 5


async def test_the_identifier(site: Site, manager: SessionManager, kind: str) -> None:
    """It is the old cookie's value, where that can be one; a token is too long, and has a digest instead."""
    browser = await site.new(manager)
    old = await site.old()
    identifier = new_cookie(await browser.ask(**{OLD: old}))
    assert identifier is not None
    if kind == "redis":
        assert identifier == old
    else:
        assert len(old) > 128
        assert len(identifier) == 43


async def test_rotation_on_bind(site: Site, manager: SessionManager) -> None:
    """Signing in gives it another identifier, and the old cookie leads nowhere from then on."""
    browser = await site.new(manager)
    old = await site.old()
    first = new_cookie(await browser.ask(**{OLD: old}))
    response = await browser.ask("/do/bind", **{OLD: old, "SPRY_SESSION_ID": str(first)})
    second = new_cookie(response)
    assert second not in (None, "", first)
    assert new_cookie(response, OLD) == ""
    for pairs in ([f"{OLD}={old}"], [f"SPRY_SESSION_ID={first}"], [f"SPRY_SESSION_ID={first}", f"{OLD}={old}"]):
        assert await browser.values(*pairs) == {}
    assert await browser.values(f"SPRY_SESSION_ID={second}", f"{OLD}={old}") == VALUES


async def test_bind_in_the_request_that_arrives(site: Site, manager: SessionManager) -> None:
    """The values stay, and the response carries the identifier after the rotation."""
    browser = await site.new(manager)
    old = await site.old()
    response = await browser.ask("/do/bind", **{OLD: old})
    assert new_cookie(response, OLD) == ""
    assert await browser.values(f"SPRY_SESSION_ID={new_cookie(response)}") == VALUES
    (info,) = await manager.find("ada")
    assert info.values == VALUES


async def test_destroy_in_the_request_that_arrives(site: Site, manager: SessionManager) -> None:
    """A logout is a logout, with the old cookie alone."""
    browser = await site.new(manager)
    old = await site.old()
    response = await browser.ask("/do/destroy", **{OLD: old})
    assert (new_cookie(response), new_cookie(response, OLD)) == ("", "")
    assert await manager.count() == 0
    assert await browser.values(f"{OLD}={old}") == {}


async def test_an_answer_that_was_lost(site: Site, manager: SessionManager) -> None:
    """Whoever comes again with the old cookie finds the session that arrived, and what was done to it since."""
    browser = await site.new(manager)
    old = await site.old()
    await browser.ask("/do/write", **{OLD: old})
    response = await browser.ask(**{OLD: old})
    assert (await response.json())["values"] == {**VALUES, "n": 1}
    assert new_cookie(response)
    assert new_cookie(response, OLD) == ""
    assert await manager.count() == 1


@pytest.mark.parametrize("kind", ["cookie"])
async def test_one_token_has_many_texts(site: Site, manager: SessionManager) -> None:
    """Base64 passes over what is not of it: a token with a speck in it is the same one, and has ended as well."""
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    first = new_cookie(await browser.ask(**{OLD: f'"{old}"'}))
    same = await browser.ask(**{OLD: f"{old[:20]}!{old[20:]}"})
    assert new_cookie(same) == first
    assert await manager.count() == 1
    both = await browser.send("/", f"{OLD}={old}", f"{OLD}=.{old}")
    assert (await both.json())["values"] == VALUES
    await browser.send("/do/destroy", f"SPRY_SESSION_ID={first}")
    for text in (old, f"{old[:20]}!{old[20:]}", f".{old}", f"{old}=="):
        assert await browser.values(f"{OLD}={text}") == {}
