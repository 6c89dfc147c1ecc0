"""Sessions for test clients."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    AdapterError,
    MemorySessionAdapter,
    SessionEndedError,
    SessionManager,
    SQLiteSessionAdapter,
    get_session,
    setup,
)
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter, StoredSession, start_session

pytest_plugins = ["aiohttp_spry_session.testing.plugin"]


async def show(request):
    session = get_session(request)
    basket = await session.get("basket")
    return web.json_response({"owner": session.owner, "basket": basket})


async def add(request):
    session = get_session(request)
    await session.update("basket", lambda basket: [*basket, request.query["item"]], [])
    return web.Response()


async def login(request):
    await get_session(request).bind("bob")
    return web.Response()


async def logout(request):
    await get_session(request).destroy(regenerate=False)
    return web.Response()


@pytest.fixture
def clock():
    return FakeClock()


def make_app(clock, adapter=None, **options):
    app = web.Application()
    app.add_routes([web.get("/", show), web.get("/add", add), web.get("/login", login), web.get("/logout", logout)])
    setup(app, SessionManager(adapter, clock=clock, **options))
    return app


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "__Host-sid", "secure": True},
        {"domain": "example.com"},
        {"path": "/", "lazy": True},
        {"autostart": True},
        {"identifier_generator": iter(f"a=b/{n}" for n in range(100)).__next__},
    ],
)
async def test_a_client_has_a_session_without_signing_in(session_client, clock, options):
    """The first request finds owner and values, whatever the cookie's attributes."""
    client, session = await session_client(make_app(clock, **options), owner="ada", values={"basket": ["tea"]})
    response = await client.get("/")
    assert await response.json() == {"owner": "ada", "basket": ["tea"]}
    assert await session.values() == {"basket": ["tea"]}
    assert await session.owner() == "ada"
    assert await session.exists()


async def test_it_works_with_a_plain_client(aiohttp_client, clock, tmp_path):
    """The helper needs no fixture of ours, and works with a store that has to be opened."""
    client = await aiohttp_client(make_app(clock, SQLiteSessionAdapter(tmp_path / "sessions.db")))
    session = await start_session(client, values={"basket": ["tea"]})
    response = await client.get("/")
    assert await response.json() == {"owner": None, "basket": ["tea"]}
    await client.get("/add", params={"item": "milk"})
    assert await session.get("basket") == ["tea", "milk"]
    assert await session.get("basket", type=tuple[str, ...]) == ("tea", "milk")
    assert await session.get("missing", 7) == 7


async def test_a_session_without_anything_is_a_session(session_client, clock):
    """With no owner and no values the client has an empty session."""
    _, session = await session_client(make_app(clock))
    assert await session.exists()
    assert await session.owner() is None
    assert await session.values() == {}
    assert len(session.handle) == 64


async def test_a_test_changes_the_session_from_outside(session_client, clock):
    """What a test sets or removes is what the next request sees."""
    client, session = await session_client(make_app(clock), owner="ada", values={"basket": ["tea"], "n": 1})
    await session.set("basket", ["milk"])
    await session.remove("n")
    response = await client.get("/")
    assert await response.json() == {"owner": "ada", "basket": ["milk"]}
    assert await session.values() == {"basket": ["milk"]}


async def test_ending_the_session_from_outside(session_client, clock):
    """A session ended from outside is over for the client, which still holds the cookie."""
    client, session = await session_client(make_app(clock), owner="ada")
    assert await session.end() is True
    assert await session.end() is False
    response = await client.get("/")
    assert await response.json() == {"owner": None, "basket": None}
    assert not await session.exists()
    assert session.identifier is not None


async def test_it_follows_the_client(session_client, clock):
    """After a sign-in, which ends another owner's session, and a sign-out it is what the client holds then."""
    client, session = await session_client(make_app(clock, secure=True), owner="ada", values={"basket": ["tea"]})
    first = session.handle
    await client.get("/login")
    assert session.handle != first
    assert await session.owner() == "bob"
    assert await session.get("basket") is None
    await session.set("basket", ["milk"])
    second = session.handle
    await client.get("/login")
    assert session.handle != second
    assert await session.get("basket") == ["milk"]
    await client.get("/logout")
    assert session.identifier is None
    assert not await session.exists()
    assert await session.values() == {}
    assert await session.end() is False
    with pytest.raises(LookupError, match="no cookie SPRY_SESSION_ID"):
        _ = session.handle
    await client.get("/login")
    assert await session.owner() == "bob"


async def test_the_client_follows_a_request_from_outside(session_client, clock):
    """What a block rotates, ends or starts, the client's cookie follows."""
    client, session = await session_client(make_app(clock, secure=True), owner="ada")
    async with session.request() as inside:
        await inside.bind("eve")
    assert (await (await client.get("/")).json())["owner"] == "eve"
    async with session.request() as inside:
        await inside.destroy(regenerate=False)
    assert session.identifier is None
    await session.set("basket", ["new"])
    assert await (await client.get("/")).json() == {"owner": None, "basket": ["new"]}


