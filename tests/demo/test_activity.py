"""What just happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter
from aiohttp_spry_session.testing import AdapterContract
from demo import recorder
from demo.recorder import RecordingAdapter, masked

from .conftest import NewVisitor, Visitor


async def recorded(visitor: Visitor) -> list[dict[str, Any]]:
    """Return what a visitor is shown."""
    return (await visitor.data("/activity"))["requests"]


async def test_shows_calls_events_and_the_masked_cookie(visitor: Visitor) -> None:
    """A first visit creates a session; a sign-in rotates it; the log goes on across the rotation."""
    await visitor.get("/")
    await visitor.sign_in()
    sign_in, first = await recorded(visitor)
    handle = (await visitor.data("/session"))["handle"]
    assert (first["method"], first["path"], first["status"]) == ("GET", "/", 200)
    assert first["store_calls"] == {"create": 1}
    assert first["events"][0].startswith("created (started) ")
    assert sign_in["store_calls"] == {"load": 1, "rotate": 1, "find": 1, "update": 1}
    assert sign_in["events"] == [f"rotated (bind) {handle[:12]}"]
    assert sign_in["set_cookie"] == ["demo_session=•••••••• (43 characters); Path=/; HttpOnly; SameSite=Lax"]


async def test_never_shows_an_identifier(visitor: Visitor) -> None:
    """No page and no JSON holds the cookie's value, now or from before."""
    seen = set()
    for path in ("/", "/activity"):
        await visitor.get(path)
        seen.add(visitor.cookies()["demo_session"])
    await visitor.sign_in()
    await visitor.post("/session/rotate")
    await visitor.post("/session/renew")
    seen.add(visitor.cookies()["demo_session"])
    assert len(seen) == 2
    for path in ("/activity", "/activity/panel", "/session", "/devices"):
        text = await (await visitor.get(path)).text() + await (await visitor.get(path, json=True)).text()
        assert not [identifier for identifier in seen if identifier in text]


async def test_fifty_hits_are_one_line(visitor: Visitor) -> None:
    """Requests that are alike are shown together, with their calls summed up."""
    await visitor.send("/race", {})
    race, hits = await recorded(visitor)
    assert race["path"] == "/race"
    assert hits["times"] == 50
    assert hits["store_calls"]["update"] >= 50


async def test_belongs_to_one_visitor(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """Another visitor sees nothing of it, nor does one without a session."""
    other = await new_visitor()
    await visitor.get("/")
    assert await recorded(other) == []
    await other.get("/")
    assert len(await recorded(other)) == 1


async def test_ends_with_the_session(visitor: Visitor) -> None:
    """After signing out only the sign-out itself is left to see."""
    await visitor.sign_in()
    await visitor.get("/basket")
    await visitor.post("/sign-out")
    (only,) = await recorded(visitor)
    assert only["path"] == "/sign-out"
    assert [event.split(" (")[0] for event in only["events"]] == ["destroyed", "created"]


async def test_the_next_customer_does_not_read_it(visitor: Visitor) -> None:
    """Signing in over somebody else's session ends theirs, and their log with it."""
    await visitor.sign_in("ada")
    await visitor.get("/basket")
    await visitor.sign_in("grace")
    (only,) = await recorded(visitor)
    assert [event.split(") ")[0] for event in only["events"]] == ["destroyed (bind", "created (bind"]


async def test_a_rejected_identifier_is_an_event(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """The first page after one's session was ended elsewhere tells so."""
    other = await new_visitor()
    await visitor.sign_in()
    await other.sign_in()
    await visitor.post("/devices/end-others")
    await other.get("/")
    (only,) = await recorded(other)
    assert [event.split(")")[0] for event in only["events"]] == ["rejected (unknown", "created (started"]


async def test_counts_on_in_a_live_connection(visitor: Visitor) -> None:
    """A WebSocket is listed while it is open, and its store calls go up."""
    await visitor.get("/")
    socket = await visitor.socket()
    for text in ("a", "b"):
        await socket.send_str(text)
        await socket.receive()
    entry = (await recorded(visitor))[0]
    assert (entry["path"], entry["status"]) == ("/socket/ws", 101)
    assert entry["store_calls"]["update"] == 2
    await socket.close()


async def test_is_bounded(new_visitor: NewVisitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old entries, old visitors and the ends of long paths go."""
    monkeypatch.setattr(recorder, "MAX_ENTRIES", 3)
    monkeypatch.setattr(recorder, "MAX_VISITORS", 2)
    first, second, third = [await new_visitor() for _ in range(3)]
    for visitor in (first, second, third):
        await visitor.get("/")
    for path in ("/basket", "/race", "/stream", "/socket"):
        await third.get(path)
    assert [entry["path"] for entry in await recorded(third)] == ["/socket", "/stream", "/race"]
    assert await recorded(second) != []
    await second.raw.post("/" + "x" * 500)  # without a token, so the session is asked
    assert max(len(entry["path"]) for entry in await recorded(second)) == 80
    assert await recorded(first) == []


def test_masks_cookies() -> None:
    """The value is hidden, an empty one is shown, and the attributes stay."""
    assert masked("a=secret; Path=/") == "a=•••••••• (6 characters); Path=/"
    assert masked("a=; Max-Age=0") == "a=; Max-Age=0"
    assert masked('a=""') == 'a=""'


class TestRecordingAdapter(AdapterContract):
    """The adapter around another one keeps the contract too."""

    shares_store = False
    fails_when_closed = False

    @pytest.fixture
    def make_adapter(self) -> Callable[..., SessionAdapter]:
        """Wrap an adapter in memory."""
        return lambda **options: RecordingAdapter(MemorySessionAdapter(**options))
