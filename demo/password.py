"""Checking a password, at the sign-in and whenever it is asked for again: one limit to guessing for both."""

from __future__ import annotations

from aiohttp import web

from .accounts import ACCOUNTS, Account
from .throttle import Throttle

__all__ = ["WRONG", "check_password", "setup"]

WRONG = "The name or the password is wrong."

THROTTLE = web.AppKey("throttle", Throttle)


async def check_password(request: web.Request, name: str, password: str) -> Account | None:
    """Return the account if the password is right; 429 after too many that were not."""
    throttle = request.app[THROTTLE]
    # Behind a proxy `remote` is the proxy's address, unless a middleware that trusts it puts the client's there.
    key = (request.remote, name[:100])
    if throttle.is_exhausted(key):
        raise web.HTTPTooManyRequests(text="Too many wrong passwords. Please wait five minutes.")
    account = await request.app[ACCOUNTS].verify(name, password)
    if account is None:
        throttle.record(key)
    else:
        throttle.forget(key)
    return account


def setup(app: web.Application) -> None:
    """Add the limit."""
    app[THROTTLE] = Throttle()
