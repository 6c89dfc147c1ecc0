"""What an event tells beside its session: the handle before a rotation, and the request."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import Session, SessionEvent, get_session
from aiohttp_spry_session.testing.explorer.requests import bare_request

from ..support import Recorder, arrive, identifier_in, session_of


async def test_previous_is_the_handle_before(visit, make_manager):
    """Of a rotation, whatever the reason; of nothing else."""
    manager = make_manager()
    recorder = Recorder(manager)

    async def confirm(request: web.Request) -> web.Response:
        await get_session(request).confirm()
        return web.Response()

    visitor = await visit(manager, confirm=confirm)
    handles = [visitor.handle]
    for path in ("/do/rotate", "/do/bind", "/confirm", "/do/renew", "/do/destroy"):
        await visitor.ask(path)
        handles.append(visitor.handle)
    assert [(event.name, event.reason, event.handle, event.previous) for event in recorder.events] == [
        ("created", "started", handles[0], None),
        ("rotated", "rotate", handles[1], handles[0]),
        ("rotated", "bind", handles[2], handles[1]),
        ("rotated", "confirm", handles[3], handles[2]),
        ("renewed", "renew", handles[3], None),
        ("destroyed", "destroy", handles[3], None),
        ("created", "destroy", handles[5], None),
    ]


async def test_previous_within_a_grace(make_manager):
    """It is where the session was, not what the client came with."""
    manager = make_manager()
    recorder = Recorder(manager)
    async with manager:
        first = session_of(arrive(manager, ()))
        await first.bind("ada")
        old = first.identifier
        await first.rotate(grace=30)
        middle = first.handle
        late = session_of(arrive(manager, (old,)))
        await late.confirm()
        assert (recorder.events[-1].previous, recorder.events[-1].handle) == (middle, late.handle)


async def test_request_is_the_one_in_which_it_happened(serve, make_manager):
    """Each event's own, also of two that run at the same time; as it is while receivers run."""
    manager = make_manager()
    seen: list[tuple[str, str]] = []

    async def receive(event: SessionEvent) -> None:
        assert event.request is not None
        seen.append((event.name, event.request.path_qs))

    for signal in (
        manager.on_created,
        manager.on_renewed,
        manager.on_rotated,
        manager.on_destroyed,
        manager.on_rejected,
    ):
        signal.append(receive)

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        if "n" in request.query:
            await session.set("n", 1)
        else:
            await getattr(session, request.path.strip("/"))()
        return web.Response()

    client = await serve(manager, handler, rotate=handler, renew=handler, destroy=handler)
    responses = await asyncio.gather(*(client.get(f"/?n={n}") for n in range(2)))
    assert sorted(seen) == [("created", "/?n=0"), ("created", "/?n=1")]
    seen.clear()
    identifier = identifier_in(responses[0].headers)
    for path in ("/rotate", "/renew", "/destroy"):
        response = await client.get(path, headers={"Cookie": f"SPRY_SESSION_ID={identifier}"})
        identifier = identifier_in(response.headers)
    await client.get("/?n=3", headers={"Cookie": "SPRY_SESSION_ID=unknown"})
    assert seen == [
        ("rotated", "/rotate"),
        ("renewed", "/renew"),
        ("destroyed", "/destroy"),
        ("created", "/destroy"),
        ("rejected", "/?n=3"),
        ("created", "/?n=3"),
    ]


async def test_no_request_outside_of_one(make_manager):
    """What is done by the manager, or to a session without a request, names none."""
    manager = make_manager()
    recorder = Recorder(manager)
    async with manager:
        session = session_of(arrive(manager, ()))
        await session.bind("ada")
        async with manager.edit(session.handle) as edited:
            await edited.renew()
        await manager.revoke(session.handle)
    assert recorder.told == [("created", "bind"), ("renewed", "renew"), ("destroyed", "revoke")]
    assert [event.request for event in recorder.events] == [None] * 3


async def test_no_request_once_it_is_over(serve, make_manager):
    """A task that goes on with the session keeps no request alive, and its events name none."""
    manager = make_manager()
    recorder = Recorder(manager)
    sessions: list[Session] = []
    requests: list[weakref.ref[web.Request]] = []

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        sessions.append(get_session(request))
        requests.append(weakref.ref(request))
        return web.Response()

    client = await serve(manager, handler)
    await client.get("/")
    recorder.events.clear()
    while requests[0]() is not None:  # the server lets go of it in its own time
        await client.get("/nowhere")
        gc.collect()
    await sessions[0].renew()
    await sessions[0].destroy(regenerate=False)
    assert recorder.told == [("renewed", "renew"), ("destroyed", "destroy")]
    assert [event.request for event in recorder.events] == [None] * 2


@pytest.mark.parametrize("options", [{}, {"rolling": lambda request: True, "track_use": 1, "max_sessions": 2}])
async def test_a_session_is_no_garbage_for_the_collector(make_manager, options):
    """State, session and request refer to each other in no cycle: they go with the last who holds them."""
    manager = make_manager(**options)
    async with manager:
        while gc.collect():
            pass  # what other tests left, and what that leaves in its turn
        gc.disable()
        try:
            request = bare_request({})
            life: Any = arrive(manager, ())
            life.state.request = weakref.ref(request)
            session = session_of(life)
            await session.bind("ada", level="password")
            await session.confirm()
            await life.commit()
            await asyncio.sleep(0)  # the loop lets go of what it was to call
            del life, session, request
            assert gc.collect() == 0
        finally:
            gc.enable()


def test_events_are_compared_without_their_request():
    """It is where something happened, not what."""
    one = SessionEvent("created", "h", "ada", "bind", None, None)
    other = SessionEvent("created", "h", "ada", "bind", None, object())  # type: ignore[arg-type]
    assert one == other
    assert one != SessionEvent("created", "h", "ada", "bind", "before")
