"""What just happened: a page and a panel with a visitor's recent requests."""

from __future__ import annotations

import aiohttp_jinja2
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import pages
from .recorder import PANEL, RECORDER, Recorder, recent

__all__ = ["setup"]


async def show(request: web.Request) -> web.Response:
    """Show all that is recorded of this visitor."""
    await request[SESSION].load()
    return await pages.respond(request, "activity.html", {"requests": recent(request, limit=None)})


async def panel(request: web.Request) -> web.Response:
    """Return the panel alone, for the script that brings it up to date."""
    await request[SESSION].load()
    return aiohttp_jinja2.render_template("_requests.html", request, {"requests": recent(request)})


def setup(app: web.Application, recorder: Recorder) -> None:
    """Add the routes."""
    app[RECORDER] = recorder
    app.router.add_get("/activity", show)
    app.router.add_get(PANEL, panel)
