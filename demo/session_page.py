"""What a session knows of itself, and its operations at the press of a button."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from aiohttp_spry_session import SESSION

from . import pages
from .keys import ROTATION, Rotation

__all__ = ["setup"]


async def show(request: web.Request) -> web.Response:
    """Show the session's properties. None of them is secret: the identifier never leaves the cookie."""
    session = request[SESSION]
    await session.load()
    stored = session.created_at is not None
    rotation = await session.get(ROTATION)
    data = {
        "account": session.owner,
        "handle": session.handle if stored else None,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "keys": sorted(await session.keys()),
        "rotation": rotation,
    }
    return await pages.respond(request, "session.html", data)


async def renew(request: web.Request) -> web.Response:
    """Restart the expiration."""
    await request[SESSION].renew()
    return await pages.done(request, "The session's time starts anew, and its cookie was sent again.", then="/session")


async def rotate(request: web.Request) -> web.Response:
    """Change the identifier; everything else stays."""
    session = request[SESSION]
    await session.load()
    before = None if session.created_at is None else session.handle
    await session.rotate()
    await session.set(ROTATION, Rotation(before, session.handle, "rotated", datetime.now(UTC)))
    return await pages.done(request, "The session has a new identifier; the old one is dead.", then="/session")


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/session", show)
    app.router.add_post("/session/renew", renew)
    app.router.add_post("/session/rotate", rotate)
