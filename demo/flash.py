"""Messages that are shown once, on the next page."""

from __future__ import annotations

from typing import Literal

from aiohttp_spry_session import Session

from .keys import FLASHES, Flash

__all__ = ["flash", "take_flashes"]

MAX_WAITING = 5


async def flash(session: Session, text: str, *, kind: Literal["done", "problem"] = "done") -> None:
    """Show a message on the next page that this visitor sees.

    ``update`` runs in the store, so that two requests at the same time lose no message.
    """
    await session.update(FLASHES, lambda waiting: [*waiting, Flash(text, kind)][-MAX_WAITING:])


async def take_flashes(session: Session) -> list[Flash]:
    """Return the messages that wait. Of two pages at the same time exactly one gets them."""
    # The look before the pop saves most pages a trip to the store: they have no message.
    return await session.pop(FLASHES) if await session.has(FLASHES) else []
