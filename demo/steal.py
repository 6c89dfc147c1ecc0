"""Steal this session: the demo keeps a copy of your cookies, as a thief would, and shows what it is worth, and when.

The thief asks the demo over the network like anybody else, with the copied cookies and nothing besides. No page ever
shows them.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import ClientSession, TCPConnector, web
from yarl import URL

from . import pages
from .auth import current_account, require_account
from .binding import LEEWAY, LIFETIME, device_state
from .negotiation import json_response
from .settings import SETTINGS

__all__ = ["setup"]

MAX_COPIES = 100


@dataclass(frozen=True, slots=True)
class Copy:
    """What a thief has."""

    cookies: str
    taken_at: datetime


COPIES = web.AppKey("copies", dict[str, Copy])
"""By the account that they were taken from."""


async def show(request: web.Request) -> web.Response:
    """Show whether there is a copy, and whom the site takes its holder for at this moment."""
    account = await require_account(request)
    copy = request.app[COPIES].get(account.id)
    data = {
        "taken_at": None if copy is None else copy.taken_at,
        "seen_as": None if copy is None else await try_copy(request, copy),
        "device": device_state(request),
        "worth_seconds": int((LIFETIME + LEEWAY).total_seconds()),
    }
    return await pages.respond(request, "steal.html", data, https=request.app[SETTINGS].https)


async def take(request: web.Request) -> web.Response:
    """Copy the cookies that the browser sent."""
    account = await require_account(request)
    copies = request.app[COPIES]
    copies.pop(account.id, None)
    if len(copies) >= MAX_COPIES:
        copies.pop(next(iter(copies)))
    copies[account.id] = Copy(request.headers.get("Cookie", ""), datetime.now(UTC))
    return await pages.done(request, "Somebody has a copy of your cookies now.", then="/steal")


async def drop(request: web.Request) -> web.Response:
    """Throw the copy away."""
    account = await require_account(request)
    request.app[COPIES].pop(account.id, None)
    return await pages.done(request, "The copy is gone.", then="/steal")


async def whoami(request: web.Request) -> web.Response:
    """Tell a client whom it is taken for; reading starts nothing."""
    account = await current_account(request)
    return json_response({"account": None if account is None else account.name})


async def try_copy(request: web.Request, copy: Copy) -> str | None:
    """Return whom the site takes the copy's holder for."""
    url, context = _own_address(request)
    headers = {"Cookie": copy.cookies, "Accept": "application/json"}
    async with (
        ClientSession(connector=TCPConnector(ssl=context)) as client,
        client.get(url / "steal/whoami", headers=headers) as response,
    ):
        found: str | None = (await response.json())["account"]
        return found


def _own_address(request: web.Request) -> tuple[URL, ssl.SSLContext | bool]:
    """Return where this server listens, by the connection and not by what a client says, and whom it trusts there."""
    host, port = request.get_extra_info("sockname")[:2]
    certificates = request.app[SETTINGS].certificates
    if certificates is None:
        return URL.build(scheme="http", host=host, port=port), True
    return URL.build(scheme="https", host=host, port=port), ssl.create_default_context(cafile=certificates.authority)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app[COPIES] = {}
    app.router.add_get("/steal", show)
    app.router.add_post("/steal/take", take)
    app.router.add_post("/steal/drop", drop)
    app.router.add_get("/steal/whoami", whoami)
