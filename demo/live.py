"""What a live page shows: it lasts longer than a request, so it looks at the session again."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec
from aiohttp import web

from aiohttp_spry_session import Session

from .keys import BASKET, VISITS

__all__ = ["STOPPING", "Glimpse", "look", "setup"]

STOPPING = web.AppKey("stopping", asyncio.Event)


class Glimpse(msgspec.Struct, frozen=True):
    """What a live page shows of the session."""

    account: str | None
    visits: int
    basket: int
    expires_at: datetime | None


async def look(session: Session) -> Glimpse:
    """Return the session as it is now."""
    basket = await session.get(BASKET)
    return Glimpse(session.owner, await session.get(VISITS), sum(basket.values()), session.expires_at)


async def prepare(app: web.Application) -> None:
    """Make what tells live connections that the server stops."""
    app[STOPPING] = asyncio.Event()


async def stop(app: web.Application) -> None:
    """Let live connections end by themselves."""
    app[STOPPING].set()


def setup(app: web.Application) -> None:
    """Add start and stop."""
    app.on_startup.append(prepare)
    app.on_shutdown.append(stop)
