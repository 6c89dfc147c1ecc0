"""A WebSocket that uses the session, and closes when the session has ended (CVE-2026-9162 is about those that stay)."""

from __future__ import annotations

from weakref import WeakSet

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from aiohttp_spry_session import SESSION, AdapterError, Session, SessionEndedError

from . import pages
from .keys import MESSAGES
from .settings import SETTINGS

__all__ = ["setup"]

MAX_MESSAGE_BYTES = 1024
SOCKETS: web.AppKey[WeakSet[web.WebSocketResponse]] = web.AppKey("sockets", WeakSet)


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
    request.app[SOCKETS].add(socket)
    try:
        if session.created_at is None:
            raise SessionEndedError("there is none")
        await converse(socket, session, request.app[SETTINGS].interval)
    except SessionEndedError as ended:
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=f"session: {ended.reason}".encode())
    except AdapterError:
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
    except ConnectionResetError:
        pass
    return socket


async def converse(socket: web.WebSocketResponse, session: Session, interval: float) -> None:
    """Answer until either side closes; raise ``SessionEndedError`` when the session has ended."""
    while not socket.closed:
        try:
            message = await socket.receive(timeout=interval)
        except TimeoutError:
            await session.reload()
            continue
        if message.type is WSMsgType.TEXT:
            # The increment runs in the store, so a session that has ended is noticed here too.
            count = await session.increment(MESSAGES)
            answer = {"text": message.data, "count": count, "account": session.owner}
            await socket.send_str(msgspec.json.encode(answer).decode())
        elif message.type is WSMsgType.BINARY:
            await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)


async def close_all(app: web.Application) -> None:
    """Close what is open when the server stops."""
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app[SOCKETS] = WeakSet()
    app.on_shutdown.append(close_all)
    app.router.add_get("/socket", show)
    app.router.add_get("/socket/ws", talk, allow_head=False)
