"""What a visitor likes: kept in the session, with or without an account."""

from __future__ import annotations

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import forms, pages
from .keys import PREFERENCES, Preferences

__all__ = ["setup"]


async def show(request: web.Request) -> web.Response:
    """Show the preferences."""
    preferences = await request[SESSION].get(PREFERENCES)
    return await pages.respond(request, "preferences.html", msgspec.structs.asdict(preferences))


async def save(request: web.Request) -> web.Response:
    """Keep the preferences: msgspec lets in only what :class:`Preferences` allows."""
    await request[SESSION].set(PREFERENCES, await forms.read(request, Preferences))
    return await pages.done(request, "Your preferences were saved.", then="/preferences")


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/preferences", show)
    app.router.add_post("/preferences", save)
