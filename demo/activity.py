"""What just happened: a visitor's recent requests, as the recorder saw them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import aiohttp_jinja2
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import pages
from .recorder import PANEL, Entry, Recorder

__all__ = ["recent", "setup"]

RECORDER = web.AppKey("recorder", Recorder)
SHOWN_IN_PANEL = 5


async def show(request: web.Request) -> web.Response:
    """Show all that is recorded of this visitor."""
    await request[SESSION].load()
    return await pages.respond(request, "activity.html", {"requests": recent(request, limit=None)})


async def panel(request: web.Request) -> web.Response:
    """Return the panel alone, for the script that brings it up to date."""
    await request[SESSION].load()
    return aiohttp_jinja2.render_template("_requests.html", request, {"requests": recent(request)})


def recent(request: web.Request, *, limit: int | None = SHOWN_IN_PANEL) -> list[dict[str, Any]]:
    """Return this visitor's recent requests, the newest first; the session has to be loaded."""
    session = request[SESSION]
    if session.created_at is None:
        return []
    entries = request.app[RECORDER].of(session.handle)
    return [summary(list(alike)) for _, alike in groupby(entries, key=kind)][:limit]


def kind(entry: Entry) -> tuple[str, str, int]:
    """Return what requests have in common that are shown as one."""
    return entry.method, entry.path, entry.status


def summary(entries: list[Entry]) -> dict[str, Any]:
    """Return what is shown of requests that were alike."""
    newest = entries[0]
    calls = sum((entry.calls for entry in entries[1:]), newest.calls.copy())
    return {
        "method": newest.method,
        "path": newest.path,
        "status": newest.status,
        "times": len(entries),
        "at": datetime.fromtimestamp(newest.at, UTC),
        "store_calls": dict(calls),
        "set_cookie": [cookie for entry in entries for cookie in entry.cookies],
        "events": [event for entry in entries for event in entry.events],
    }


def setup(app: web.Application, recorder: Recorder) -> None:
    """Add the routes."""
    app[RECORDER] = recorder
    app.router.add_get("/activity", show)
    app.router.add_get(PANEL, panel)
