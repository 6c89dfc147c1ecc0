"""Everything that the demo keeps in a session: one place to look it up, with its types."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from aiohttp_spry_session import SessionKey

__all__ = [
    "BASKET",
    "CSRF_TOKEN",
    "FLASHES",
    "MESSAGES",
    "PREFERENCES",
    "RACE",
    "ROTATION",
    "VISITS",
    "Currency",
    "Flash",
    "Preferences",
    "RaceResult",
    "Rotation",
    "Theme",
]

Theme = Literal["auto", "light", "dark"]
Currency = Literal["EUR", "GBP", "USD"]


class Flash(msgspec.Struct, frozen=True):
    """A message that is shown once, on the next page."""

    text: str
    kind: Literal["done", "problem"] = "done"


class Preferences(msgspec.Struct, frozen=True):
    """How the visitor likes the shop."""

    theme: Theme = "auto"
    currency: Currency = "EUR"


class RaceResult(msgspec.Struct, frozen=True):
    """The outcome of one run of the race lab."""

    requests: int
    counted: int
    distinct: int
    last_write_wins: int
    milliseconds: int


class Rotation(msgspec.Struct, frozen=True):
    """The last change of the session's identifier; handles are safe to keep and to show."""

    before: str | None
    after: str | None
    why: str
    at: datetime


VISITS = SessionKey("visits", int, default=0)
BASKET = SessionKey("basket", dict[str, int], default={})
PREFERENCES = SessionKey("preferences", Preferences, default=Preferences())
FLASHES = SessionKey("flashes", list[Flash], default=[])
CSRF_TOKEN = SessionKey("csrf_token", str)
ROTATION = SessionKey("rotation", Rotation)
MESSAGES = SessionKey("messages", int, default=0)
RACE = SessionKey("race", RaceResult)
