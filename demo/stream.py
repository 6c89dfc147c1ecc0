"""Server-sent events that follow the session."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION, AdapterError, Session, SessionEndedError

from . import pages
from .live import STOPPING, look
from .settings import SETTINGS

__all__ = ["setup"]


async def show(request: web.Request) -> web.Response:
    """Show the page that listens."""
    return await pages.respond(request, "stream.html", {"events": "/stream/events"})


async def events(request: web.Request) -> web.StreamResponse:
    """Send the session's state when it changes, and say so when it has ended."""
    session = request[SESSION]
    await session.load()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    try:
        if session.created_at is None:
            await send(response, "ended", {"reason": "there is none"})
            return response
        async with session.alive():
            await follow(request, session, response)
    except SessionEndedError as ended:
        await send(response, "ended", {"reason": ended.reason})
    except (ConnectionResetError, AdapterError):
        pass  # the browser left, or it will connect again and find the store back
    return response


async def follow(request: web.Request, session: Session, response: web.StreamResponse) -> None:
    """Send state when it has changed, until the server stops or the session ends."""
    stopping = request.app[STOPPING]
    sent = None
    while not stopping.is_set():
        state = await look(session)
        if state != sent:
            await send(response, "state", state)
            sent = state
        else:
            await response.write(b": still here\n\n")  # finds out that the browser left
        await wait(stopping, request.app[SETTINGS].interval)
        await session.reload()


async def send(response: web.StreamResponse, event: str, data: Any) -> None:
    """Send one event."""
    await response.write(b"event: " + event.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n")


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer than this."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/stream", show)
    app.router.add_get("/stream/events", events, allow_head=False)
