"""Your devices: every session of a customer, and ending the others."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from aiohttp_spry_session import SESSION, SessionEvent, SessionInfo

from . import pages
from .auth import require_account
from .browsers import browser_name
from .settings import MANAGER

__all__ = ["ended_by_limit", "setup", "this_device"]

ID_LENGTH = 12
UNKNOWN = "An unknown browser"

ENDED = web.RequestKey("ended", bool)


async def show(request: web.Request) -> web.Response:
    """List the customer's sessions, the newest first."""
    account = await require_account(request)
    here = request[SESSION].handle
    manager = request.app[MANAGER]
    devices = [describe(info, here) for info in await manager.find(account.id)]
    data = {"account": account.id, "limit": manager.max_sessions, "devices": devices}
    return await pages.respond(request, "devices.html", data)


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
    return await pages.done(request, f"{browser_of(info)} is signed out.", then="/devices")


async def end_others(request: web.Request) -> web.Response:
    """End all of the customer's sessions but this one."""
    account = await require_account(request)
    ended = await request.app[MANAGER].revoke_owner(account.id, keep=request[SESSION])
    text = "1 other device is signed out." if ended == 1 else f"{ended} other devices are signed out."
    return await pages.done(request, text, then="/devices")


def this_device(request: web.Request) -> dict[str, str]:
    """Return what the session should know of the browser that signs in: what to call it, and no address."""
    return {"browser": browser_name(request.headers.get("User-Agent", ""))}


async def note_limit(event: SessionEvent) -> None:
    """Take note that a sign-in was one too many, and that another device paid for it."""
    if event.reason == "limit" and event.request is not None:
        event.request[ENDED] = True


def ended_by_limit(request: web.Request) -> bool:
    """Whether the sign-in in this request ended the session of another device."""
    return ENDED in request


def describe(info: SessionInfo, here: str | None) -> dict[str, Any]:
    """Return what a customer may know of one of their sessions."""
    return {
        "id": device_id(info.handle),
        "browser": browser_of(info),
        "first_used_at": info.created_at,
        "last_used_at": info.last_used_at,
        "authenticated_at": info.authenticated_at,
        "expires_at": info.expires_at,
        "bound_at": info.bound_at,
        "this_one": info.handle == here,
    }


def browser_of(info: SessionInfo) -> str:
    """Return what to call the browser that a session is used in."""
    return (info.device or {}).get("browser", UNKNOWN)


def device_id(handle: str) -> str:
    """Return a name for a session among those of one customer: the beginning of its handle is plenty."""
    return handle[:ID_LENGTH]


def setup(app: web.Application) -> None:
    """Add the routes."""
    app[MANAGER].on_destroyed.append(note_limit)
    app.router.add_get("/devices", show)
    app.router.add_post("/devices/{id:[0-9a-f]{12}}/end", end)
    app.router.add_post("/devices/end-others", end_others)
