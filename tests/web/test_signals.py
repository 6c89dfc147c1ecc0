"""The manager's signals: every event, with its reason, and receivers that fail."""

from __future__ import annotations

import pytest
from aiohttp import web

from aiohttp_spry_session import SessionEvent, get_session
from aiohttp_spry_session.identifiers import handle_of

from ..support import COOKIE, Pause, Recorder
from .handlers import ACTIONS

EXPECTED = {
    "set": [("created", "started")],
    "renew": [("created", "started")],
    "increment": [("created", "started")],
    "rotate": [("created", "started")],
    "bind": [("created", "bind")],
    "destroy": [],
    "destroy_for_good": [],
    "remove": [],
    "pop": [],
}


@pytest.mark.parametrize(("action", "expected"), EXPECTED.items())
async def test_events_of_a_new_visitor(visit, manager, action, expected):
    """A session that starts is told of once, with the handle that it has."""
    events = Recorder(manager)
    visitor = await visit(manager, new=True)
    await visitor.ask(f"/do/{action}")
    assert events.told == expected
    if expected:
        owner = "user" if action == "bind" else None
        assert events.events == [SessionEvent("created", visitor.handle, owner, expected[0][1])]


KNOWN = {
    "set": [],
    "renew": [("renewed", "renew")],
    "rotate": [("rotated", "rotate")],
    "rotate_with_grace": [("rotated", "rotate")],
    "bind": [("rotated", "bind")],
    "destroy": [("destroyed", "destroy"), ("created", "destroy")],
    "destroy_for_good": [("destroyed", "destroy")],
    "increment": [],
}


@pytest.mark.parametrize(("action", "expected"), KNOWN.items())
async def test_events_of_a_session(visit, manager, action, expected):
    """Each change is told of once; a rotation by the new handle, a destruction by the old one, with the owner."""
    visitor = await visit(manager)
    await visitor.ask("/do/bind")
    old = visitor.handle
    events = Recorder(manager)
    await visitor.ask(f"/do/{action}")
    assert events.told == expected
    for event in events.events:
        assert event.handle == (old if event.name == "destroyed" else visitor.handle)
        assert event.owner == (None if event.name == "created" else "user")


async def test_rolling_is_told_apart(visit, make_manager, clock):
    """A renewal by use has a reason of its own."""
    manager = make_manager(rolling=True)
    visitor = await visit(manager)
    events = Recorder(manager)
    clock.advance(700)
    await visitor.ask("/read")
    clock.advance(700)
    await visitor.ask("/write?m=1")
    clock.advance(700)
    await visitor.ask("/do/renew")
    assert events.told == [("renewed", "rolling"), ("renewed", "rolling"), ("renewed", "renew")]


async def test_revocation(visit, manager):
    """A session that is ended from outside is told of once, with the reason, however often it is revoked."""
    visitor = await visit(manager)
    await visitor.ask("/do/bind")
    events = Recorder(manager)
    assert await manager.revoke(visitor.handle)
    assert not await manager.revoke(visitor.handle)
    assert events.events == [SessionEvent("destroyed", visitor.handle, "user", "revoke")]


async def test_rejected_identifiers(visit, manager, store, clock):
    """Every identifier that is not accepted is told of, with its reason (ASVS 16.3.3)."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    events = Recorder(manager)
    await late.ask("/untouched")
    clock.advance(3600)
    await visitor.ask("/untouched")
    await visitor.client.get("/untouched", headers={"Cookie": f"{COOKIE}=a,b; {COOKIE}=c"})
    assert [(event.name, event.reason, event.handle, event.owner) for event in events.events] == [
        ("rejected", "retired", late.handle, None),
        ("rejected", "unknown", visitor.handle, None),
        ("rejected", "malformed", handle_of("a,b"), None),
        ("rejected", "unknown", handle_of("c"), None),
    ]


LOSSES = {
    "ended": lambda manager, other, clock: manager.revoke(other.handle),
    "rotated": lambda manager, other, clock: other.ask("/do/rotate"),
    "expired": lambda manager, other, clock: expire(clock),
}


async def expire(clock) -> None:
    clock.advance(3600)


@pytest.mark.parametrize("reason", LOSSES)
async def test_dropped_changes(visit, manager, clock, reason):
    """Changes that were dropped are told of with the owner and the reason that their session was gone."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("m", 1)
        await pause.here()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    await visitor.ask("/do/bind")
    handle = visitor.handle
    events = Recorder(manager)
    await pause.during(visitor.twin().ask("/slow"), lambda: LOSSES[reason](manager, visitor, clock))
    assert events.events[-1] == SessionEvent("rejected", handle, "user", reason)


async def test_dropped_changes_under_a_retired_identifier(visit, manager):
    """What was set under a rotated-away identifier is told of by the handle that was presented."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    events = Recorder(manager)
    await late.ask("/do/set")
    assert events.events == [SessionEvent("rejected", late.handle, None, "retired")] * 2


@pytest.mark.parametrize("name", ["created", "renewed", "rotated", "destroyed", "rejected"])
async def test_receiver_that_raises_changes_nothing(visit, manager, caplog, name):
    """It is logged, the next receiver is called, and the operation goes on as if nothing were (CVE-2021-34428)."""

    async def failing(event: SessionEvent) -> None:
        raise RuntimeError("a receiver's fault")

    getattr(manager, f"on_{name}").append(failing)
    events = Recorder(manager)
    visitor = await visit(manager)
    late = visitor.twin()
    for action in ("bind", "renew", "rotate"):
        assert (await visitor.ask(f"/do/{action}")).status == 200
    assert (await late.ask("/read")).status == 200
    assert await (await visitor.ask("/read")).json() == {"n": 1}
    assert (await visitor.ask("/do/destroy_for_good")).status == 200
    assert {told for told, _ in events.told} == {"created", "renewed", "rotated", "destroyed", "rejected"}
    assert f"a receiver of on_{name} failed" in caplog.text
    assert "a receiver's fault" in caplog.text


async def test_revoke_with_a_receiver_that_raises(visit, manager):
    """The session is ended all the same."""

    async def failing(event: SessionEvent) -> None:
        raise RuntimeError

    manager.on_destroyed.append(failing)
    visitor = await visit(manager)
    assert await manager.revoke(visitor.handle)
    assert await (await visitor.ask("/read")).json() == {}


def test_every_action_is_known():
    """The tables above name actions that exist."""
    assert {*EXPECTED, *KNOWN} <= set(ACTIONS)
