"""How long a session lives, and when it lives on: arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from .options import MAX_LIFETIME_SECONDS
from .record import SessionRecord, latest

__all__ = ["Policy", "to_datetime"]


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Policy:
    """The options that decide on a session's life. Times are in Unix seconds, ``None`` is never."""

    expiration: float | None
    max_lifetime: float | None
    rolling: bool
    autostart: bool
    persistent: bool
    max_bytes: int | None

    def end(self, created_at: float, now: float) -> float | None:
        """When a session that is started or renewed now will end."""
        ends = []
        if self.expiration is not None:
            ends.append(now + self.expiration)
        if self.max_lifetime is not None:
            ends.append(created_at + self.max_lifetime)
        return min(ends, default=None)

    def renewed_end(self, record: SessionRecord, now: float) -> float | None:
        """When a renewed session will end: never earlier than before."""
        return latest(record.expires_at, self.end(record.created_at, now))

    def is_over(self, record: SessionRecord, now: float) -> bool:
        """Whether the session has come to either of its ends (ASVS 7.3.1, 7.3.2)."""
        if record.expires_at is not None and record.expires_at <= now:
            return True
        return self.max_lifetime is not None and record.created_at + self.max_lifetime <= now

    def last_end(self, record: SessionRecord) -> float | None:
        """When the session will end, at the latest, unless it is renewed."""
        ends = [] if record.expires_at is None else [record.expires_at]
        if self.max_lifetime is not None:
            ends.append(record.created_at + self.max_lifetime)
        return min(ends, default=None)

    def rolls(self, record: SessionRecord, now: float) -> bool:
        """Whether a use of the session now should renew it: past half of its lifetime, and it would gain from it."""
        if not self.rolling or self.expiration is None or record.expires_at is None:
            return False
        if record.expires_at - now >= self.expiration / 2:
            return False
        renewed = self.end(record.created_at, now)
        return renewed is None or renewed > record.expires_at

    def max_age(self, expires_at: float | None, now: float) -> int | None:
        """The cookie's ``Max-Age`` in seconds, within what browsers accept; ``None`` for a browser-session cookie."""
        if not self.persistent:
            return None
        if expires_at is None:
            return MAX_LIFETIME_SECONDS
        # In this order of arguments even a clock that went to infinity leaves a usable figure.
        return math.ceil(min(MAX_LIFETIME_SECONDS, max(1, expires_at - now)))


def to_datetime(seconds: float) -> datetime:
    """Return Unix seconds as an aware ``datetime``; past what that can hold (year 9999), its nearest end."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _LAST if seconds > 0 else _FIRST
