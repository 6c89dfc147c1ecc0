"""The words of the state machine: whether there is a session, what the response does to a cookie, what is told."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from ..events import EventName

__all__ = ["ABSENT", "KEEP", "LIVE", "RETIRED", "UNLOADED", "CookieAction", "LostError", "News", "Status"]


class Status(Enum):
    """Whether there is a session."""

    UNLOADED = auto()
    """The client presented an identifier, and the store was not asked yet."""
    ABSENT = auto()
    """There is none: reads are empty, and the first write starts one."""
    LIVE = auto()
    """There is one in the store."""
    RETIRED = auto()
    """The client presented a rotated-away identifier: reads are empty, and a plain write starts nothing."""
    ENDED = auto()
    """It ended while this request used it, or this request may not have it."""


class CookieAction(Enum):
    """What the response does to one of the client's cookies."""

    KEEP = auto()
    SEND = auto()
    EXPIRE = auto()


# A member of an enumeration is slow to look up, up to Python 3.11.
ABSENT, LIVE, RETIRED, UNLOADED = Status.ABSENT, Status.LIVE, Status.RETIRED, Status.UNLOADED
KEEP = CookieAction.KEEP


class LostError(Exception):
    """The session is no longer there. Never leaves the package: it becomes a ``SessionEndedError``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class News(NamedTuple):
    """What a signal is to tell, once the request's turn is over."""

    name: EventName
    handle: str
    owner: str | None
    reason: str
    previous: str | None = None
