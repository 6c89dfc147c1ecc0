"""What the recipes of the how-to pages promise beyond their transcripts: in parallel, in an outage, after hours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import aiohttp_spry_session
from aiohttp_spry_session import SessionManager
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing import FakeClock, start_session

from .blocks import ROOT, Block, read_blocks

Load = Callable[..., ModuleType]
AT_ONCE = 12
SECONDS = 15.0
"""When to give up on what should have come; nothing waits for it to pass."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each recipe keep its files for itself."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> Load:
    """Load the programs of a page by their number, with a clock that stands still."""
    monkeypatch.setattr(aiohttp_spry_session, "SessionManager", partial(SessionManager, clock=clock))

    def load(page: str, number: int = 0) -> ModuleType:
        programs = [block for block in blocks_of(page) if block.language == "python" and "web.run_app(" in block.text]
        program = ModuleType("recipe")
        exec(compile(programs[number].text, programs[number].place, "exec", dont_inherit=True), program.__dict__)
        return program

    return load


def blocks_of(page: str) -> list[Block]:
    """Return what stands in the fences of a page."""
    return list(read_blocks(ROOT / "docs" / "how-to" / page))


@asynccontextmanager
async def opened(server: TestServer) -> AsyncIterator[TestClient[Any, Any]]:
    """A client with cookies of its own on a server that others use too."""
    client: TestClient[Any, Any] = TestClient(server, cookie_jar=aiohttp.CookieJar(unsafe=True))
    await client.start_server()
    try:
        yield client
    finally:
        await client.session.close()


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


async def test_tokens_that_nobody_uses(load: Load) -> None:
    """However often a form is looked at, the session keeps a bounded number of tokens; the newest work, each once."""
    program = load("flash-and-tokens.md", 1)
    async with TestServer(program.app) as server, opened(server) as client:
        session = await start_session(client)
        tokens = []
        for _ in range(program.MAX_TOKENS + 5):
            async with client.get("/form") as response:
                tokens.append(await response.text())
        assert len(await session.get("tokens")) == program.MAX_TOKENS
        answers = []
        for token in (tokens[4], tokens[5], tokens[-1], tokens[-1], "guessed"):
            async with client.post("/form", data={"token": token}) as response:
                answers.append(response.status)
        assert answers == [403, 200, 200, 403, 403]


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


async def test_who_paid_for_a_sign_in_is_known(load: Load) -> None:
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


async def test_twelve_hours_in_the_whole(load: Load, clock: FakeClock) -> None:
    """An ordinary session ends after twelve hours, however often it is used; with `expiration` alone a kept one does."""
    program = load("remember-me.md")
    async with TestServer(program.app) as server, opened(server) as client:
        await client.post("/sign-in")
        for _ in range(23):
            clock.advance(1860)
            assert "7" in await (await client.get("/")).text()
        clock.advance(43_200 - 23 * 1860)
        assert "None" in await (await client.get("/")).text()
        session = await start_session(client)
        async with program.manager.edit(session.handle) as edited:
            assert edited.created_at is not None


@pytest.mark.parametrize(("path", "minutes"), [("/address", 15), ("/pay", 5)])
async def test_freshness_ends(load: Load, clock: FakeClock, path: str, minutes: int) -> None:
    """A password, or a code, opens a page for as long as it says; visits do not make it fresh, a code does."""
    program = load("step-up.md")
    async with TestServer(program.app) as server, opened(server) as client:

        async def is_open() -> bool:
            async with client.get(path, allow_redirects=False) as response:
                assert response.status == 200 or response.headers["Location"] == f"/confirm?next=%2F{path[1:]}"
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


async def test_one_token_for_two_tabs(load: Load) -> None:
    """Forms that are shown at the same moment in one session carry one token, and the next sign-in another."""
    program = load("csrf-token.md")
    async with TestServer(program.app) as server, opened(server) as client:
        await start_session(client)

        async def shown() -> str:
            async with client.get("/form") as response:
                return (await response.text()).split('"')[5]

        tokens = await asyncio.gather(*[shown() for _ in range(AT_ONCE)])
        assert len(set(tokens)) == 1
        same_origin = {"Sec-Fetch-Site": "same-origin"}
        async with client.post("/sign-in", headers=same_origin) as response:
            new = (await response.text()).strip()
        assert new == await shown()
        assert new != tokens[0]
        for token, status in ((tokens[0], 403), ("", 403), ("\udcff", 403), (new, 200)):
            data = {"csrf_token": token.encode("utf-8", "surrogateescape").decode("latin-1")}
            async with client.post("/form", data=data) as response:
                assert response.status == status
        async with client.post("/form", headers=same_origin) as response:
            assert response.status == 200


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


@asynccontextmanager
async def chatting(program: ModuleType) -> AsyncIterator[tuple[TestClient[Any, Any], Any]]:
    """A client with an open socket, which has been answered once."""
    async with TestServer(program.app) as server, opened(server) as client:
        await client.post("/in")
        async with client.ws_connect("/chat") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "1: hello"
            yield client, socket


async def away(*_: object) -> None:
    """Fail as a store does that cannot be reached."""
    raise OSError("away")


async def test_an_outage_closes_no_socket(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store is back the end of the session is noticed, though nobody tells of it."""
    program = load("websockets.md")
    adapter = program.manager.adapter
    monkeypatch.setattr(type(adapter), "watch_interval", 0.01)
    asked = asyncio.Event()

    async def away_and_told(handle: str) -> None:
        asked.set()
        raise OSError("away")

    async with chatting(program) as (_, socket):
        (handle,) = await adapter.find("ann")
        with monkeypatch.context() as outage:
            outage.setattr(adapter, "load", away_and_told)
            await asyncio.wait_for(asked.wait(), SECONDS)
            await socket.send_str("still here")
            assert await socket.receive_str() == "2: still here"
        await adapter.destroy(handle)
        message = await socket.receive(SECONDS)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, program.ENDED)


async def test_a_message_during_an_outage(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is closed with "try again later", and its session lives."""
    program = load("websockets.md")
    async with chatting(program) as (client, socket):
        with monkeypatch.context() as outage:
            outage.setattr(program.manager.adapter, "update", away)
            await socket.send_str("anybody?")
            message = await socket.receive(SECONDS)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.TRY_AGAIN_LATER)
        async with client.ws_connect("/chat") as again:
            await again.send_str("hello")
            assert await again.receive_str() == "2: hello"


async def test_nothing_is_left_of_a_socket(load: Load) -> None:
    """Nor of sessions that had none."""
    program = load("websockets.md")
    watcher = requests_of(program.manager).driver.watcher
    async with chatting(program) as (client, socket):
        assert len(watcher) == 1
        async with opened(client.server) as other:
            await other.post("/in")
            await other.post("/out")
            assert len(watcher) == 1
        await client.post("/out")
        await socket.receive(SECONDS)
    assert len(watcher) == 0
