"""Streams and WebSockets at their edges."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType, WSServerHandshakeError

from .conftest import SECONDS, Visitor

ENDED = 4401


async def test_a_socket_without_a_session_closes(visitor: Visitor) -> None:
    """There is nothing to count in, and none is started."""
    socket = await visitor.socket()
    message = await socket.receive(timeout=SECONDS)
    assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, ENDED, "session ended")
    assert visitor.cookies() == {}


async def test_a_stream_without_a_session_ends(visitor: Visitor) -> None:
    """The one event says that there is none."""
    response = await visitor.get("/stream/events")
    assert await response.read() == b'event: ended\ndata: {"reason":"there is none"}\n\n'


async def test_a_socket_from_another_site_is_refused(visitor: Visitor) -> None:
    """The same-origin policy does not cover WebSockets, so the server has to."""
    await visitor.get("/")
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        with pytest.raises(WSServerHandshakeError) as refusal:
            await visitor.raw.ws_connect("/socket/ws", headers=headers)
        assert refusal.value.status == 403


async def test_a_socket_refuses_what_is_too_long_or_binary(visitor: Visitor) -> None:
    """Both close the socket; neither reaches the session."""
    await visitor.get("/")
    socket = await visitor.socket()
    await socket.send_bytes(b"\0")
    assert (await socket.receive(timeout=SECONDS)).data == WSCloseCode.UNSUPPORTED_DATA
    socket = await visitor.socket()
    await socket.send_str("x" * 5000)
    assert (await socket.receive(timeout=SECONDS)).data == WSCloseCode.MESSAGE_TOO_BIG
    assert "messages" not in (await visitor.data("/session"))["keys"]


async def test_a_page_is_no_socket(visitor: Visitor) -> None:
    """The socket's address answers a plain request with 400."""
    assert (await visitor.get("/socket/ws")).status == 400


async def test_a_socket_closes_when_the_store_fails(visitor: Visitor, adapter: Any) -> None:
    """Who sends then is asked to try again later, and nobody is signed out."""
    await visitor.sign_in()
    socket = await visitor.socket()
    await socket.send_str("one")
    assert (await socket.receive_json(timeout=SECONDS))["count"] == 1

    async def fail(operation: str) -> None:
        raise OSError("the store is gone")

    adapter.before = fail
    await socket.send_str("two")
    assert (await socket.receive(timeout=SECONDS)).data == WSCloseCode.TRY_AGAIN_LATER
    adapter.before = None
    assert (await visitor.get("/devices", json=True)).status == 200


async def test_stopping_closes_what_is_open(visitor: Visitor) -> None:
    """Neither a stream nor a WebSocket holds the server up."""
    await visitor.get("/")
    socket = await visitor.socket()
    stream = await visitor.get("/stream/events")
    assert await stream.content.readline() == b"event: state\n"
    await visitor.raw.server.app.shutdown()  # type: ignore[union-attr]
    assert (await socket.receive(timeout=SECONDS)).data == WSCloseCode.GOING_AWAY
    async with asyncio.timeout(SECONDS):
        await stream.read()
