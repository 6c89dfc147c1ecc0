"""What a session knows of itself, and its operations at the press of a button."""

from __future__ import annotations

from aiohttp import web

from aiohttp_spry_session import SESSION

from . import pages
from .keys import ROTATION
from .rotation import note_rotation

__all__ = ["setup"]


async def show(request: web.Request) -> web.Response:
    """Show the session's properties. None of them is secret: the identifier never leaves the cookie."""
    session = request[SESSION]
    await session.load()
    rotation = await session.get(ROTATION)
    data = {
        "account": session.owner,
        "handle": session.handle,
        "created_at": session.created_at,
        "last_used_at": session.last_used_at,
        "expires_at": session.expires_at,
        "authenticated_at": session.authenticated_at,
        "level": session.level,
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
    before = session.handle
    await session.rotate()
    await note_rotation(session, before, "rotated")
    return await pages.done(request, "The session has a new identifier; the old one is dead.", then="/session")


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/session", show)
    app.router.add_post("/session/renew", renew)
    app.router.add_post("/session/rotate", rotate)
