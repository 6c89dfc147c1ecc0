"""Sessions that come and go, and applications that start and stop, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web, web_app

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionManager, SQLiteSessionAdapter, setup
from aiohttp_spry_session.testing import FakeClock

from ..support import arrive, session_of
from .footprint import Footprint, resident, traced

pytestmark = pytest.mark.no_cover  # what it keeps counts as memory

_AT_ONCE = 100
_NOISE = 60_000
"""Bytes by which the caches of the interpreter and of SQLite vary from one look to the next, however long it runs."""

_owners = itertools.count()

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MakeAdapter = Callable[[], SessionAdapter]


@pytest.fixture(params=["memory", "sqlite"])
def make_adapter(request: pytest.FixtureRequest, tmp_path: Path) -> MakeAdapter:
    """Make adapters of one store."""
    if request.param == "memory":
        return MemorySessionAdapter
    return lambda: SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF")


async def live_and_expire(manager: SessionManager, clock: FakeClock, sessions: int) -> None:
    """Start sessions, give owners, new identifiers and an early end to some; let them expire, and purge."""

    async def live(number: int) -> None:
        session = session_of(arrive(manager, ()))
        await session.set("visits", number)
        await session.save()
        if number % 5 == 0:
            await session.bind(f"user {next(_owners)}")
        if number % 7 == 0:
            await session.rotate(grace=10)
        if number % 11 == 0:
            await session.destroy()
        if number % 3 == 0:
            again = session_of(arrive(manager, [session.identifier]))
            await again.load()
            await asyncio.gather(session.increment("visits"), again.increment("visits"))
            await again.renew()
            await again.save()

    for start in range(0, sessions, _AT_ONCE):
        await asyncio.gather(*map(live, range(start, min(sessions, start + _AT_ONCE))))
    clock.advance(24 * 60 * 60)
    assert await manager.purge() >= sessions
    assert await manager.purge() == 0
    under_way = asyncio.all_tasks() - {asyncio.current_task()}
    if under_way:
        await asyncio.wait(under_way, timeout=30)  # a checkpoint ends by itself; what does not is left behind


async def endure(manager: SessionManager, clock: FakeClock, *, rounds: int, sessions: int) -> None:
    """Compare the process after many rounds with what it was after the first."""
    async with manager:
        with traced():
            await live_and_expire(manager, clock, sessions)
            before = Footprint.take()
            for _ in range(rounds):
                await live_and_expire(manager, clock, sessions)
            Footprint.take().check(before, memory=_NOISE)


async def test_expired_sessions_leave_nothing(make_adapter: MakeAdapter, clock: FakeClock) -> None:
    """Memory, tasks, threads and files are the same after rounds of sessions that came and went."""
    await endure(SessionManager(make_adapter(), clock=clock), clock, rounds=3, sessions=600)


def folder_size(path: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(file.stat().st_size for file in path.iterdir())


@pytest.mark.long
async def test_hundreds_of_thousands_of_sessions_leave_nothing(
    make_adapter: MakeAdapter, clock: FakeClock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's memory, the resident memory and the file are as large after 300,000 sessions as after 20,000."""
    manager = SessionManager(make_adapter(), clock=clock)
    await endure(manager, clock, rounds=2, sessions=20_000)
    sizes = []
    async with manager:
        for _ in range(12):
            await live_and_expire(manager, clock, 20_000)
            gc.collect()
            sizes.append((resident(), folder_size(tmp_path)))
    with capsys.disabled():
        print(f"\nresident and file, MB: {[(memory >> 20, file >> 20) for memory, file in sizes]}")
    assert sizes[-1][0] <= sizes[1][0] + (4 << 20)
    assert sizes[-1][1] <= sizes[1][1] * 1.1


async def visit(request: web.Request) -> web.Response:
    visits = await request["session"].increment("visits")
    return web.Response(text=f"{visits}")


async def fail(request: web.Request) -> web.Response:
    await request["session"].set("lost", True)
    raise web.HTTPNotFound


def application(adapter: SessionAdapter) -> web.Application:
    app = web.Application()
    app.router.add_get("/", visit)
    app.router.add_get("/fail", fail)
    setup(app, SessionManager(adapter))
    return app


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Connection]:
    """Serve the application; give a connection to it. aiohttp's client keeps more than a few bytes of each request."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        yield reader, writer
        writer.close()
        await writer.wait_closed()
    finally:
        await runner.cleanup()


async def ask(connection: Connection, path: str, cookie: str = "") -> tuple[int, str]:
    """Send a request; return the status of the answer and the cookie that it set."""
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
    await reader.readexactly(int(lines["content-length"]))
    return int(head.split(" ", 2)[1]), lines.get("set-cookie", "").partition(";")[0]


@pytest.mark.parametrize("cycles", [20, pytest.param(1000, marks=pytest.mark.long)])
async def test_started_and_stopped_applications_leave_nothing(make_adapter: MakeAdapter, cycles: int) -> None:
    """After many applications that served a request each, all are gone, with their tasks, threads and files."""
    gone: list[weakref.ref[object]] = []

    async def live() -> None:
        app = application(make_adapter())
        gone.append(weakref.ref(app))
        async with serving(app) as connection:
            assert (await ask(connection, "/"))[0] == 200

    def look() -> Footprint:
        # aiohttp keeps what it made of the middlewares of the last 1024 applications that served a request.
        web_app._cached_build_middleware.cache_clear()
        return Footprint.take()

    with traced():
        for _ in range(5):
            await live()
        before = look()
        for _ in range(cycles):
            await live()
        look().check(before, memory=4 * _NOISE)  # less than what twenty applications that stayed would take
    assert not any(reference() for reference in gone), "stopped applications are still held"


@pytest.mark.parametrize("requests", [500, pytest.param(30_000, marks=pytest.mark.long)])
async def test_requests_leave_nothing(make_adapter: MakeAdapter, requests: int) -> None:
    """Requests of one session, answered and failed, leave no memory, task, thread or file behind."""
    async with serving(application(make_adapter())) as connection:
        _, cookie = await ask(connection, "/")

        async def ask_often(times: int) -> None:
            for number in range(times):
                failing = number % 5 == 0
                assert await ask(connection, "/fail" if failing else "/", cookie) == (404 if failing else 200, "")

        with traced():
            await ask_often(100)
            before = Footprint.take()
            await ask_often(requests)
            # Beside other tests a few caches may grow; what grows with each request the long one finds.
            Footprint.take().check(before, memory=_NOISE if requests > 500 else 5 * _NOISE)
