"""Remembering the last change of identifier, for the page that shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp_spry_session import Session

from .keys import ROTATION, Rotation

__all__ = ["note_rotation"]


async def note_rotation(session: Session, before: str | None, why: str) -> Rotation:
    """Keep, in the session itself, from which handle to which it went."""
    rotation = Rotation(before, session.handle, why, datetime.now(UTC))
    await session.set(ROTATION, rotation)
    return rotation
