"""Your devices: every session of a customer, and ending the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION, SessionInfo

from . import pages
from .accounts import Account
from .assets import is_asset
from .auth import current_account, require_account
from .browsers import browser_name
from .keys import DEVICE, Device
from .settings import MANAGER

__all__ = ["limit_devices", "note_last_seen", "setup", "this_device"]

MAX_DEVICES = 20
SEEN_EVERY = timedelta(minutes=1)
ID_LENGTH = 12


async def show(request: web.Request) -> web.Response:
    """List the customer's sessions, the newest first."""
    account = await require_account(request)
    here = request[SESSION].handle
    found = await request.app[MANAGER].find(account.id)
    devices = [describe(info, here) for info in found]
    return await pages.respond(request, "devices.html", {"account": account.id, "devices": devices})


async def end(request: web.Request) -> web.Response:
    """End one of the customer's sessions, wherever it is signed in."""
    account = await require_account(request)
    manager = request.app[MANAGER]
    # Looked up among the customer's own: whoever learns of a handle cannot end somebody else's session with it.
    asked = request.match_info["id"]
    info = next((info for info in await manager.find(account.id) if device_id(info.handle) == asked), None)
    if info is None:
        raise web.HTTPNotFound
    if info.handle == request[SESSION].handle:
        await request[SESSION].destroy()
        return await pages.done(request, "You are signed out.", then="/")
    await manager.revoke(info.handle)
    return await pages.done(request, f"{device_of(info).browser} is signed out.", then="/devices")


async def end_others(request: web.Request) -> web.Response:
    """End all of the customer's sessions but this one."""
    account = await require_account(request)
    ended = await request.app[MANAGER].revoke_owner(account.id, keep=request[SESSION])
    text = "1 other device is signed out." if ended == 1 else f"{ended} other devices are signed out."
    return await pages.done(request, text, then="/devices")


async def limit_devices(request: web.Request, account: Account) -> None:
    """Keep an account from being signed in everywhere: past the limit the oldest sessions end."""
    manager = request.app[MANAGER]
    found = await manager.find(account.id)
    # All count in the same order, this one too: several sign-ins at once must not end each other.
    found.sort(key=lambda info: (info.created_at, info.handle), reverse=True)
    for info in found[MAX_DEVICES:]:
        await manager.revoke(info.handle)


def this_device(request: web.Request, now: datetime) -> Device:
    """Return what to remember of the browser that sent the request."""
    return Device(browser_name(request.headers.get("User-Agent", "")), now)


@web.middleware
async def note_last_seen(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Keep a signed-in session's last use, to the minute: exact times would cost a write for every request."""
    found = request.match_info.http_exception is None
    if found and not is_asset(request) and await current_account(request) is not None:
        session = request[SESSION]
        device = await session.get(DEVICE)
        now = datetime.now(UTC)
        if device is None or now - device.seen_at >= SEEN_EVERY:
            await session.set(DEVICE, this_device(request, now))
    return await handler(request)


def describe(info: SessionInfo, here: str) -> dict[str, Any]:
    """Return what a customer may know of one of their sessions."""
    return {
        "id": device_id(info.handle),
        "browser": device_of(info).browser,
        "signed_in_at": info.created_at,
        "seen_at": device_of(info).seen_at,
        "expires_at": info.expires_at,
        "bound_at": info.bound_at,
        "this_one": info.handle == here,
    }


def device_of(info: SessionInfo) -> Device:
    """Return where a session is used."""
    return msgspec.convert(info.values.get(DEVICE.name, UNKNOWN), Device)


def device_id(handle: str) -> str:
    """Return a name for a session among those of one customer: the beginning of its handle is plenty."""
    return handle[:ID_LENGTH]


UNKNOWN = {"browser": "An unknown browser", "seen_at": "1970-01-01T00:00:00Z"}


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/devices", show)
    app.router.add_post("/devices/{id:[0-9a-f]{12}}/end", end)
    app.router.add_post("/devices/end-others", end_others)
