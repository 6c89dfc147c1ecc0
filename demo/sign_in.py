"""Signing in and out: where a session's identifier has to change."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION, Session

from . import forms, pages
from .accounts import ACCOUNTS, DEMO_CREDENTIALS, Account
from .auth import current_account, safe_next
from .devices import limit_devices, this_device
from .flash import flash
from .keys import CSRF_TOKEN, DEVICE, ROTATION, Rotation
from .negotiation import json_response, wants_json
from .throttle import Throttle

__all__ = ["setup"]

THROTTLE = web.AppKey("throttle", Throttle)


class Credentials(msgspec.Struct):
    """What the sign-in form sends; ``next`` is where to go afterwards."""

    name: str
    password: str
    next: str = "/"


async def show(request: web.Request) -> web.Response:
    """Show the form; whoever is signed in goes on."""
    target = safe_next(request.query.get("next", "/"))
    if await current_account(request) is not None:
        raise web.HTTPSeeOther(target)
    return await form(request, target)


async def sign_in(request: web.Request) -> web.Response:
    """Check name and password, and make the session the customer's."""
    credentials = await forms.read(request, Credentials)
    throttle = request.app[THROTTLE]
    # Behind a proxy `remote` is the proxy's address, unless a middleware that trusts it puts the client's there.
    key = (request.remote, credentials.name[:100])
    if throttle.is_exhausted(key):
        raise web.HTTPTooManyRequests(text="Too many wrong passwords. Please wait five minutes.")
    account = await request.app[ACCOUNTS].verify(credentials.name, credentials.password)
    if account is None:
        throttle.record(key)
        return await refused(request, credentials)
    throttle.forget(key)
    rotation = await begin_signed_in(request, account)
    if wants_json(request):
        return json_response({"account": account.id, "handle_before": rotation.before, "handle": rotation.after})
    await flash(request[SESSION], f"Hello, {account.name}. Your session has a new identifier.")
    raise web.HTTPSeeOther(safe_next(credentials.next))


async def begin_signed_in(request: web.Request, account: Account) -> Rotation:
    """Give the session to an account, under a new identifier; what the visitor had chosen before stays."""
    session = request[SESSION]
    await session.load()
    if session.owner not in (None, account.id):
        await session.destroy()  # one customer's basket is not the next one's
    before = current_handle(session)
    now = datetime.now(UTC)
    await session.set(DEVICE, this_device(request, now))
    await session.remove(CSRF_TOKEN)
    # An identifier that somebody knew, or planted, before the sign-in is worth nothing after it.
    await session.bind(account.id)
    rotation = Rotation(before, session.handle, "signed in", now)
    await session.set(ROTATION, rotation)
    await limit_devices(request, account)
    return rotation


async def sign_out(request: web.Request) -> web.Response:
    """End the session in the store; deleting the cookie alone would leave it usable by whoever copied it."""
    await request[SESSION].destroy()
    return await pages.done(request, "You are signed out.", then="/")


async def refused(request: web.Request, credentials: Credentials) -> web.Response:
    """Say that it was wrong, not what was."""
    problem = "The name or the password is wrong."
    if wants_json(request):
        return json_response({"error": problem}, status=401)
    return await form(request, safe_next(credentials.next), name=credentials.name[:100], problem=problem, status=401)


async def form(
    request: web.Request, target: str, *, name: str = "", problem: str | None = None, status: int = 200
) -> web.Response:
    """Return the sign-in form."""
    data = {"next": target, "name": name, "problem": problem}
    return await pages.respond(request, "sign_in.html", data, status=status, demo_credentials=DEMO_CREDENTIALS)


def current_handle(session: Session) -> str | None:
    """Return the handle of the session that the visitor came with."""
    return None if session.created_at is None else session.handle


def setup(app: web.Application) -> None:
    """Add the routes."""
    app[THROTTLE] = Throttle()
    app.router.add_get("/sign-in", show)
    app.router.add_post("/sign-in", sign_in)
    app.router.add_post("/sign-out", sign_out)
