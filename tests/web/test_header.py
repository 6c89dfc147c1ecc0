"""A header in the cookie's place: what is its own. What the promises say of both is in the tests of those."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from aiohttp import DummyCookieJar, WSMsgType, web
from msgspec.structs import replace

from aiohttp_spry_session import (
    AdapterError,
    HeadersSentError,
    MemorySessionAdapter,
    Session,
    SessionManager,
    SessionRecord,
    get_session,
    setup,
)
from aiohttp_spry_session.identifiers import generate_identifier, handle_of
from aiohttp_spry_session.testing import FakeClock

from ..support import HEADER, Recorder, cookies_of
from .handlers import ACTIONS, write
from .holders import App, begin


@pytest.fixture
def start(aiohttp_client: Any, clock: FakeClock) -> Callable[..., Any]:
    """Serve the usual handlers to an app; its session holds ``n=1``, unless it has none."""
    return partial(begin, App, aiohttp_client, clock)


# Who is asked, and who is answered.


async def test_empty_header_asks_for_an_answer_in_the_header(start):
    """A client without a session says so by it; without the header it is a browser, and gets a cookie."""
    app = await start(new=True)
    response = await app.ask("/write?n=1")
    assert re.fullmatch(r"[\w-]{43}", response.headers[HEADER])
    response = await app.browse("/write?n=2")
    (cookie,) = cookies_of(response.headers)
    assert app.holds not in cookie
    assert len(app.live) == 2


async def test_client_that_only_reads_gets_nothing(start):
    """Neither header nor cookie, and no store call."""
    app = await start(new=True)
    for path in ("/read", "/untouched", "/do/destroy"):
        assert HEADER not in (await app.ask(path)).headers
        assert not cookies_of((await app.browse(path)).headers)
    assert app.store.calls == ["open"]


@pytest.mark.parametrize("held", ["", "unknown", "no identifier", "dead"])
async def test_cookie_beside_the_header_is_not_looked_at(start, held):
    """Not read, not rejected, not ended, not removed: whatever the header says, an empty one included."""
    app = await start()
    browser = cookies_of((await app.browse("/write?n=2")).headers)[0].partition(";")[0]
    if held == "dead":
        held = app.holds
        await app.ask("/do/rotate")
        app.inner._records.clear()
        browser = cookies_of((await app.browse("/write?n=2")).headers)[0].partition(";")[0]
    app.holds = held
    events = Recorder(app.manager)
    for path in ("/read", "/do/remove", "/do/destroy", "/do/destroy_for_good"):
        assert await (await app.ask(path, Cookie=browser)).text() in ("{}", "done")
    assert not [event for event in events.events if event.handle == handle_of(browser.partition("=")[2])]
    assert await (await app.browse("/read", browser.partition("=")[2])).json() == {"n": 2}


async def test_identifier_is_the_same_in_either(start):
    """One set of sessions: what the app began goes on in a browser that is given the identifier, and back."""
    app = await start()
    assert await (await app.browse("/read", app.holds)).json() == {"n": 1}
    (cookie,) = cookies_of((await app.browse("/do/rotate", app.holds)).headers)
    app.holds = cookie.partition(";")[0].partition("=")[2]
    assert await (await app.ask("/read")).json() == {"n": 1}


async def test_header_counts_only_where_it_was_asked_for(aiohttp_client, clock):
    """A manager without the option takes it for any other header."""
    app = web.Application()
    setup(app, SessionManager(clock=clock))
    app.router.add_get("/write", write)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/write?n=1", headers={HEADER: ""})
    assert len(cookies_of(response.headers)) == 1
    assert HEADER not in response.headers


# What the response says.


@pytest.mark.parametrize("action", ["renew", "rotate", "rotate_with_grace", "bind", "destroy", "destroy_for_good"])
async def test_answer_in_the_header(start, action):
    """Renewing repeats the identifier, rotating gives a new one; what ends a session for good empties the header."""
    app = await start()
    old = app.holds
    response = await app.ask(f"/do/{action}")
    assert response.headers.getall(HEADER) == [app.holds]
    assert {"renew": app.holds == old, "destroy_for_good": app.holds == ""}.get(action, app.holds not in ("", old))


@pytest.mark.parametrize("action", ACTIONS)
async def test_vary_names_both_for_every_client(start, action):
    """A cache must not give the one what is the other's (CVE-2023-30861)."""
    app = await start()
    cookie = cookies_of((await app.browse("/write?n=1")).headers)[0]
    identifier = cookie.partition(";")[0].partition("=")[2]
    for response in (await app.ask(f"/do/{action}"), await app.browse(f"/do/{action}", identifier)):
        assert response.headers.getall("Vary") == ["Cookie, X-Session"]
    for response in (await app.ask("/untouched"), await app.browse("/untouched", identifier)):
        assert "Vary" not in response.headers


