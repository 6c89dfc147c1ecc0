"""Promise 9 at its edges: spares that are none, starts whose answer was lost, and what a later try makes of them."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    AdapterError,
    SessionEndedError,
    SessionManager,
    SQLiteSessionAdapter,
    get_session,
    session_middleware,
)
from aiohttp_spry_session.testing import FaultyAdapter

from ..support import COOKIE, Barrier, cookies_of, identifier_in, sending
from .handlers import PATHS


@pytest.mark.cookies
async def test_spare_that_is_no_identifier(serve, manager):
    """It counts for nothing, and the client is told to forget it."""
    client = await serve(manager, **PATHS)
    response = await client.get("/read", headers={"Cookie": f'{COOKIE}-next="no identifier"'})
    assert response.status == 200
    assert cookies_of(response.headers) == []
    (removal,) = cookies_of(response.headers, f"{COOKIE}-next")
    assert "Max-Age=0" in removal


@pytest.mark.cookies
async def test_spare_that_is_the_sessions_own_identifier(serve, manager, store):
    """It is settled already: the session is not written to, and goes on."""
    client = await serve(manager, **PATHS)
    identifier = identifier_in((await client.get("/write?n=1")).headers)
    store.calls.clear()
    response = await client.get("/read", headers={"Cookie": f"{COOKIE}={identifier}; {COOKIE}-next={identifier}"})
    assert (await response.json())["n"] == 1
    assert store.counted == {"load": 1}
    assert "Max-Age=0" in cookies_of(response.headers, f"{COOKIE}-next")[0]


async def test_start_whose_answer_was_lost_is_found_by_the_next_try(serve, make_manager, store):
    """The row that is there is taken for the session that it is, with what was set since."""
    faulty = FaultyAdapter(store)
    manager: SessionManager = make_manager(adapter=faulty)

    async def twice(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("n", 1)
        identifier = session.identifier
        faulty.fail("create", after=True)
        try:
            await session.save()
        except AdapterError:
            await session.set("m", 2)
            await session.remove("n")
        await session.save()
        assert session.identifier == identifier
        return web.Response()

    client = await serve(manager, twice=twice, **PATHS)
    response = await client.get("/twice")
    assert response.status == 200
    assert cookies_of(response.headers, f"{COOKIE}-next") == []
    headers = sending(identifier_in(response.headers) or "")
    assert await (await client.get("/read", headers=headers)).json() == {"m": 2}


async def test_sign_in_after_a_start_whose_answer_was_lost(serve, make_manager, store):
    """A second ``bind`` finds the row of the first: no ghost of a session is left to its owner."""
    faulty = FaultyAdapter(store)
    manager: SessionManager = make_manager(adapter=faulty)

    async def sign_in(request: web.Request) -> web.Response:
        faulty.fail("create", after=True)
        try:
            await get_session(request).bind("ada")
        except AdapterError:
            await get_session(request).bind("ada")
        return web.Response()

    client = await serve(manager, sign_in=sign_in)
    response = await client.get("/sign_in")
    assert response.status == 200
    assert identifier_in(response.headers)
    assert len(await manager.find("ada")) == 1


async def test_bind_after_the_session_ended_in_the_same_request(serve, manager):
    """Who has just proved who they are gets a session of their own, empty."""

    async def sign_in(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("n", 2)
        assert session.handle is not None
        await manager.revoke(session.handle)
        try:
            await session.save()
        except SessionEndedError:
            await session.bind("ada")
        return web.json_response(await session.keys())

    client = await serve(manager, sign_in=sign_in, **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers) or "")
    response = await client.get("/sign_in", headers=headers)
    assert (response.status, await response.json()) == (200, [])
    assert identifier_in(response.headers)


async def test_middleware_alone_whose_session_is_not_used(aiohttp_client, manager):
    """Its response says nothing of sessions."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[session_middleware(manager)])
    app.router.add_get("/", handler)
    async with manager:
        client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
        response = await client.get("/")
        assert not {"Vary", "Set-Cookie"} & set(response.headers)


async def test_purge_of_what_is_not_open(tmp_path):
    """It says what to do, as every operation does."""
    manager = SessionManager(SQLiteSessionAdapter(tmp_path / "sessions.db"))
    with pytest.raises(AdapterError, match=r"the adapter is not open: use setup\(app, manager\)"):
        await manager.purge()


async def test_what_is_set_while_a_bind_is_under_way(serve, manager, store):
    """A commit point stores what the request has changed so far: by the time that it is done."""

    async def sign_in(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        barrier = Barrier(store, "rotate")
        binding = asyncio.create_task(session.bind("ada"))
        await barrier.reached.wait()
        await session.set("m", 2)
        barrier.go_on.set()
        await binding
        (info,) = await manager.find("ada")
        return web.json_response(info.values)

    client = await serve(manager, sign_in=sign_in, **PATHS)
    headers = sending(identifier_in((await client.get("/write?n=1")).headers) or "")
    assert await (await client.get("/sign_in", headers=headers)).json() == {"n": 1, "m": 2}
