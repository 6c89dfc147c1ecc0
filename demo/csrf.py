"""Refusing requests that another site makes in the visitor's name (CSRF).

The session cookie is ``SameSite=Lax``, which keeps it away from most of them already. On top of that:

1. Browsers say where a request comes from in ``Sec-Fetch-Site`` (all of them since 2023, on HTTPS and on localhost);
   a page cannot set or change that header. Only ``same-origin`` and ``none`` (typed in, a bookmark) may change state.
   OWASP's cheat sheet accepts this as a complete defence, and Go's standard library ships it.
2. Without it, as in plain HTTP on a local network, the ``Origin`` that browsers send with every POST has to be ours.
3. With neither, the client is a very old browser or no browser. ``application/json`` is proof enough of the latter: a
   page cannot post that across sites unless this server allows it in a CORS preflight, which it never does. A form
   needs the token of this session.

So an ordinary browser never needs a token, and a visitor who only reads gets no session for the sake of one.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web

from aiohttp_spry_session import SESSION

from . import forms
from .keys import CSRF_TOKEN
from .settings import SETTINGS

__all__ = ["FIELD", "refuse_forged_requests", "token_for"]

FIELD = "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@web.middleware
async def refuse_forged_requests(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 403 to a request that changes state, or opens a WebSocket, and does not come from our own pages."""
    if request.method in SAFE_METHODS:
        # A WebSocket begins with a GET, and the same-origin policy does not hold for it.
        genuine = "Upgrade" not in request.headers or declares_our_origin(request) is not False
    else:
        genuine = await is_genuine(request)
    if not genuine:
        raise web.HTTPForbidden(text="This request did not come from a page of this shop. Load the page and try again.")
    return await handler(request)


async def token_for(request: web.Request) -> str | None:
    """Return the token that a form has to carry, for a browser that says nothing of where requests come from."""
    if "Sec-Fetch-Site" in request.headers:
        return None
    session = request[SESSION]
    token = await session.get(CSRF_TOKEN)
    if token is None:
        new = secrets.token_urlsafe(32)
        # Two pages at the same moment get one token: with `set` the form of one of them would be refused.
        token = await session.update(CSRF_TOKEN, lambda current: current or new)
    return token


async def is_genuine(request: web.Request) -> bool:
    """Whether a request that changes state was meant by whoever is in front of the browser."""
    declared = declares_our_origin(request)
    if declared is not None:
        return declared
    return request.content_type == "application/json" or await carries_token(request)


def declares_our_origin(request: web.Request) -> bool | None:
    """Whether the browser says that the request comes from our own pages; ``None`` where it says nothing."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin.lower() == f"{request.app[SETTINGS].scheme}://{request.host}".lower()
    return None


async def carries_token(request: web.Request) -> bool:
    """Whether the form carries this session's token."""
    expected = await request[SESSION].get(CSRF_TOKEN)
    sent = (await forms.fields(request)).get(FIELD, "")
    return expected is not None and hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode())
