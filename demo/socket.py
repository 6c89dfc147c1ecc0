"""A WebSocket that uses the session, and is closed when the session ends (CVE-2026-9162 is about those that stay)."""

from __future__ import annotations

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from aiohttp_spry_session import SESSION, AdapterError, Session, SessionEndedError

from . import pages
from .keys import MESSAGES

__all__ = ["setup"]

MAX_MESSAGE_BYTES = 1024
ENDED = 4401


async def show(request: web.Request) -> web.Response:
    """Show the page that talks."""
    return await pages.respond(request, "socket.html", {"socket": "/socket/ws"})


async def talk(request: web.Request) -> web.WebSocketResponse:
    """Answer messages, each counted in the session."""
    socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=MAX_MESSAGE_BYTES)
    session = request[SESSION]
    await session.load()
    if not socket.can_prepare(request).ok:
        raise web.HTTPBadRequest(text="This address is for WebSockets.")
    await socket.prepare(request)
    try:
        async with session.alive(socket, code=ENDED):
            await converse(socket, session)
    except SessionEndedError as ended:  # a message came between the end and the close, or after a sign-in elsewhere
        await socket.close(code=ENDED, message=f"session {ended.reason}".encode())
    except AdapterError:
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
    except ConnectionResetError:
        pass
    return socket


async def converse(socket: web.WebSocketResponse, session: Session) -> None:
    """Answer until either side closes."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            count = await session.increment(MESSAGES)
            answer = {"text": message.data, "count": count, "account": session.owner}
            await socket.send_str(msgspec.json.encode(answer).decode())
        elif message.type is WSMsgType.BINARY:
            await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/socket", show)
    app.router.add_get("/socket/ws", talk, allow_head=False)
