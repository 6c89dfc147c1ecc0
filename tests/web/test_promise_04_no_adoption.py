"""Promise 4: an identifier that this store did not issue is never used, however it looks."""

from __future__ import annotations

import base64

import pytest
from aiohttp import web

from aiohttp_spry_session import generate_identifier, get_session
from aiohttp_spry_session.identifiers import handle_of

from ..support import COOKIE, HEADER, Carrier, Recorder, identifier_in, sending
from .handlers import ACTIONS, PATHS

FOREIGN = {
    "well-formed": generate_identifier(),
    "short": "a",
    "long": "a" * 5000,
    "empty": "",
    "quoted": '"quoted"',
    "octal": '"\\141\\142"',
    "space inside": "a b",
    "comma": "a,b",
    "backslash": "a\\b",
    "equals": "a=b=c",
    "percent": "%00%0d%0a",
    "markup": "<script>",
    "sql": "'--",
    "nothing in utf-8": "\udcff\udcfe",
    "utf-8": "\u2000\xfcber",
}


CASES = [(value, action) for value in FOREIGN for action in ("set", "bind", "pop", "destroy_for_good")]
CASES += [("well-formed", action) for action in ACTIONS]


@pytest.mark.parametrize(("kind", "action"), CASES)
async def test_foreign_identifier_is_not_adopted(visit, manager, store, raw, kind, action):
    """Whatever the request does, it is not under the identifier that the client made up, which comes back nowhere."""
    value = FOREIGN[kind]
    visitor = await visit(manager, new=True)
    ((name, text),) = sending(value).items()
    line = f"{name}: {text}".encode("utf-8", "surrogateescape")
    answer = await raw(visitor.client).get(line, path=f"/do/{action}".encode())
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 200")
    given = [line for line in head.split(b"\r\n") if line.startswith((b"set-cookie:", HEADER.lower().encode() + b":"))]
    if Carrier.header is not None:
        given = [line + (b" max-age=1200" if line.partition(b":")[2].strip() else b" max-age=0") for line in given]
    if action in ("set", "renew", "update", "increment", "rotate", "rotate_with_grace", "bind"):
        (line,) = given
        assert b"max-age=1200" in line
    elif action.startswith("destroy") and (value or Carrier.header is None):  # an empty header says: none yet
        (line,) = given  # nothing was there to destroy: the useless cookie is expired, no session started
        assert b"max-age=0" in line
    else:
        assert given == []
    if len(value) > 3:
        assert value.encode("utf-8", "surrogateescape").lower() not in answer.lower()
    assert store.counted.get("create", 0) == (1 if given and not action.startswith("destroy") else 0)


@pytest.mark.parametrize("value", ["", '"quoted"', "a b", "\u2000"])
async def test_malformed_identifier_is_not_even_looked_up(visit, manager, store, raw, value):
    """What no generator returned needs no trip to the store; on_rejected tells of it."""
    visitor = await visit(manager, new=True)
    events = Recorder(manager)
    await raw(visitor.client).get(f"Cookie: {COOKIE}={value}".encode(), path=b"/read")
    assert store.calls == []
    assert events.told == [("rejected", "malformed")]


async def test_unknown_identifier_is_rejected_by_its_handle(visit, manager):
    """The event names the handle, which tells repeated attempts apart, and not the identifier."""
    visitor = await visit(manager, new=True)
    visitor.identifier = generate_identifier()
    events = Recorder(manager)
    await visitor.ask("/read")
    (event,) = events.events
    assert (event.name, event.reason, event.owner) == ("rejected", "unknown", None)
    assert event.handle == visitor.handle


async def test_handle_is_no_identifier(visit, manager):
    """Who stole the store's handles, or reads them in a device list, gets in with none of them."""
    visitor = await visit(manager)
    thief = visitor.twin()
    for stolen in (visitor.handle, base64.urlsafe_b64encode(bytes.fromhex(visitor.handle)).decode().rstrip("=")):
        thief.identifier = stolen
        assert await (await thief.ask("/read")).json() == {}


@pytest.mark.parametrize("seconds", [0, 59, 61, 5000])
async def test_ended_identifier_is_not_used_again(visit, manager, clock, seconds):
    """A rotated-away identifier leads nowhere, neither while it is remembered nor later."""
    visitor = await visit(manager)
    old = visitor.twin()
    await visitor.ask("/do/rotate")
    clock.advance(seconds)
    assert await (await old.ask("/read")).json() == {}
    await old.ask("/do/renew")
    assert old.identifier != visitor.identifier
    assert await (await old.ask("/read")).json() == {}


async def cookie_headers(raw, visitor, *lines: str) -> tuple[bytes, list[bytes]]:
    answer = await raw(visitor.client).get(*(line.encode() for line in lines), path=b"/read")
    head, _, body = answer.partition(b"\r\n\r\n")
    return body, [line for line in head.split(b"\r\n") if line.lower().startswith(b"set-cookie")]


