"""Pages for people, JSON for programs: the same addresses serve both."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

__all__ = ["json_response", "wants_json"]


def wants_json(request: web.Request) -> bool:
    """Whether the client is a program: a browser that wants a page says so, curl and the like take anything."""
    return "text/html" not in request.headers.get("Accept", "")


def json_response(data: Any, *, status: int = 200) -> web.Response:
    """Return data as JSON that people can read too."""
    body = msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
