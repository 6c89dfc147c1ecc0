"""What the application is started with, and the keys under which its parts find each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from aiohttp_spry_session import SessionAdapter, SessionManager

if TYPE_CHECKING:
    from .certificates import Certificates

__all__ = ["MANAGER", "SETTINGS", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one running demo."""

    adapter: SessionAdapter
    https: bool = False
    """Whether browsers reach it over HTTPS."""
    certificates: Certificates | None = None
    """Of this machine, where no proxy ends TLS."""
    clock: Callable[[], float] = time.time
    """Returns Unix seconds."""
    interval: float = 1.0
    """Seconds between two looks at the session in a stream or a WebSocket."""
    fresh: timedelta = timedelta(minutes=1)
    """How long a password opens the pages that ask for it again; short, so that a visitor gets to see it."""
    max_devices: int = 5
    """On how many devices a customer may be signed in."""

    @property
    def scheme(self) -> str:
        """The scheme that the browser sees."""
        return "https" if self.https else "http"


SETTINGS = web.AppKey("settings", Settings)
MANAGER = web.AppKey("manager", SessionManager)
