"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """Stands in for ``time.time``: returns :attr:`now`, in Unix seconds, which only the test changes.

    Give it to :class:`~aiohttp_spry_session.SessionManager` as ``clock``, or to an adapter as its ``clock``.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, by: timedelta | float) -> None:
        """Move the clock on by a ``timedelta`` or by seconds."""
        self.now += by.total_seconds() if isinstance(by, timedelta) else by

    def __repr__(self) -> str:
        return f"FakeClock({self.now!r})"
