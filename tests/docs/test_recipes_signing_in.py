"""What the recipes for signing in promise beyond their transcripts: in parallel, and as time goes by."""

from __future__ import annotations

import asyncio
from types import ModuleType

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aiohttp_spry_session
from aiohttp_spry_session.testing import FakeClock

from .conftest import AT_ONCE, Load, blocks_of, opened


async def test_a_sign_in_hands_nothing_over(load: Load) -> None:
    """Who signs in over another user's session gets none of their values; one's own stay."""
    program = load("log-in.md")
    manager = program.manager
    async with TestServer(program.app) as server, opened(server) as client:
        greetings = []
        for password in ("secret", "secret", "hidden"):
            await client.get("/")
            async with client.post("/sign-in", data={"password": password}) as response:
                greetings.append(await response.text())
        assert greetings == ["hello, user 7: visit 1\n", "hello, user 7: visit 3\n", "hello, user 8: visit 1\n"]
        assert await manager.find("7") == []


async def test_a_recent_sign_in_goes_by_the_managers_clock(load: Load, clock: FakeClock) -> None:
    """After five minutes the password is asked for again, by the clock that the manager was given."""
    program = load("log-in.md")
    async with TestServer(program.app) as server, opened(server) as client:
        await client.post("/sign-in", data={"password": "secret"})
        clock.advance(program.RECENT.total_seconds())
        async with client.post("/password") as response:
            assert await response.text() == "changed, 0 other sessions ended\n"
        clock.advance(1)
        async with client.post("/password", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/sign-in")


async def sign_in_at_once(program: ModuleType) -> list[int]:
    """Let as many browsers sign in at the same moment; return how they were answered."""
    async with TestServer(program.app) as server:
        url = server.make_url("/sign-in")

        async def sign_in() -> int:
            async with aiohttp.ClientSession() as client, client.post(url) as response:
                return response.status

        statuses = await asyncio.gather(*[sign_in() for _ in range(AT_ONCE)])
        return sorted(statuses)


async def left(program: ModuleType, owner: str) -> int:
    """Return how many sessions the user has."""
    async with program.manager as manager:
        return len(await manager.find(owner))


async def test_exactly_the_limit_is_left(load: Load) -> None:
    """Of any number of sign-ins at the same moment exactly so many sessions are left: those that were told 200."""
    program = load("limit-sessions.md")
    assert await sign_in_at_once(program) == [200] * 3 + [409] * (AT_ONCE - 3)
    assert await left(program, "7") == 3


async def test_never_more_than_the_limit(load: Load) -> None:
    """Where one more is refused, many at the same moment do not slip past; those who were told 200 are signed in."""
    program = load("limit-sessions.md", 1)
    statuses = await sign_in_at_once(program)
    admitted = await left(program, "8")
    assert admitted <= 3
    assert statuses == [200] * admitted + [409] * (AT_ONCE - admitted)


async def test_who_paid_for_a_sign_in_is_known(load: Load, clock: FakeClock) -> None:
    """The receiver of the page finds out, in the request of the sign-in, which session ended for it."""
    program = load("limit-sessions.md")
    (notes,) = [block for block in blocks_of("limit-sessions.md") if "PAID" in block.text]
    exec(compile(notes.text, notes.place, "exec", dont_inherit=True), program.__dict__)
    paid: list[list[str]] = []

    async def look(event: aiohttp_spry_session.SessionEvent) -> None:
        if event.reason == "limit":
            assert event.request is not None
            paid.append(event.request[program.PAID])

    program.manager.on_destroyed.append(look)
    async with TestServer(program.app) as server:
        handles = []
        for _ in range(4):
            clock.advance(1)  # of those that begin at the same moment the order is by handle
            async with opened(server) as client:
                await client.post("/sign-in")
                handles.append({info.handle for info in await program.manager.find("7")})
    ((ended,),) = paid
    assert ended in handles[2] - handles[3]


async def test_kept_for_as_long_as_the_page_says(load: Load, clock: FakeClock) -> None:
    """With the box thirty days after each visit and ninety in the whole, without it an hour and twelve."""
    program = load("remember-me.md")
    async with TestServer(program.app) as server, opened(server) as office, opened(server) as home:
        for fields in ({"keep": "yes"}, {}):
            for client, kept in ((home, fields), (office, {})):
                await client.post("/sign-in", data=kept)
            for hours in (0.9, 0.9):
                clock.advance(hours * 3600)
                assert "7" in await (await office.get("/")).text()
            clock.advance(3600)
            assert "None" in await (await office.get("/")).text()
            assert ("7" in await (await home.get("/")).text()) is bool(fields)
        await home.post("/sign-in", data={"keep": "yes"})
        for _ in range(4):
            clock.advance(20 * 86_400)
            assert "7" in await (await home.get("/")).text()
        clock.advance(10 * 86_400)
        assert "None" in await (await home.get("/")).text()


async def test_the_managers_limit_holds_where_no_other_is_given(load: Load, clock: FakeClock) -> None:
    """Twelve hours in the whole end an ordinary session, however often it is used, and one with `expiration` alone."""
    program = load("remember-me.md")

    async def keep(request: web.Request) -> web.Response:
        await request["session"].bind("7", expiration=30 * 86_400, persistent=True)
        return web.Response()

    program.app.router.add_post("/keep", keep)
    async with TestServer(program.app) as server, opened(server) as office, opened(server) as home:
        await office.post("/sign-in")
        await home.post("/keep")
        for _ in range(23):
            clock.advance(1860)
            for client in (office, home):
                assert "7" in await (await client.get("/")).text()
        clock.advance(43_200 - 23 * 1860)
        for client in (office, home):
            assert "None" in await (await client.get("/")).text()


@pytest.mark.parametrize(("path", "minutes"), [("/address", 15), ("/pay", 5)])
async def test_freshness_ends(load: Load, clock: FakeClock, path: str, minutes: int) -> None:
    """A password, or a code, opens a page for as long as it says; visits do not make it fresh, a code does."""
    program = load("step-up.md")
    async with TestServer(program.app) as server, opened(server) as client:

        async def is_open() -> bool:
            async with client.get(path, allow_redirects=False) as response:
                assert response.status == 200 or response.headers["Location"] == f"/confirm?next={path}"
                return response.status == 200

        await client.post("/sign-in", data={"password": "secret"})
        assert await is_open() is (path == "/address")
        for _ in range(2):
            await client.post("/confirm", data={"code": "123456"})
            clock.advance(minutes * 60)
            assert await is_open()
            clock.advance(1)
            assert not await is_open()
        await client.post("/confirm", data={"code": "654321"})
        assert not await is_open()


@pytest.mark.parametrize("agent", ["\x85\u202e", "x" * 5000, "\udcff\udcfe", ""])
async def test_a_client_that_calls_itself_anything(load: Load, agent: str) -> None:
    """Whatever a client says that it is, it can sign in."""
    program = load("log-in.md")
    async with TestServer(program.app) as server, opened(server) as client:
        headers = {"User-Agent": agent.encode("utf-8", "surrogateescape").decode("latin-1")}
        async with client.post("/sign-in", data={"password": "secret"}, headers=headers) as response:
            assert response.status == 200
    (info,) = await program.manager.find("7")
    assert len((info.device or {"agent": ""})["agent"]) <= 120