async def test_client_of_the_cookie_gets_no_header(start):
    """Whatever is done to its session; browse() looks at each response."""
    app = await start()
    for action in ACTIONS:
        cookie = cookies_of((await app.browse("/write?n=1")).headers)[0]
        await app.browse(f"/do/{action}", cookie.partition(";")[0].partition("=")[2])


async def answers(request: web.Request) -> web.StreamResponse:
    """Set something, and answer in the way that the path names."""
    await get_session(request).set("n", 1)
    kind = request.match_info["kind"]
    if kind == "redirect":
        raise web.HTTPSeeOther("/read")
    if kind == "error":
        await get_session(request).save()
        raise RuntimeError("told so")
    if kind == "stream":
        response = web.StreamResponse()
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(b"streamed")
        return response
    return web.Response(text="plain")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    ("kind", "status"), [("plain", 200), ("redirect", 303), ("stream", 200), ("error", 500)], ids=str
)
async def test_every_kind_of_response(start, method, kind, status):
    """The header is in whatever leaves, once."""
    app = await start(new=True, paths={"answer/{kind}": answers})
    assert (await app.ask(f"/answer/{kind}", method)).status == status
    assert await (await app.ask("/read")).json() == {"n": 1}


async def test_websocket(start):
    """The handshake carries it; what is saved on an open socket is stored, and there is no cookie."""

    async def socket(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        await session.set("n", 1)
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await session.set("said", message.data)
            await session.save()
            await response.send_str("stored")
        return response

    app = await start(new=True, paths={"socket": socket})
    async with app.client.ws_connect("/socket", headers={HEADER: ""}) as ws:
        assert "Set-Cookie" not in ws._response.headers
        app.holds = ws._response.headers[HEADER]
        await ws.send_str("hello")
        assert (await ws.receive()).type is WSMsgType.TEXT
    assert await (await app.ask("/read")).json() == {"n": 1, "said": "hello"}


async def test_too_late_for_the_header(start):
    """Where the headers have left, what would need the header raises, as it does for a cookie."""

    async def late(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for action in (Session.rotate, Session.renew):
            with pytest.raises(HeadersSentError):
                await action(get_session(request))
        return response

    app = await start(new=True, paths={"late": late})
    assert HEADER not in (await app.ask("/late")).headers
    assert app.live == []


async def test_middleware_alone(start):
    """session_middleware writes the header into what a handler returns or raises."""
    app = await start(new=True, alone=True, paths={"answer/{kind}": answers})
    assert (await app.ask("/answer/redirect")).headers["Vary"] == "Cookie, X-Session"
    assert await (await app.ask("/read")).json() == {"n": 1}
    await app.ask("/do/destroy_for_good")
    assert app.holds == ""
    await app.ask("/answer/plain")
    app.store.fail("rotate")
    old = app.holds
    assert (await app.ask("/do/rotate")).status == 503
    assert app.holds.partition(",")[0] == old
    await app.assert_settled()
    assert cookies_of((await app.browse("/answer/plain")).headers)


# What is no identifier.


HOSTILE = {
    "unknown": generate_identifier().encode(),
    "control": b"a\x01b",
    "quoted": b'"quoted"',
    "spaces": b"a b",
    "semicolon": b"a; b=c",
    "three": b"a,b,c",
    "commas": b",,,,",
    "a lot of commas": b"," * 5000,
    "both are none": b"\xff,\xfe",
    "the first is none": b"\xff," + generate_identifier().encode(),
    "the second is none": generate_identifier().encode() + b",\xff",
    "latin": "\xfcber".encode("latin-1"),
    "utf-8": "\u2000\xfcber".encode(),
    "long": b"a" * 8000,
    "long twice": b"a" * 4000 + b"," + b"b" * 4000,
    "markup": b"<script>",
    "a handle": b"0" * 64,
}


@pytest.mark.parametrize("alone", [False, True], ids=["setup", "middleware alone"])
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("action", ["read", "set", "rotate", "bind", "destroy", "destroy_for_good"])
async def test_hostile_value(start, raw, value, action, alone):
    """It is as a cookie that is no identifier: no session, no error, and it comes back nowhere."""
    app = await start(new=True, alone=alone)
    path = b"/read" if action == "read" else b"/do/" + action.encode()
    answer = await raw(app.client).get(HEADER.encode() + b": " + value, path=path)
    head = answer.partition(b"\r\n\r\n")[0]
    if b"\x01" in value:
        assert b" 400 " in head.partition(b"\r\n")[0]  # by aiohttp
        return
    assert head.startswith(b"HTTP/1.1 200")
    assert b"set-cookie" not in head.lower()
    given = re.findall(rb"(?im)^X-Session: ?(.*?)\r?$", head)
    assert len(given) < 2
    if action in ("set", "rotate", "bind"):
        assert re.fullmatch(rb"[\w-]{43}", given[0])
        assert given[0] not in value
        assert app.live == [handle_of(given[0].decode())]
    else:
        assert given in ([], [b""])
        assert app.live == []


@pytest.mark.parametrize("action", ["read", "set", "bind", "destroy"])
async def test_several_hostile_headers(start, raw, action):
    """Hundreds of them cost four look-ups of each kind."""
    app = await start(new=True)
    lines = [f"{HEADER}: {number},{number}x".encode() for number in range(100)]
    path = b"/read" if action == "read" else b"/do/" + action.encode()
    answer = await raw(app.client).get(*lines, path=path)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert app.store.calls.count("load") <= 20


async def test_one_live_session_among_several_headers(start, raw):
    """As among several cookies: the one that is live counts, wherever it stands."""
    app = await start()
    mine, foreign = (f"{HEADER}: {one}".encode() for one in (app.holds, generate_identifier()))
    for lines in ([mine, foreign], [foreign, mine], [mine, mine], [f"{HEADER}:".encode(), mine]):
        assert (await raw(app.client).get(*lines, path=b"/read")).endswith(b'\r\n\r\n{"n": 1}')


async def test_two_live_sessions_in_two_headers(start, raw):
    """None is used, and a logout ends both."""
    app = await start()
    first, app.holds = app.holds, ""
    await app.ask("/write?n=2")
    events = Recorder(app.manager)
    lines = [f"{HEADER}: {one}".encode() for one in (first, app.holds)]
    assert (await raw(app.client).get(*lines, path=b"/read")).endswith(b"\r\n\r\n{}")
    assert events.told == [("rejected", "ambiguous")]
    await raw(app.client).get(*lines, path=b"/do/destroy_for_good")
    assert app.live == []


async def test_lines_that_a_proxy_joined(start):
    """Two different identifiers in one value are a rotation in doubt: the first, if it lives, and the other ends."""
    app = await start()
    first, app.holds = app.holds, ""
    await app.ask("/write?n=2")
    app.holds = f"{first}, {app.holds}"
    assert await (await app.ask("/read")).json() == {"n": 1}
    assert app.holds == first
    assert app.live == [handle_of(first)]


async def test_rejected_header_is_told_of_by_its_handle(start):
    """The event and the log have the handle, never what the client sent."""
    app = await start(new=True)
    events = Recorder(app.manager)
    app.holds = generate_identifier()
    await app.ask("/read")
    (event,) = events.events
    assert (event.name, event.reason, event.handle) == ("rejected", "unknown", handle_of(app.holds))
    app.holds = "a,b,c"
    await app.ask("/read")
    assert events.told[1:] == [("rejected", "malformed")]


async def test_identifier_is_in_no_log(start, caplog):
    """Not when a session starts, moves, ends, is in doubt, or its store fails."""
    caplog.set_level(logging.DEBUG)
    app = await start()
    secrets = {app.holds}
    for action in ACTIONS:
        app.store.fail("rotate", after=True)
        if not action.startswith("destroy"):
            app.store.fail("load", at=2)
        await app.ask(f"/do/{action}")
        secrets |= set(app.holds.split(","))
        app.store.heal()
        await app.ask("/do/set")
        secrets |= set(app.holds.split(","))
    secrets.discard("")
    assert len(secrets) == 6
    assert "the session store fails" in caplog.text
    for secret in secrets:
        assert secret not in caplog.text
        assert all(secret not in repr(vars(record)) for record in caplog.records)


# A rotation, or a start, of unknown outcome.


@pytest.mark.parametrize("after", [False, True], ids=["not landed", "landed"])
@pytest.mark.parametrize("logout", ["destroy", "destroy_for_good"])
async def test_logout_while_a_start_is_in_doubt(start, after, logout):
    """It ends what there is, and says so in the header."""
    app = await start(new=True)
    app.store.fail("create", after=after)
    await app.ask("/write?n=1")
    doubtful = app.holds
    await app.ask(f"/do/{logout}")
    if logout == "destroy_for_good" or not after:
        assert (app.holds, app.live) == ("", [])
    else:
        assert app.live == [handle_of(app.holds)]
    app.holds = doubtful
    assert await (await app.ask("/read")).json() == {}


async def test_settling_is_not_answered_where_the_store_fails_again(start):
    """It is settled, but whether the identifier is still the newest nobody can say: the client keeps both."""
    app = await start()
    app.store.fail("rotate")
    app.store.fail("load", at=2)
    await app.ask("/do/rotate")
    held = app.holds
    app.store.fail("load", at=2)
    response = await app.ask("/read")
    assert (await response.json(), app.holds) == ({"n": 1}, held)
    await app.assert_settled()


async def test_doubt_that_another_request_has_settled(start):
    """While a rotation is in doubt another request rotates: its answer is the newer one, and stays."""

    async def slow(request: web.Request) -> web.Response:
        app.store.fail("rotate")
        with pytest.raises(AdapterError):
            await get_session(request).rotate()
        await app.ask("/do/rotate")
        return web.Response()

    app = await start(paths={"slow": slow})
    response = await app.client.get("/slow", headers={HEADER: app.holds})
    assert (response.status, HEADER in response.headers) == (200, False)
    assert await (await app.ask("/read")).json() == {"n": 1}


class CrowdedAdapter(MemorySessionAdapter):
    """A store in which the owner of a session signs in elsewhere at the same moment."""

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        await self.create(f"elsewhere {len(self._records)}", replace(record, version=1))
        return await super().rotate(old, new, record, retired)


async def test_identifier_that_nobody_is_to_have(start):
    """``bind`` was one too many, and undoing it is in doubt: the client is not given what it bound (promise 9)."""
    app = await start(inner=CrowdedAdapter(), max_sessions=1, when_full="refuse")
    old = app.holds
    app.store.fail("rotate", at=2)
    assert (await app.ask("/do/bind")).status == 503
    assert re.fullmatch(re.escape(old) + r",[\w-]{43}", app.holds)
    assert not {handle_of(held) for held in app.holds.split(",")} & set(app.live)
    assert await (await app.ask("/read")).json() == {}


# Several managers.


async def test_several_managers(aiohttp_client, clock):
    """Each has its header, or none, and its part of Vary; a client of the one may be a browser to the other."""
    app = web.Application()
    setup(app, SessionManager(clock=clock, header=HEADER))
    setup(app, SessionManager(clock=clock, name="second", header="X-Second"), key="second")
    setup(app, SessionManager(clock=clock, name="third"), key="third")

    async def handler(request: web.Request) -> web.Response:
        visits = [await get_session(request, key).increment("n") for key in ("session", "second", "third")]
        return web.json_response(visits)

    app.router.add_get("/", handler)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    response = await client.get("/", headers={HEADER: ""})
    assert {cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")} == {"second", "third"}
    assert (HEADER in response.headers, "X-Second" in response.headers) == (True, False)
    (vary,) = response.headers.getall("Vary")
    assert sorted(vary.split(", ")) == ["Cookie", "X-Second", "X-Session"]
    response = await client.get("/", headers={HEADER: response.headers[HEADER], "X-Second": ""})
    assert await response.json() == [2, 1, 1]
    assert {cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")} == {"third"}
    assert (HEADER in response.headers, "X-Second" in response.headers) == (False, True)


def test_two_managers_with_one_header():
    """One would write over the other's answer: setup refuses them."""
    app = web.Application()
    setup(app, SessionManager(header="X-Session"))
    with pytest.raises(ValueError, match=r"two session managers on one way have the header 'x-session': give each its"):
        setup(app, SessionManager(name="other", header="x-session"), key="other")
    setup(app, SessionManager(name="other", header="X-Other"), key="other")
    setup(app, SessionManager(name="cookie"), key="cookie")


@pytest.mark.parametrize("deep", [False, True])
async def test_two_managers_with_one_header_in_a_sub_application(deep):
    """That shows when the application starts."""
    manager, app, inner = SessionManager(header="X-Session"), web.Application(), web.Application()
    setup(app, manager)
    setup(inner, manager)  # one manager in both is fine
    other = web.Application()
    setup(other, SessionManager(name="other", header="X-session"), key="other")
    if deep:
        inner.add_subapp("/deeper/", other)
    else:
        app.add_subapp("/other/", other)
    app.add_subapp("/inner/", inner)
    runner = web.AppRunner(app)
    with pytest.raises(ValueError, match="two session managers on one way have the header 'X-session'"):
        await runner.setup()
    await runner.cleanup()
