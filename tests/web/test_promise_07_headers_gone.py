"""Promise 7: what a handler may still do once the response's headers have left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from aiohttp_spry_session import HeadersSentError, Session, SessionError, get_session

from ..support import Recorder, identifier_in, sending

Change = Callable[[Session], Awaitable[object]]


def streaming(change: Change, outcome: list[object]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler that changes its session in the middle of a stream."""

    async def handler(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            outcome.append(await change(session))
        except SessionError as error:
            outcome.append(error)
        await response.write(b"done")
        return response

    return handler


async def start(request: web.Request) -> web.Response:
    await get_session(request).set("n", 1)
    return web.Response()


async def read(request: web.Request) -> web.Response:
    session = get_session(request)
    return web.json_response({key: await session.get(key) for key in await session.keys()})


async def identifier_property(session: Session) -> str:
    return session.identifier


NEED_A_COOKIE = {
    "set": lambda session: session.set("x", 1),
    "update": lambda session: session.update("x", lambda value: 1),
    "increment": lambda session: session.increment("x"),
    "renew": lambda session: session.renew(),
    "rotate": lambda session: session.rotate(),
    "bind": lambda session: session.bind("u"),
    "destroy": lambda session: session.destroy(),
    "identifier": identifier_property,
}


@pytest.mark.parametrize("change", NEED_A_COOKIE.values(), ids=NEED_A_COOKIE)
async def test_what_would_start_a_session_raises_at_once(serve, manager, store, change):
    """A visitor without a session cannot get one any more, and nothing is stored."""
    outcome: list[object] = []
    client = await serve(manager, streaming(change, outcome))
    response = await client.get("/")
    assert await response.text() == "done"
    assert identifier_in(response.headers) is None
    assert isinstance(outcome[0], HeadersSentError)
    assert store.calls == []


@pytest.mark.parametrize("change", ["rotate", "bind", "destroy"])
async def test_what_would_change_the_identifier_raises_at_once(serve, manager, store, change):
    """The client could not be told its new identifier, so its old one stays, and its session too."""
    outcome: list[object] = []
    client = await serve(manager, streaming(NEED_A_COOKIE[change], outcome), start=start, read=read)
    identifier = identifier_in((await client.get("/start")).headers)
    await (await client.get("/", headers=sending(identifier))).text()
    assert isinstance(outcome[0], HeadersSentError)
    assert await (await client.get("/read", headers=sending(identifier))).json() == {"n": 1}


@pytest.mark.parametrize("change", ["set", "update", "increment"])
async def test_change_of_a_session_is_committed_at_the_handlers_end(serve, manager, change):
    """A session that is there needs no new cookie: the change is stored when the handler is done."""
    outcome: list[object] = []
    client = await serve(manager, streaming(NEED_A_COOKIE[change], outcome), start=start, read=read)
    identifier = identifier_in((await client.get("/start")).headers)
    response = await client.get("/", headers=sending(identifier))
    await response.text()
    assert identifier_in(response.headers) is None
    assert await (await client.get("/read", headers=sending(identifier))).json() == {"n": 1, "x": 1}


async def test_renew_only_extends_what_is_stored(serve, manager, clock):
    """After the headers went out renew() moves the stored end, and sends nothing."""
    outcome: list[object] = []
    events = Recorder(manager)
    client = await serve(manager, streaming(NEED_A_COOKIE["renew"], outcome), start=start, read=read)
    identifier = identifier_in((await client.get("/start")).headers)
    clock.advance(1000)
    response = await client.get("/", headers=sending(identifier))
    await response.text()
    assert outcome == [None]
    assert identifier_in(response.headers) is None
    assert events.told[-1] == ("renewed", "renew")
    clock.advance(1000)
    assert await (await client.get("/read", headers=sending(identifier))).json() == {"n": 1}


async def test_destroy_without_a_successor_works(serve, manager):
    """destroy(regenerate=False) ends the session although the cookie cannot be expired any more."""
    outcome: list[object] = []
    client = await serve(
        manager, streaming(lambda session: session.destroy(regenerate=False), outcome), start=start, read=read
    )
    identifier = identifier_in((await client.get("/start")).headers)
    response = await client.get("/", headers=sending(identifier))
    await response.text()
    assert outcome == [None]
    assert await (await client.get("/read", headers=sending(identifier))).json() == {}


async def test_remove_and_clear_start_nothing(serve, manager, store):
    """Removing from a session that is not there needs no cookie, so it is no error either."""

    async def change(session: Session) -> None:
        await session.remove("x")
        await session.clear()
        await session.save()
        await session.pop("x")

    outcome: list[object] = []
    client = await serve(manager, streaming(change, outcome))
    assert await (await client.get("/")).text() == "done"
    assert outcome == [None]
    assert store.calls == []
