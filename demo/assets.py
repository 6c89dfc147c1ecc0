"""Style sheet, scripts and icon: served with their version in the address, so that browsers keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from aiohttp import web

__all__ = ["asset_url", "is_asset", "setup"]

FOLDER = Path(__file__).parent / "static"
PREFIX = "/static/"
ICON = "/favicon.ico"


@cache
def asset_url(name: str) -> str:
    """Return the address of a file, with a version that changes when its content does."""
    return f"{PREFIX}{name}?v={hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}"


def is_asset(request: web.Request) -> bool:
    """Whether the request is for such a file."""
    return request.path.startswith(PREFIX) or request.path == ICON


async def keep_assets(request: web.Request, response: web.StreamResponse) -> None:
    """Let browsers keep what cannot change under its address."""
    if is_asset(request):
        kept = response.status in (200, 304)
        versioned = "v" in request.query
        policy = "public, max-age=31536000, immutable" if versioned else "public, max-age=3600"
        response.headers["Cache-Control"] = policy if kept else "no-store"


async def icon(request: web.Request) -> web.FileResponse:
    """Answer browsers that ask for the icon at its old place."""
    return web.FileResponse(FOLDER / "icon.svg")


def setup(app: web.Application) -> None:
    """Serve the files."""
    app.router.add_get(ICON, icon)
    app.router.add_static(PREFIX, FOLDER)
    app.on_response_prepare.append(keep_assets)
