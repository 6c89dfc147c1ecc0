"""A write whose outcome nobody knows: both ways stay open for the client, and its next request settles which it is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar, web

from aiohttp_spry_session import MemorySessionAdapter, SessionRecord, get_session
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock

from ..support import COOKIE, cookies_of, sending
from .holders import GIVEN_UP, NEXT, App, Browser, Holder, begin

LANDED = pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])


@pytest.fixture
def browse(aiohttp_client: Any, clock: FakeClock) -> Callable[..., Any]:
    """Serve the usual handlers to a browser; its session holds ``n=1``, unless it has none."""
    return partial(begin, Browser, aiohttp_client, clock)


@pytest.fixture(params=[Browser, App], ids=["cookie", "header"])
def start(request: pytest.FixtureRequest, aiohttp_client: Any, clock: FakeClock) -> Callable[..., Any]:
    """Serve them to a client of either carrier."""
    return partial(begin, request.param, aiohttp_client, clock)


def in_doubt(client: Holder, old: str = "") -> bool:
    """Whether a client holds a new identifier beside the old one, or beside none."""
    return re.fullmatch(re.escape(old) + r",[\w-]{43}", client.holds) is not None


@pytest.mark.parametrize("action", ["rotate", "bind", "rotate_with_grace"])
@LANDED
async def test_answer_is_lost(start, action, after):
    """503, with the new identifier beside the old one; the next request knows which of them counts."""
    client = await start()
    old = client.holds
    client.store.fail("rotate", after=after)
    client.store.fail("load", at=2)  # what became of the old handle is not to be learnt either
    response = await client.ask(f"/do/{action}")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert in_doubt(client, old)
    new = client.holds.partition(",")[2]
    await client.assert_settled()
    assert client.holds == (new if after else old)


async def test_cookie_of_a_lost_answer(browse):
    """The cookie beside is as the other one, and that is left as it is."""
    browser = await browse()
    browser.store.fail("rotate", after=True)
    browser.store.fail("load", at=2)
    response = await browser.ask("/do/rotate")
    assert cookies_of(response.headers) == []
    (spare,) = cookies_of(response.headers, NEXT)
    assert "HttpOnly; SameSite=Lax" in spare
    assert "Max-Age=1200" in spare


@pytest.mark.parametrize("what", ["rotate", "bind"])
@LANDED
@pytest.mark.parametrize("who", ["manager", "handler"])
async def test_store_hangs(start, what, after, who):
    """The same, where the manager's time limit or the handler's own cut a rotation short."""
    client = await start(timeout=GIVEN_UP if who == "manager" else 5)
    old = client.holds
    client.store.hang("rotate", after=after)
    response = await client.ask(f"/do/{what}" if who == "manager" else f"/give-up?what={what}")
    assert response.status == (503 if who == "manager" else 200)
    assert in_doubt(client, old)
    await client.assert_settled()


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


@LANDED
@pytest.mark.parametrize(
    ("goes_wrong", "path", "status"),
    [("fail", "/write?n=1", 503), ("hang", "/create", 200)],
    ids=["answer lost", "handler does not wait"],
)
async def test_start_of_a_session_in_doubt(start, after, goes_wrong, path, status):
    """A visitor's first write: the identifier is given as the one beside, and counts where it landed."""
    client = await start(new=True, paths={"create": given_up_create})
    getattr(client.store, goes_wrong)("create", after=after)
    assert (await client.ask(path)).status == status
    assert in_doubt(client)
    doubtful = client.holds
    if after:
        await client.assert_settled()
        assert client.holds == doubtful[1:]
        return
    assert await (await client.ask("/read")).json() == {}
    # An empty header would replace what another request started meanwhile.
    assert (client.holds, client.live) == (doubtful if isinstance(client, App) else "", [])
    await client.ask("/write?n=1")
    assert client.holds not in doubtful
    await client.assert_settled()


@LANDED
async def test_answer_to_a_bind_that_starts_a_session_is_lost(start, after):
    """Who signs in without a session; afterwards another try works, too."""
    client = await start(new=True)
    client.store.fail("create", after=after)
    assert (await client.ask("/do/bind")).status == 503
    assert in_doubt(client)
    assert (await client.ask("/do/bind")).status == 200
    assert client.live == [handle_of(client.holds)]
    assert [record.owner for record in client.inner._records.values() if not record.retired] == ["user"]


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


async def test_outage_goes_on(start):
    """Both ways stay open until a request can settle it."""
    client = await start()
    old = client.holds
    client.store.fail("rotate", after=True)
    client.store.fail("load", at=2, times=None)
    await client.ask("/do/rotate")
    held = client.holds
    assert in_doubt(client, old)
    response = await client.ask("/read")
    assert (response.status, client.holds) == (503, held)
    client.store.heal()
    await client.assert_settled()


async def test_identifier_that_nobody_can_check(start):
    """The store fails just when a decided identifier is to be checked: it is sent as the one beside."""

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await (session.rotate() if "rotate" in request.query else session.increment("n"))
        await asyncio.sleep(0)
        client.store.fail("load", times=2)
        return web.Response()

    client = await start(new=True, paths={"slow": slow})
    assert (await client.ask("/slow")).status == 200
    assert in_doubt(client)
    client.store.heal()
    await client.assert_settled()
    old = client.holds
    assert (await client.ask("/slow?rotate=1")).status == 200
    assert in_doubt(client, old)
    client.store.heal()
    await client.assert_settled()
