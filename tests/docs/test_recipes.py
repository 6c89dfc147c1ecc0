"""What the recipes of the how-to pages promise beyond their transcripts: in parallel, in an outage, after hours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
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

from .blocks import ROOT, read_blocks

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
        blocks = read_blocks(ROOT / "docs" / "how-to" / page)
        programs = [block for block in blocks if block.language == "python" and "web.run_app(" in block.text]
        program = ModuleType("recipe")
        exec(compile(programs[number].text, programs[number].place, "exec", dont_inherit=True), program.__dict__)
        return program

    return load


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


def look(program: ModuleType, monkeypatch: pytest.MonkeyPatch, *, together: bool) -> None:
    """Show each who asks a user's sessions in another order; ``together``: and nobody before all are there to ask."""
    find: Callable[[str], Awaitable[list[Any]]] = program.manager.find
    barrier = asyncio.Barrier(AT_ONCE)
    turns = count()

    async def shown(owner: str) -> list[Any]:
        if together:
            await barrier.wait()
        found = await find(owner)
        if together:
            await barrier.wait()  # nor may one end a session before all have looked
        turn = next(turns) % max(len(found), 1)
        return found[turn:] + found[:turn]

    monkeypatch.setattr(program.manager, "find", shown)


async def left(program: ModuleType, owner: str) -> int:
    """Return how many sessions the user has."""
    async with program.manager as manager:
        return len(await manager.adapter.find(owner))


@pytest.mark.parametrize("limit", [1, 3, AT_ONCE])
@pytest.mark.parametrize("together", [True, False])
async def test_exactly_the_limit_is_left(
    load: Load, limit: int, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any number of sign-ins at the same moment exactly so many sessions are left, each answered 200."""
    program = load("limit-sessions.md")
    program.LIMIT = limit
    look(program, monkeypatch, together=together)
    assert await sign_in_at_once(program) == [200] * AT_ONCE
    assert await left(program, "7") == limit


@pytest.mark.parametrize("together", [True, False])
async def test_never_more_than_the_limit(load: Load, together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one more is refused, many at the same moment do not slip past; those who were told 200 are signed in."""
    program = load("limit-sessions.md", 1)
    look(program, monkeypatch, together=together)
    statuses = await sign_in_at_once(program)
    admitted = await left(program, "8")
    assert admitted <= program.LIMIT
    assert statuses == [200] * admitted + [403] * (AT_ONCE - admitted)


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
