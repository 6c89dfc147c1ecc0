"""Your devices: two browsers of one customer."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from aiohttp_spry_session.testing import FakeClock
from demo.browsers import browser_name
from demo.settings import MANAGER

from ..support import arrive, session_of
from .conftest import SECONDS, NewVisitor, Visitor

PHONE = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36"


@pytest.fixture
async def phone(new_visitor: NewVisitor) -> Visitor:
    """A second browser."""
    return await new_visitor(**{"User-Agent": PHONE})


async def devices(visitor: Visitor) -> list[dict[str, Any]]:
    """Return what a visitor is told of the customer's devices."""
    return (await visitor.data("/devices"))["devices"]


async def test_lists_both_and_marks_this_one(visitor: Visitor, phone: Visitor, clock: FakeClock) -> None:
    """Each browser sees both, by name and the newest first, and itself marked."""
    await visitor.sign_in()
    clock.advance(1)
    await phone.sign_in()
    for client, marks in ((visitor, [False, True]), (phone, [True, False])):
        listed = await devices(client)
        assert [device["browser"] for device in listed] == ["Chrome on Android", "Firefox on Linux"]
        assert [device["this_one"] for device in listed] == marks


async def test_shows_no_identifier(visitor: Visitor, phone: Visitor) -> None:
    """Neither the page nor the JSON holds a secret of either browser (CVE-2020-5224)."""
    await visitor.sign_in()
    await phone.sign_in()
    text = await (await visitor.get("/devices")).text() + await (await visitor.get("/devices", json=True)).text()
    for client in (visitor, phone):
        assert client.cookies()["demo_session"] not in text


async def test_ends_the_other(visitor: Visitor, phone: Visitor) -> None:
    """Its next request is anonymous, and this one stays signed in."""
    await visitor.sign_in()
    await phone.sign_in()
    other = next(device for device in await devices(visitor) if not device["this_one"])
    response = await visitor.post(f"/devices/{other['id']}/end", follow=True)
    assert "Chrome on Android is signed out." in await response.text()
    assert (await phone.get("/devices", json=True)).status == 401
    assert (await phone.data("/"))["account"] is None
    assert len(await devices(visitor)) == 1


