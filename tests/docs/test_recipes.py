"""What the recipes of the how-to pages promise beyond their transcripts: in parallel, in an outage, after hours."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_session.cookie_storage import EncryptedCookieStorage

from aiohttp_spry_session import get_session
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing import start_session

from .conftest import AT_ONCE, Load, blocks_of, opened

SECONDS = 30.0
"""When to give up on what should have come; nothing waits for it to pass."""


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


async def test_visitors_of_aiohttp_session_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the lines of the page: a cookie of the old storage signs its user in, as the owner of the session."""
    monkeypatch.chdir(tmp_path)
    page = blocks_of("from-aiohttp-session.md")
    program: dict[str, Any] = {}
    exec(compile(next(block.text for block in page if block.language == "python"), "page", "exec"), program)
    app, manager = program["app"], program["manager"]

    async def who(request: web.Request) -> web.Response:
        session = get_session(request)
        return web.json_response([await session.get("user_id"), session.owner])

    app.router.add_get("/", who)
    data = {"created": int(time.time()), "session": {"user_id": 7}}
    old = EncryptedCookieStorage(program["key"])._fernet.encrypt(json.dumps(data).encode()).decode()
    async with TestServer(app) as server, opened(server) as client:
        async with client.get("/", headers={"Cookie": f"AIOHTTP_SESSION={old}"}) as response:
            assert await response.json() == [7, "7"]
        async with client.get("/") as response:
            assert await response.json() == [7, "7"]
        assert len(await manager.find("7")) == 1
