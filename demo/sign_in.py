"""Signing in and out: where a session's identifier has to change."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import forms, pages
from .accounts import DEMO_CREDENTIALS, Account
from .auth import current_account, safe_next
from .devices import ended_by_limit, this_device
from .flash import flash
from .keys import CSRF_TOKEN, Rotation
from .negotiation import json_response, wants_json
from .password import WRONG, check_password
from .rotation import note_rotation

__all__ = ["setup"]

KEPT = timedelta(days=30)
KEPT_AT_MOST = timedelta(days=90)


class Credentials(msgspec.Struct):
    """What the sign-in form sends; ``next`` is where to go afterwards."""

    name: str
    password: str
    next: str = "/"
    keep: bool = False
    """The box "keep me signed in"."""


async def show(request: web.Request) -> web.Response:
    """Show the form; whoever is signed in goes on."""
    target = safe_next(request.query.get("next", "/"))
    if await current_account(request) is not None:
        raise web.HTTPSeeOther(target)
    return await form(request, target)


async def sign_in(request: web.Request) -> web.Response:
    """Check name and password, and make the session the customer's."""
    credentials = await forms.read(request, Credentials)
    account = await check_password(request, credentials.name, credentials.password)
    if account is None:
        return await refused(request, credentials)
    rotation = await begin_signed_in(request, account, keep=credentials.keep)
    if wants_json(request):
        return json_response({"account": account.id, "handle_before": rotation.before, "handle": rotation.after})
    greeting = f"Hello, {account.name}. Your session has a new identifier."
    if ended_by_limit(request):
        greeting += " You were signed in on too many devices, so the oldest was signed out."
    await flash(request[SESSION], greeting)
    raise web.HTTPSeeOther(safe_next(credentials.next))


async def begin_signed_in(request: web.Request, account: Account, *, keep: bool) -> Rotation:
    """Give the session to an account, under a new identifier.

    What the visitor had chosen before stays. What another customer had does not: ``bind`` ends their session.
    """
    session = request[SESSION]
    await session.load()
    before = session.handle if session.owner in (None, account.id) else None
    await session.remove(CSRF_TOKEN)
    device = this_device(request)
    # An identifier that somebody knew, or planted, before the sign-in is worth nothing after it.
    if keep:
        await session.bind(
            account.id,
            level="password",
            device=device,
            expiration=KEPT,
            max_lifetime=KEPT_AT_MOST,
            persistent=True,
        )
    else:
        await session.bind(account.id, level="password", device=device)
    return await note_rotation(session, before, "signed in")


async def sign_out(request: web.Request) -> web.Response:
    """End the session in the store; deleting the cookie alone would leave it usable by whoever copied it."""
    await request[SESSION].destroy()
    return await pages.done(request, "You are signed out.", then="/")


async def refused(request: web.Request, credentials: Credentials) -> web.Response:
    """Say that it was wrong, not what was."""
    if wants_json(request):
        return json_response({"error": WRONG}, status=401)
    return await form(
        request,
        safe_next(credentials.next),
        name=credentials.name[:100],
        keep=credentials.keep,
        problem=WRONG,
        status=401,
    )


async def form(
    request: web.Request,
    target: str,
    *,
    name: str = "",
    keep: bool = False,
    problem: str | None = None,
    status: int = 200,
) -> web.Response:
    """Return the sign-in form."""
    data = {"next": target, "name": name, "keep": keep, "problem": problem}
    return await pages.respond(request, "sign_in.html", data, status=status, demo_credentials=DEMO_CREDENTIALS)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/sign-in", show)
    app.router.add_post("/sign-in", sign_in)
    app.router.add_post("/sign-out", sign_out)
