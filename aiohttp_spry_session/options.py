"""The options that adapters and managers share: how each is read and checked, and the limits as constants.

A wrong one is a ``ValueError`` that says what is allowed. Those of the cookie are checked in :mod:`.cookies`.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TypeVar

__all__ = [
    "MAX_LIFETIME_SECONDS",
    "read_flag",
    "read_lifetime",
    "read_max_bytes",
    "read_max_sessions",
    "read_rolling",
    "read_timeout",
    "read_when_full",
]

T = TypeVar("T")

MAX_LIFETIME_SECONDS = 400 * 24 * 60 * 60
"""Browsers keep no cookie for longer (RFC 6265bis, 5.5)."""


def read_lifetime(name: str, value: timedelta | float | None) -> float | None:
    """Return an option's lifetime in seconds; ``ValueError`` where it is not above zero and within 400 days."""
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_LIFETIME_SECONDS:
        raise ValueError(
            f"{name} must be a timedelta or a number of seconds above 0 and up to 400 days "
            f"({MAX_LIFETIME_SECONDS}), or None for no limit, not {value!r}"
        )
    return float(seconds)


def read_max_bytes(value: int | None) -> int | None:
    """Check the option ``max_bytes``."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"max_bytes must be a whole number above 0, or None for no limit, not {value!r}")
    return value


def read_max_sessions(value: int | None) -> int | None:
    """Check the option ``max_sessions``."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"max_sessions must be a whole number above 0, or None for no limit, not {value!r}")
    return value


def read_when_full(value: T) -> T:
    """Check the option ``when_full``."""
    if value not in ("end-oldest", "refuse"):
        raise ValueError(f"when_full must be 'end-oldest' or 'refuse', not {value!r}")
    return value


def read_flag(name: str, value: bool) -> bool:
    """Check an option that is switched on or off."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return value


def read_rolling(value: T) -> T:
    """Check the option ``rolling``."""
    if not isinstance(value, bool) and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise ValueError(
            "rolling must be True or False, or a plain function that gets the request and says whether it counts as "
            f"activity, not {'an async one' if callable(value) else repr(value)}"
        )
    return value


def read_timeout(value: timedelta | float | None) -> float | None:
    """Check the option ``timeout``; return it in seconds."""
    return read_lifetime("timeout", value)