async def test_a_block_that_raises_commits_nothing(session_client, clock):
    """As in a handler, an exception drops what was only set, and keeps what took effect."""
    client, session = await session_client(make_app(clock), owner="ada", values={"basket": ["tea"]})

    async def fail():
        async with session.request() as inside:
            await inside.rotate()
            await inside.set("basket", [])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await (await client.get("/")).json() == {"owner": "ada", "basket": ["tea"]}


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("settled_by", ["the client", "a block"])
async def test_a_rotation_whose_outcome_nobody_knows(session_client, clock, landed, settled_by):
    """The client gets both cookies, as from a response, and the next request settles which one counts (promise 9)."""
    store = FaultyAdapter(MemorySessionAdapter())
    client, session = await session_client(make_app(clock, store), owner="ada", values={"basket": ["tea"]})
    before = session.identifier

    async def rotate():
        async with session.request() as inside:
            await inside.rotate()

    store.fail("rotate", after=landed)
    store.fail("load", at=2)  # the first is the request's, the second asks what became of the rotation
    with pytest.raises(AdapterError):
        await rotate()
    cookies = {cookie.key: cookie.value for cookie in client.session.cookie_jar}
    assert cookies.keys() == {"SPRY_SESSION_ID", "SPRY_SESSION_ID-next"}
    assert session.identifier == before
    if settled_by == "the client":
        assert await (await client.get("/")).json() == {"owner": "ada", "basket": ["tea"]}
    else:
        async with session.request() as inside:
            assert (inside.owner, await inside.get("basket")) == ("ada", ["tea"])
    expected = cookies["SPRY_SESSION_ID-next"] if landed else before
    assert [(cookie.key, cookie.value) for cookie in client.session.cookie_jar] == [("SPRY_SESSION_ID", expected)]
    assert await session.values() == {"basket": ["tea"]}


async def test_a_renewal_in_a_block(session_client, clock):
    """It takes effect at the block's end, as it does with a response's headers; an end meanwhile is told of."""
    _, session = await session_client(make_app(clock, MemorySessionAdapter(expiration=100)), owner="ada")
    clock.advance(60)
    async with session.request() as inside:
        await inside.renew()
    assert inside.expires_at == datetime.fromtimestamp(clock() + 100, UTC)

    async def renew_what_ends():
        async with session.request() as inside:
            await inside.renew()
            await session.end()

    with pytest.raises(SessionEndedError):
        await renew_what_ends()


async def test_a_session_that_ends_meanwhile(session_client, clock):
    """A test that changes a session that ended under it is told."""
    _, session = await session_client(make_app(clock), owner="ada")

    async def change_what_ends():
        async with session.request() as inside:
            await session.end()
            await inside.set("basket", [])

    with pytest.raises(SessionEndedError):
        await change_what_ends()


async def test_looking_changes_nothing(session_client, clock):
    """A look renews nothing, starts nothing and writes nothing, with rolling and autostart too."""
    store = FaultyAdapter(MemorySessionAdapter(expiration=100))
    client, session = await session_client(make_app(clock, store, rolling=True, autostart=True), owner="ada")
    clock.advance(60)
    store.calls.clear()
    assert await session.owner() == "ada"
    assert await session.values() == {}
    assert store.calls == ["load", "load"]
    async with session.request() as inside:
        assert inside.expires_at == datetime.fromtimestamp(clock() + 40, UTC)
        await inside.has("n")
    await session.end()
    client.session.cookie_jar.clear()
    store.calls.clear()
    assert not await session.exists()
    assert store.calls == []
    assert session.identifier is None


async def test_one_of_several_managers(aiohttp_client, clock):
    """The key says which manager of the application, and a manager of a sub-application can be given."""
    app, inner = make_app(clock), make_app(clock, name="inner")
    admin = SessionManager(name="admin", clock=clock)
    setup(app, admin, key="admin")
    app.add_subapp("/inner/", inner)
    client = await aiohttp_client(app)
    session = await start_session(client, key="admin", owner="root")
    assert session.manager is admin
    assert await session.owner() == "root"
    assert not await StoredSession(client).exists()
    with pytest.raises(LookupError, match="no session manager under the key 'other'"):
        await start_session(client, key="other")
    manager = SessionManager(name="third", clock=clock)
    third = await start_session(client, manager=manager, values={"n": 1})
    assert await third.values() == {"n": 1}
    assert third.manager is manager


async def test_a_client_that_keeps_no_cookies_is_refused(aiohttp_client, clock):
    """A cookie that goes nowhere would be a session that is not there."""
    client = await aiohttp_client(make_app(clock), cookie_jar=DummyCookieJar())
    with pytest.raises(LookupError, match=r"^the client keeps no cookies: give it another jar than DummyCookieJar$"):
        await start_session(client)


async def test_an_application_without_sessions_is_refused(aiohttp_client):
    """The message says what is missing."""
    client = await aiohttp_client(web.Application())
    with pytest.raises(LookupError, match="no session manager under the key 'session'"):
        await start_session(client)


@pytest.mark.parametrize(("path", "expected"), [(None, "/"), ("/shop", "/shop")])
async def test_the_cookie_is_as_wide_as_the_managers(session_client, clock, path, expected):
    """The client sends it where a browser would, and nowhere else."""
    client, _ = await session_client(make_app(clock, path=path))
    assert [cookie["path"] for cookie in client.session.cookie_jar] == [expected]


async def test_other_cookies_of_the_client_stay(session_client, clock):
    """A session that is removed from outside takes no other cookie with it."""
    client, session = await session_client(make_app(clock), owner="ada")
    client.session.cookie_jar.update_cookies({"other": "1"}, client.make_url("/"))
    async with session.request() as inside:
        await inside.destroy(regenerate=False)
    assert [cookie.key for cookie in client.session.cookie_jar] == ["other"]
