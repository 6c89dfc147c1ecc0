"""Your vouchers: codes as good as money, shown only to who gave the password a moment ago."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from . import pages
from .auth import require_fresh

__all__ = ["setup"]


@dataclass(frozen=True, slots=True)
class Voucher:
    """A code, and what it is worth in hundredths of a euro."""

    code: str
    worth: int


VOUCHERS = {
    "ada": (Voucher("TEA-7QKX-1843", 2500), Voucher("TEA-M2RD-1815", 1000)),
    "grace": (Voucher("TEA-9HCB-1906", 4000),),
}


async def show(request: web.Request) -> web.Response:
    """Show the codes."""
    account = await require_fresh(request)
    vouchers = VOUCHERS.get(account.id, ())
    return await pages.respond(request, "vouchers.html", {"account": account.id, "vouchers": vouchers})


def setup(app: web.Application) -> None:
    """Add the route."""
    app.router.add_get("/vouchers", show)