async def test_one_live_session_among_several_cookies(visit, manager, raw, store):
    """Of several values under one name exactly one is live: that one counts, wherever it stands."""
    visitor = await visit(manager)
    mine = f"{COOKIE}={visitor.identifier}"
    foreign = [f"{COOKIE}={generate_identifier()}" for _ in range(3)]
    orders = [
        [f"Cookie: {mine}; {foreign[0]}"],
        [f"Cookie: {foreign[0]}; {mine}"],
        ["Cookie: " + "; ".join([*foreign, mine])],
        [f"Cookie: {foreign[0]}", f"Cookie: {mine}"],
        [f"Cookie: {mine}", f"Cookie: {mine}; {mine}"],
        [f"Cookie: {COOKIE}; {COOKIE}=; ={COOKIE}; ;;{mine}\t ;x=y"],
    ]
    for lines in orders:
        assert await cookie_headers(raw, visitor, *lines) == (b'{"n": 1}', [])


async def test_at_most_four_values_are_looked_up(visit, manager, raw, store):
    """A request full of made-up cookies costs four look-ups, and the fifth value counts no more."""
    visitor = await visit(manager)
    foreign = [f"{COOKIE}={generate_identifier()}" for _ in range(100)]
    store.calls.clear()
    line = "Cookie: " + "; ".join([*foreign, f"{COOKIE}={visitor.identifier}"])
    assert await cookie_headers(raw, visitor, line) == (b"{}", [])
    assert store.counted == {"load": 4}


async def test_two_live_sessions_in_one_request_are_ambiguous(visit, manager, raw):
    """Nobody can say which of two live sessions was meant (somebody may have planted one): none is used."""
    visitor = await visit(manager)
    planted = visitor.twin()
    planted.identifier = None
    await planted.ask("/write?n=666")
    events = Recorder(manager)
    line = f"Cookie: {COOKIE}={planted.identifier}; {COOKIE}={visitor.identifier}"
    assert await cookie_headers(raw, visitor, line) == (b"{}", [])
    assert events.told == [("rejected", "ambiguous")]


async def test_logout_with_two_live_sessions_ends_both(visit, manager, raw):
    """A logout always logs out, from whichever session was meant."""
    visitor = await visit(manager)
    other = visitor.twin()
    other.identifier = None
    await other.ask("/write?n=2")
    line = f"Cookie: {COOKIE}={other.identifier}; {COOKIE}={visitor.identifier}"
    await raw(visitor.client).get(line.encode(), path=b"/do/destroy_for_good")
    for browser in (visitor, other):
        assert await (await browser.ask("/read")).json() == {}


async def test_old_and_new_identifier_of_one_session_are_one_session(visit, manager, raw):
    """Within a grace both lead to the same session, so nothing is ambiguous."""
    visitor = await visit(manager)
    old = visitor.identifier
    await visitor.ask("/do/rotate_with_grace")
    for pair in ((old, visitor.identifier), (visitor.identifier, old)):
        line = "Cookie: " + "; ".join(f"{COOKIE}={identifier}" for identifier in pair)
        assert await cookie_headers(raw, visitor, line) == (b'{"n": 1}', [])


@pytest.mark.parametrize("decoy", ["\u2000__Host-sid", "\xa0__Host-sid", "__host-sid", '"__Host-sid"'])
async def test_name_that_only_looks_alike(serve, make_manager, raw, decoy):
    """A cookie that another origin could plant under a similar name is not ours: no Unicode space is stripped."""
    manager = make_manager(name="__Host-sid", secure=True)
    client = await serve(manager, **PATHS)
    response = await client.get("/write?n=1")
    identifier = identifier_in(response.headers, "__Host-sid")
    for name, body in ((decoy, b"{}"), ("__Host-sid", b'{"n": 1}')):
        answer = await raw(client).get(f"Cookie: a=b; {name}={identifier}".encode(), path=b"/read")
        assert answer.endswith(body)


async def test_request_whose_session_is_gone_gets_another_one(visit, manager):
    """After the end of a session the same browser starts afresh, under an identifier that it did not choose."""
    visitor = await visit(manager)
    old = visitor.identifier
    await manager.revoke(visitor.handle)
    response = await visitor.ask("/write?m=1")
    assert identifier_in(response.headers) not in (None, "", old)
    assert visitor.identifier != old
    assert await (await visitor.ask("/read")).json() == {"m": 1}


async def test_properties_of_a_foreign_identifier(visit, manager):
    """session.identifier of an unknown cookie is that of a new session, which has no handle before it is there."""
    seen: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        seen.extend([session.is_new, session.handle, session.identifier, session.created_at, session.owner])
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    foreign = visitor.identifier = generate_identifier()
    await visitor.ask("/x")
    assert seen == [True, None, visitor.identifier, None, None]
    assert visitor.identifier != foreign
    assert handle_of(visitor.identifier) == visitor.handle
    assert await (await visitor.ask("/read")).json() == {}
