"""Asking for the password again, before a page that needs it to be fresh (step-up)."""

from __future__ import annotations

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import forms, pages
from .auth import require_account, safe_next
from .keys import CSRF_TOKEN
from .negotiation import json_response, wants_json
from .password import check_password
from .rotation import note_rotation
from .settings import SETTINGS

__all__ = ["setup"]

WRONG = "The password is wrong."


class Proof(msgspec.Struct):
    """What the form sends; ``next`` is where to go afterwards."""

    password: str
    next: str = "/"


async def show(request: web.Request) -> web.Response:
    """Show the form."""
    await require_account(request)
    return await form(request, safe_next(request.query.get("next", "/")))


async def confirm(request: web.Request) -> web.Response:
    """Check the password, and take note of it: the same session, under a new identifier, and as long as before."""
    account = await require_account(request)
    proof = await forms.read(request, Proof)
    if await check_password(request, account.id, proof.password) is None:
        return await refused(request, proof)
    session = request[SESSION]
    before = session.handle
    await session.remove(CSRF_TOKEN)
    await session.confirm("password")
    rotation = await note_rotation(session, before, "confirmed")
    if wants_json(request):
        return json_response({"account": account.id, "handle_before": rotation.before, "handle": rotation.after})
    raise web.HTTPSeeOther(safe_next(proof.next))


async def refused(request: web.Request, proof: Proof) -> web.Response:
    """Say that it was wrong; the session goes on as it was."""
    if wants_json(request):
        return json_response({"error": WRONG}, status=401)
    return await form(request, safe_next(proof.next), problem=WRONG, status=401)


async def form(request: web.Request, target: str, *, problem: str | None = None, status: int = 200) -> web.Response:
    """Return the form; how long the answer holds is shown with it."""
    data = {
        "next": target,
        "problem": problem,
        "authenticated_at": request[SESSION].authenticated_at,
        "seconds": request.app[SETTINGS].fresh.total_seconds(),
    }
    return await pages.respond(request, "confirm.html", data, status=status)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/confirm", show)
    app.router.add_post("/confirm", confirm)
