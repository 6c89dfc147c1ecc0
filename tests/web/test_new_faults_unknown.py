"""A write whose outcome nobody knows: both ways stay open for the client, and its next request settles which it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar, web

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SessionRecord, get_session, setup
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter

from ..support import COOKIE, cookies_of, sending
from .handlers import PATHS, perform

NEXT = f"{COOKIE}-next"

GIVEN_UP = 0.01
"""Seconds until a handler gives a hanging rotation up."""


class Browser:
    """A client with a cookie jar, and the store that its sessions are in."""

    def __init__(self, client: Any, store: FaultyAdapter, inner: MemorySessionAdapter) -> None:
        self.client = client
        self.store = store
        self.inner = inner

    async def ask(self, path: str) -> Any:
        response = await self.client.get(path)
        await response.read()
        return response

    @property
    def cookies(self) -> dict[str, str]:
        jar = self.client.session.cookie_jar.filter_cookies(self.client.make_url("/"))
        return {name: morsel.value for name, morsel in jar.items() if name.startswith(COOKIE)}

    @property
    def live(self) -> list[str]:
        """The handles of all live records."""
        return [handle for handle, record in self.inner._records.items() if not record.retired]

    async def assert_settled(self) -> None:
        """The next request reads the session, and afterwards there is one record, one cookie, and that leads to it."""
        response = await self.ask("/read")
        assert (response.status, await response.json()) == (200, {"n": 1})
        assert set(self.cookies) == {COOKIE}
        assert self.live == [handle_of(self.cookies[COOKIE])]
        again = await self.ask("/read")
        assert await again.json() == {"n": 1}
        assert not again.headers.getall("Set-Cookie", [])


async def give_up(request: web.Request) -> web.Response:
    """Wait for no hanging store, and answer as if nothing were."""
    session = get_session(request)
    operation = session.bind("ada") if request.query.get("what") == "bind" else session.rotate()
    try:
        await asyncio.wait_for(operation, GIVEN_UP)
    except TimeoutError:
        return web.Response(text="given up")
    return web.Response(text="done")


async def given_up_create(request: web.Request) -> web.Response:
    """Start a session, and do not wait for it."""
    session = get_session(request)
    await session.set("n", 1)
    try:
        await asyncio.wait_for(session.save(), GIVEN_UP)
    except TimeoutError:
        session._state.discard()
        return web.Response(text="given up")
    return web.Response(text="done")


@pytest.fixture
async def browse(aiohttp_client: Any, clock: FakeClock) -> Callable[..., Any]:
    """Serve the usual handlers to a browser; its session holds ``n=1``, unless it has none."""

    async def browse(*, new: bool = False, inner: MemorySessionAdapter | None = None, **options: Any) -> Browser:
        inner = MemorySessionAdapter() if inner is None else inner
        store = FaultyAdapter(inner)
        app = web.Application()
        setup(app, SessionManager(store, clock=clock, **options))
        routes = {**PATHS, "do/{action}": perform, "give-up": give_up, "create": given_up_create}
        for path, handler in routes.items():
            app.router.add_get(f"/{path}", handler)
        browser = Browser(await aiohttp_client(app), store, inner)
        if not new:
            await browser.ask("/write?n=1")
        return browser

    return browse


@pytest.mark.parametrize("action", ["rotate", "bind", "rotate_with_grace"])
@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
async def test_answer_is_lost(browse, action, after):
    """503, with the new identifier beside the old one; the next request knows which of them counts."""
    browser = await browse()
    old = browser.cookies
    browser.store.fail("rotate", after=after)
    browser.store.fail("load", at=2)  # what became of the old handle is not to be learnt either
    response = await browser.ask(f"/do/{action}")
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
    assert browser.cookies[COOKIE] == old[COOKIE]
    assert set(browser.cookies) == {COOKIE, NEXT}
    main, spare = "; ".join(cookies_of(response.headers)), cookies_of(response.headers, NEXT)
    assert not main
    assert "HttpOnly; SameSite=Lax" in spare[0]
    assert "Max-Age=1200" in spare[0]
    await browser.assert_settled()


@pytest.mark.parametrize("what", ["rotate", "bind"])
@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
@pytest.mark.parametrize("who", ["manager", "handler"])
async def test_store_hangs(browse, what, after, who):
    """The same, where the manager's time limit or the handler's own cut a rotation short."""
    browser = await browse(timeout=GIVEN_UP if who == "manager" else 5)
    old = browser.cookies
    browser.store.hang("rotate", after=after)
    response = await browser.ask(f"/do/{what}" if who == "manager" else f"/give-up?what={what}")
    assert response.status == (503 if who == "manager" else 200)
    assert browser.cookies[COOKIE] == old[COOKIE]
    assert set(browser.cookies) == {COOKIE, NEXT}
    await browser.assert_settled()


@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
async def test_answer_to_the_start_of_a_session_is_lost(browse, after):
    """A visitor's first write: the identifier is given as the one beside, and counts where it landed."""
    browser = await browse(new=True)
    browser.store.fail("create", after=after)
    response = await browser.ask("/write?n=1")
    assert response.status == 503
    assert set(browser.cookies) == {NEXT}
    if after:
        await browser.assert_settled()
        return
    assert await (await browser.ask("/read")).json() == {}
    assert (browser.cookies, browser.live) == ({}, [])


