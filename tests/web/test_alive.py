"""``session.alive()``: a WebSocket, a stream or any block of code ends when its session does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import DummyCookieJar, WSMsgType, web
from aiohttp.test_utils import TestServer

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionManager,
    SQLiteSessionAdapter,
    setup,
)
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing import FakeClock

from ..support import sending

SECONDS = 30
"""What a test waits for comes at once; after so long it is not coming."""


class Seldom(MemorySessionAdapter):
    """Nothing is found out by looking again."""

    watch_interval = 3600.0


class Often(MemorySessionAdapter):
    """Has no hints, so that looking again has to do it."""

    watch_interval = 0.01

    def hints(self):
        return super(MemorySessionAdapter, self).hints()


class SeldomFile(SQLiteSessionAdapter):
    watch_interval = 3600.0


@pytest.fixture(params=["memory", "sqlite", "four methods"])
def adapter(request, tmp_path):
    if request.param == "sqlite":
        return SeldomFile(tmp_path / "sessions.db")
    return Seldom() if request.param == "memory" else Often()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def manager(adapter, clock):
    return SessionManager(adapter, clock=clock)


class Server(TestServer):
    """Lets handlers go on when their client leaves, as ``run_app`` does by default."""

    async def _make_runner(self, *, handler_cancellation, **options):
        return web.AppRunner(self.app, **options)


@pytest.fixture
def serve(aiohttp_client):
    async def serve(manager, **paths):
        app = web.Application()
        setup(app, manager)
        for path, handler in paths.items():
            app.router.add_route("*", f"/{path}", handler)
        return await aiohttp_client(Server(app), cookie_jar=DummyCookieJar())

    return serve


def watched(manager):
    return len(requests_of(manager).driver.watcher)


class Blocks:
    """What became of the blocks, in order."""

    def __init__(self):
        self.outcomes = asyncio.Queue()
        self.entered = asyncio.Queue()

    async def next(self):
        return await asyncio.wait_for(self.outcomes.get(), SECONDS)

    @asynccontextmanager
    async def noted(self):
        try:
            yield
        except BaseException as error:
            self.outcomes.put_nowait(type(error).__name__)
            raise
        else:
            self.outcomes.put_nowait("quiet")


@pytest.fixture
def blocks():
    return Blocks()


@pytest.fixture
def paths(blocks):
    """The handlers: a socket that repeats what it is told, or does it with its session; a stream."""

    async def socket(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = request["session"]
        async with blocks.noted(), session.alive(socket):
            blocks.entered.put_nowait(asyncio.current_task())
            async for message in socket:
                if message.data == "destroy":
                    await session.destroy(regenerate=False)
                await socket.send_str(message.data)
        return socket

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async with blocks.noted(), request["session"].alive():
            blocks.entered.put_nowait(asyncio.current_task())
            await asyncio.Event().wait()
        return response

    async def bind(request):
        await request["session"].bind(request.query["owner"])
        return web.Response()

    return {"socket": socket, "stream": stream, "bind": bind}


@pytest.fixture
def opened(visit, manager, paths, blocks):
    """A visitor with a session, and a socket that is watched."""

    @asynccontextmanager
    async def opened(*, owner=None):
        visitor = await visit(manager, **paths)
        if owner is not None:
            await visitor.ask(f"/bind?owner={owner}")
        async with visitor.client.ws_connect("/socket", headers=sending(visitor.identifier)) as socket:
            await blocks.entered.get()
            yield visitor, socket

    return opened


async def closed(socket):
    """Return how the server closed the socket."""
    message = await asyncio.wait_for(socket.receive(), SECONDS)
    return message.type, message.data, message.extra


ENDED = (WSMsgType.CLOSE, 4401, "session ended")


async def is_open(socket):
    await socket.send_str("hello")
    assert (await asyncio.wait_for(socket.receive(), SECONDS)).data == "hello"


async def test_revoke_closes_the_socket(opened, manager, blocks):
    """The client is told why, the block ends quietly, and nothing is left behind."""
    async with opened() as (visitor, socket):
        await is_open(socket)
        assert watched(manager) == 1
        assert await manager.revoke(visitor.handle)
        assert await closed(socket) == ENDED
    assert await blocks.next() == "quiet"
    assert watched(manager) == 0


async def test_destroy_by_another_request_closes_the_socket(opened, blocks):
    """A sign-out in another tab."""
    async with opened() as (visitor, socket):
        await visitor.twin().ask("/do/destroy_for_good")
        assert await closed(socket) == ENDED
    assert await blocks.next() == "quiet"


async def test_destroy_inside_the_block_is_finished_first(opened, manager, blocks):
    """Its signal is sent, to a receiver that takes its time, before the block is cancelled."""
    told = []

    async def receiver(event):
        await asyncio.sleep(0.02)
        told.append(event.reason)

    manager.on_destroyed.append(receiver)
    async with opened() as (_, socket):
        await socket.send_str("destroy")
        message = await closed(socket)
        if message[1] == "destroy":  # the answer was sent without waiting for anything
            message = await closed(socket)
        assert message == ENDED
    assert await blocks.next() == "quiet"
    assert told == ["destroy"]


async def test_revoke_owner_inside_the_block_ends_all_of_them(opened, manager, blocks, visit, paths):
    """Whoever signs out everywhere by a socket is not cut short when their own session has ended."""

    async def everywhere(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async with blocks.noted(), request["session"].alive(socket):
            await manager.revoke_owner("ada")
            await asyncio.Event().wait()
        return socket

    paths["everywhere"] = everywhere
    async with opened(owner="ada") as (visitor, first):
        others = [await visit(manager, **paths) for _ in range(8)]
        for other in others:
            await other.ask("/bind?owner=ada")
        async with visitor.client.ws_connect("/everywhere", headers=sending(visitor.identifier)) as second:
            assert await closed(first) == ENDED
            assert await closed(second) == ENDED
    assert [await blocks.next() for _ in range(2)] == ["quiet", "quiet"]
    assert await manager.find("ada") == []


async def test_a_stream_is_cancelled(opened, visit, manager, paths, blocks):
    """Without a socket ``SessionEndedError`` comes out."""
    visitor = await visit(manager, **paths)
    response = await visitor.client.get("/stream", headers=sending(visitor.identifier))
    await blocks.entered.get()
    await manager.revoke(visitor.handle)
    assert await blocks.next() == "SessionEndedError"
    response.close()
    assert watched(manager) == 0


async def test_rotations_are_followed(opened, manager):
    """A rotation, with a grace or without, a confirmed password, a bind of the same owner: the socket stays open."""
    async with opened(owner="ada") as (visitor, socket):
        for step in ("/do/rotate", "/do/rotate_with_grace", "/bind?owner=ada", "/do/rotate", "/do/renew", "/write?n=2"):
            await visitor.ask(step)
            await is_open(socket)
        assert await manager.revoke(visitor.handle)
        assert await closed(socket) == ENDED


@pytest.mark.parametrize("before", [None, "ada"])
async def test_another_owner_ends_it(opened, blocks, before):
    """The socket was nobody's, or somebody else's."""
    async with opened(owner=before) as (visitor, socket):
        await visitor.ask("/bind?owner=grace")
        assert await closed(socket) == ENDED
    assert await blocks.next() == "quiet"


async def test_expiry_ends_it(visit, paths, blocks, tmp_path):
    """When the end that is known has come, the store is asked, and a renewal by another tab is seen."""

    class Soon(MemorySessionAdapter):
        watch_interval = 0.01

        def hints(self):
            return super(MemorySessionAdapter, self).hints()

    clock = FakeClock()
    manager = SessionManager(Soon(expiration=60), clock=clock)
    visitor = await visit(manager, **paths)
    async with visitor.client.ws_connect("/socket", headers=sending(visitor.identifier)) as socket:
        clock.advance(40)
        await visitor.ask("/do/renew")
        clock.advance(40)
        await is_open(socket)
        clock.advance(21)
        assert await closed(socket) == ENDED


async def test_no_session_at_entry(visit, manager, paths, blocks):
    """It ends at once: the socket is closed, and the block does not get far; without one nothing of it runs."""
    visitor = await visit(manager, new=True, **paths)
    async with visitor.client.ws_connect("/socket") as socket:
        assert await closed(socket) == ENDED
    assert await blocks.next() == "quiet"
    await visitor.client.get("/stream")
    assert await blocks.next() == "SessionEndedError"


async def test_the_client_goes_first(opened, manager, blocks):
    """Nothing is left behind, and nothing is said."""
    async with opened() as (_, socket):
        await socket.close()
        assert await blocks.next() == "quiet"
    assert watched(manager) == 0


async def test_shutdown_closes_sockets(opened, blocks):
    """1001, and the handlers are done."""
    async with opened() as (visitor, socket):
        stopping = asyncio.create_task(visitor.client.server.close())
        assert await closed(socket) == (WSMsgType.CLOSE, 1001, "server shutdown")
        await stopping
    assert await blocks.next() == "quiet"
