"""Rendering: what every page has in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import aiohttp_jinja2
import jinja2
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import csrf
from .assets import asset_url
from .auth import current_account
from .catalog import price
from .flash import flash, take_flashes
from .keys import BASKET, PREFERENCES
from .negotiation import json_response, wants_json
from .recorder import recent

__all__ = ["done", "respond", "setup"]


async def respond(
    request: web.Request, template: str, data: Mapping[str, Any], *, status: int = 200, **more: Any
) -> web.Response:
    """Return a page, or for a program the data behind it as JSON; ``more`` is for the page only."""
    if wants_json(request):
        return json_response(data, status=status)
    session = request[SESSION]
    context = {
        "customer": await current_account(request),
        "preferences": await session.get(PREFERENCES),
        "basket_count": sum((await session.get(BASKET)).values()),
        "csrf_token": await csrf.token_for(request),
        "flashes": await take_flashes(session),
        "recent": recent(request),
        "path": request.path,
        **data,
        **more,
    }
    return aiohttp_jinja2.render_template(template, request, context, status=status)


async def done(
    request: web.Request, text: str, *, then: str, kind: Literal["done", "problem"] = "done"
) -> web.Response:
    """Say that something was done, or why not: on the page that follows, or in JSON."""
    if wants_json(request):
        return json_response({"message": text}, status=200 if kind == "done" else 409)
    await flash(request[SESSION], text, kind=kind)
    raise web.HTTPSeeOther(then)


def moment(value: datetime) -> str:
    """Return a time for people."""
    return f"{value.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def remaining(value: datetime) -> str:
    """Return how long it is until a time."""
    minutes = max(0, round((value - datetime.now(UTC)).total_seconds() / 60))
    if minutes < 120:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"


def setup(app: web.Application) -> None:
    """Set the templates up."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("demo"),
        default_helpers=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=moment, remaining=remaining, price=price)
    environment.globals["asset"] = asset_url
    environment.globals["csrf_field"] = csrf.FIELD