@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
async def test_answer_to_a_bind_that_starts_a_session_is_lost(browse, after):
    """Who signs in without a session; afterwards another try works, too."""
    browser = await browse(new=True)
    browser.store.fail("create", after=after)
    response = await browser.ask("/do/bind")
    assert response.status == 503
    assert set(browser.cookies) == {NEXT}
    response = await browser.ask("/do/bind")
    assert response.status == 200
    assert set(browser.cookies) == {COOKIE}
    assert browser.live == [handle_of(browser.cookies[COOKIE])]
    assert [record.owner for record in browser.inner._records.values() if not record.retired] == ["user"]


@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
async def test_handler_does_not_wait_for_the_start_of_a_session(browse, after):
    """200, for a create that hangs: whether it landed is settled by the next request."""
    browser = await browse(new=True)
    browser.store.hang("create", after=after)
    response = await browser.ask("/create")
    assert response.status == 200
    assert set(browser.cookies) == {NEXT}
    if after:
        await browser.assert_settled()
    else:
        assert await (await browser.ask("/read")).json() == {}
        assert (browser.cookies, browser.live) == ({}, [])


class LateAdapter(MemorySessionAdapter):
    """A store in which a rotation is on its way for long: it answers that it failed, and lands when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.late: tuple[str, str, SessionRecord, SessionRecord] | None = None
        self.before_update = False

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        if self.late is None:
            self.late = (old, new, record, retired)
            raise OSError("no answer")
        return await super().rotate(old, new, record, retired)

    async def update(self, handle: str, record: SessionRecord) -> bool:
        if self.before_update:
            self.before_update = False
            await self.land()
        return await super().update(handle, record)

    async def land(self) -> bool:
        assert self.late is not None
        return await super().rotate(*self.late)


async def test_rotation_lands_after_it_was_settled(browse):
    """It finds its version gone, and nobody's session is moved under an identifier that nobody has."""
    inner = LateAdapter()
    browser = await browse(inner=inner)
    assert (await browser.ask("/do/rotate")).status == 503
    await browser.assert_settled()
    assert not await inner.land()
    assert (await (await browser.ask("/read")).json()) == {"n": 1}
    assert browser.live == [handle_of(browser.cookies[COOKIE])]


@pytest.mark.parametrize("action", ["rotate", "bind", "rotate_with_grace"])
async def test_rotation_lands_while_it_is_settled(browse, action):
    """Between the look at the old identifier and the write that settles it: then the new one counts."""
    inner = LateAdapter()
    browser = await browse(inner=inner)
    old = browser.cookies[COOKIE]
    assert (await browser.ask(f"/do/{action}")).status == 503
    inner.before_update = True
    await browser.assert_settled()
    assert browser.cookies[COOKIE] != old


async def test_rotation_that_lost_to_one_with_grace(browse):
    """The old identifier leads on through another rotation: that goes on, and the one beside it is forgotten."""
    inner = LateAdapter()
    browser = await browse(inner=inner)
    old = browser.cookies[COOKIE]
    assert (await browser.ask("/do/rotate")).status == 503
    async with ClientSession(cookie_jar=DummyCookieJar()) as tab:  # an earlier request of the same browser
        await tab.get(browser.client.make_url("/do/rotate_with_grace"), headers=sending(old))
    response = await browser.ask("/read")
    assert await response.json() == {"n": 1}
    assert browser.cookies == {COOKIE: old}
    assert len(browser.live) == 1


async def test_rotation_within_a_grace_lands_after_it_was_settled(browse):
    """The client's identifier leads on through a rotation by the clock; that in doubt would move where it leads."""
    inner = LateAdapter()
    inner.late = ("", "", None, None)  # the first one lands
    browser = await browse(inner=inner)
    old = browser.cookies[COOKIE]
    async with ClientSession(cookie_jar=DummyCookieJar()) as tab:
        await tab.get(browser.client.make_url("/do/rotate_with_grace"), headers=sending(old))
    inner.late = None
    assert (await browser.ask("/do/rotate")).status == 503
    assert await (await browser.ask("/read")).json() == {"n": 1}
    assert browser.cookies == {COOKIE: old}
    assert not await inner.land()
    assert await (await browser.ask("/read")).json() == {"n": 1}
    assert len(browser.live) == 1


class HalfAdapter(MemorySessionAdapter):
    """A store that rotates in two steps, and fails between them."""

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        await self.create(new, record)
        raise OSError("no answer")


async def test_rotation_that_landed_by_half(browse):
    """What it left behind under an identifier that nobody uses is removed."""
    browser = await browse(inner=HalfAdapter())
    old = browser.cookies[COOKIE]
    assert (await browser.ask("/do/rotate")).status == 503
    assert len(browser.live) == 2
    await browser.assert_settled()
    assert browser.cookies[COOKIE] == old


async def test_outage_goes_on(browse):
    """Both ways stay open until a request can settle it."""
    browser = await browse()
    browser.store.fail("rotate", after=True)
    browser.store.fail("load", at=2, times=2)
    await browser.ask("/do/rotate")
    held = browser.cookies
    response = await browser.ask("/read")
    assert response.status == 503
    assert browser.cookies == held
    await browser.assert_settled()


async def test_cookie_that_nobody_can_check(browse):
    """The store fails just when a decided cookie is to be checked: it is sent as the one beside."""
    browser = await browse(new=True)

    async def bind(request: web.Request) -> web.Response:
        await get_session(request).increment("n")
        await asyncio.sleep(0)
        browser.store.fail("load")
        return web.Response()

    browser.client.app.router._frozen = False
    browser.client.app.router.add_get("/slow", bind)
    response = await browser.ask("/slow")
    assert response.status == 200
    assert set(browser.cookies) == {NEXT}
    await browser.assert_settled()