async def test_ends_all_others(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """Only the browser that asked stays signed in."""
    others = [await new_visitor() for _ in range(3)]
    for client in (visitor, *others):
        await client.sign_in()
    response = await visitor.post("/devices/end-others", follow=True)
    assert "3 other devices are signed out." in await response.text()
    assert [device["this_one"] for device in await devices(visitor)] == [True]
    assert [(await client.get("/devices", json=True)).status for client in others] == [401, 401, 401]


async def test_ending_this_one_signs_out(visitor: Visitor) -> None:
    """The button on one's own device is a sign-out."""
    await visitor.sign_in()
    own = (await devices(visitor))[0]["id"]
    response = await visitor.post(f"/devices/{own}/end", follow=True)
    assert "You are signed out." in await response.text()
    assert (await visitor.get("/devices", json=True)).status == 401


async def test_ends_nobody_elses(visitor: Visitor, phone: Visitor) -> None:
    """Another customer's session is not found, even by who knows its handle."""
    await visitor.sign_in("ada")
    await phone.sign_in("grace")
    handle = (await phone.data("/session"))["handle"]
    assert (await visitor.post(f"/devices/{handle[:12]}/end")).status == 404
    assert (await phone.get("/devices", json=True)).status == 200


@pytest.mark.parametrize("name", ["0" * 12, "0" * 64, "..", "%00", "' OR 1=1 --", "é"])
async def test_a_senseless_name_is_not_found(visitor: Visitor, name: str) -> None:
    """Whatever stands in the address, the answer is 404."""
    await visitor.sign_in()
    assert (await visitor.post(f"/devices/{name}/end")).status == 404


@pytest.mark.parametrize("path", ["/devices/0123456789ab/end", "/devices/end-others", "/basket/order"])
async def test_needs_a_customer(visitor: Visitor, path: str) -> None:
    """A browser is sent to the sign-in page, a program gets 401."""
    assert (await visitor.post(path)).headers["Location"].startswith("/sign-in")
    assert (await visitor.send(path, {})).status == 401


async def test_limits_devices(new_visitor: NewVisitor, app: web.Application, clock: FakeClock) -> None:
    """Past the limit the oldest session ends, and the one that signed in is told (ASVS 7.1.2)."""
    clients = [await new_visitor() for _ in range(5)]
    for client in clients:
        clock.advance(1)
        page = await (await client.post("/sign-in", name="ada", password="secret", follow=True)).text()
        assert ("so the oldest was signed out" in page) is (client is clients[4])
    assert len(await app[MANAGER].find("ada")) == 4
    assert [(await client.get("/devices", json=True)).status for client in clients] == [401, 200, 200, 200, 200]


async def test_signing_in_again_ends_nobody(new_visitor: NewVisitor) -> None:
    """A device that is one of the customer's counts once, however often it signs in."""
    clients = [await new_visitor() for _ in range(4)]
    for client in [*clients, *clients]:
        await client.sign_in()
    assert [(await client.get("/devices", json=True)).status for client in clients] == [200] * 4


async def test_shows_first_and_last_use(visitor: Visitor, phone: Visitor, clock: FakeClock) -> None:
    """A device says since when and until when it was used, to the minute, and when its password was given."""
    await phone.sign_in()
    clock.advance(30)
    await phone.get("/basket")
    clock.advance(90)
    await phone.get("/basket")
    await visitor.sign_in()
    (_, listed) = await devices(visitor)
    signed_in, last_use = (datetime.fromtimestamp(clock() - ago, UTC) for ago in (120, 0))
    assert datetime.fromisoformat(listed["first_used_at"]) == signed_in
    assert datetime.fromisoformat(listed["last_used_at"]) == last_use
    assert datetime.fromisoformat(listed["authenticated_at"]) == signed_in


async def test_keeps_no_address(visitor: Visitor, app: web.Application) -> None:
    """What is known of a device is what to call it: neither its address nor all that it says of itself."""
    await visitor.sign_in()
    (info,) = await app[MANAGER].find("ada")
    assert info.device == {"browser": "Firefox on Linux"}
    assert "127.0.0.1" not in repr(info)


async def test_notes_the_last_use_only_now_and_then(visitor: Visitor, adapter: Any, clock: FakeClock) -> None:
    """Looking around writes nothing while the note is fresh, and once when it is not."""
    await visitor.sign_in()
    adapter.calls.clear()
    clock.advance(59)
    await visitor.get("/basket")
    await visitor.get("/static/style.css")
    assert adapter.calls == ["load"]
    clock.advance(1)
    await visitor.get("/basket")
    await visitor.get("/basket")
    assert adapter.calls == ["load", "load", "update", "load"]


async def test_a_session_of_an_older_demo_is_listed(visitor: Visitor, app: web.Application) -> None:
    """A session without a note of its browser has a name too."""
    await visitor.sign_in()
    await session_of(arrive(app[MANAGER], ())).bind("ada")
    assert {device["browser"] for device in await devices(visitor)} == {"Firefox on Linux", "An unknown browser"}


async def test_a_socket_closes_when_its_session_is_ended(visitor: Visitor, phone: Visitor) -> None:
    """The WebSocket of the other device answers, and closes once that device is ended (CVE-2026-9162)."""
    await visitor.sign_in()
    await phone.sign_in()
    socket = await phone.socket()
    await socket.send_str("<hi>")
    assert json.loads((await socket.receive()).data) == {"text": "<hi>", "count": 1, "account": "ada"}
    await visitor.post("/devices/end-others")
    message = await socket.receive(timeout=SECONDS)
    assert message.type is WSMsgType.CLOSE
    assert (message.data, message.extra) == (4401, "session ended")


async def test_a_stream_ends_with_its_session(visitor: Visitor, phone: Visitor) -> None:
    """The stream of the other device tells what changes, and says so when that device is ended."""
    await visitor.sign_in()
    await phone.sign_in()
    response = await phone.get("/stream/events")
    assert response.content_type == "text/event-stream"
    lines = response.content
    assert await lines.readline() == b"event: state\n"
    assert json.loads((await lines.readline())[6:])["account"] == "ada"
    await phone.post("/basket/add", product="cup")
    async with asyncio.timeout(SECONDS):
        await lines.readuntil(b"event: state\ndata: ")
        assert json.loads(await lines.readline())["basket"] == 1
        await visitor.post("/devices/end-others")
        rest = await lines.read()
    assert rest.endswith(b'event: ended\ndata: {"reason":"ended"}\n\n')


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (PHONE, "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537 Edg/140.0", "Edge on Windows"),
        ("Firefox/140.0", "Firefox"),
        ("curl/7.88.1", "curl/7.88.1"),
        ("laptop", "laptop"),
        ("", "An unknown browser"),
        ("\x1b[31m\u202eevil" + "x" * 99, "[31mevil" + "x" * 32),
    ],
)
def test_names_browsers(user_agent: str, name: str) -> None:
    """Known ones by name, unknown ones by a short and printable word."""
    assert browser_name(user_agent) == name
