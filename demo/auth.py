"""Who is asking."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from aiohttp_spry_session import SESSION

from .accounts import ACCOUNTS, Account
from .negotiation import wants_json
from .settings import SETTINGS

__all__ = ["current_account", "require_account", "require_fresh", "safe_next"]


async def current_account(request: web.Request) -> Account | None:
    """Return who is signed in."""
    session = request[SESSION]
    await session.load()
    return request.app[ACCOUNTS].get(session.owner)


async def require_account(request: web.Request) -> Account:
    """Return who is signed in; send everybody else to the sign-in page, or answer 401 to a program."""
    account = await current_account(request)
    if account is not None:
        return account
    raise come_back(request, "/sign-in", "Sign in first.")


async def require_fresh(request: web.Request) -> Account:
    """Return who gave their password a moment ago; ask everybody else who is signed in for it again."""
    account = await require_account(request)
    if request[SESSION].is_fresh(request.app[SETTINGS].fresh):
        return account
    raise come_back(request, "/confirm", "Confirm your password first.")


def come_back(request: web.Request, by: str, text: str) -> web.HTTPException:
    """Return what sends a browser to a form and then here again, and answers 401 to a program."""
    if wants_json(request):
        return web.HTTPUnauthorized(text=text)
    # What was posted is lost on the way, so only a page that was asked for is worth coming back to.
    wanted = request.path_qs if request.method == "GET" else "/"
    return web.HTTPSeeOther(f"{by}?" + urlencode({"next": wanted}))


def safe_next(target: str) -> str:
    """Return a path of this site to go on to, and the front page for anything else.

    Browsers take ``//host`` and ``/\\host`` for another site, and drop tabs and line breaks before they look.
    """
    printable = all("!" <= character <= "~" and character != "\\" for character in target)
    if not printable or not target.startswith("/") or target.startswith("//"):
        return "/"
    return target
