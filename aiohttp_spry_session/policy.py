"""How long a session lives, and when it lives on: arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from msgspec import UNSET, UnsetType

from .codec import facts_of
from .facts import NO_FACTS, USE_SECONDS, Facts, last_used_at
from .options import MAX_LIFETIME_SECONDS
from .record import SessionRecord, latest

__all__ = ["Policy", "WhenFull", "to_datetime"]

WhenFull = Literal["end-oldest", "refuse"]
"""What happens to a ``bind`` of an owner who has ``max_sessions`` already."""


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
    track_use: float | None = None
    max_sessions: int | None = None
    when_full: WhenFull = "end-oldest"

    def end(self, created_at: float, now: float, facts: Facts = NO_FACTS) -> float | None:
        """When a session that is started or renewed now will end; its own lifetimes go before the options."""
        expiration = self.expiration if facts.expiration is UNSET else facts.expiration
        max_lifetime = self.max_lifetime if facts.max_lifetime is UNSET else facts.max_lifetime
        end = None if expiration is None else now + expiration
        if max_lifetime is not None:
            limit = created_at + max_lifetime
            end = limit if end is None else min(end, limit)
        return end

    def renewed_end(self, record: SessionRecord, now: float, facts: Facts = NO_FACTS) -> float | None:
        """When a renewed session will end: never earlier than before."""
        return latest(record.expires_at, self.end(record.created_at, now, facts))

    def is_over(self, record: SessionRecord, now: float) -> bool:
        """Whether the session has come to either of its ends (ASVS 7.3.1, 7.3.2).

        A ``max_lifetime`` that was lowered holds for sessions from before, but for those that have their own.
        """
        if record.expires_at is not None and record.expires_at <= now:
            return True
        if self.max_lifetime is None or record.created_at + self.max_lifetime > now:
            return False
        own = _own_limit(record)
        return own is UNSET or (own is not None and record.created_at + own <= now)

    def last_end(self, record: SessionRecord) -> float | None:
        """When the session will end, at the latest, unless it is renewed."""
        if self.max_lifetime is None or _own_limit(record) is not UNSET:
            return record.expires_at  # which does not pass its own limit
        limit = record.created_at + self.max_lifetime
        return limit if record.expires_at is None else min(limit, record.expires_at)

    def rolls(self, record: SessionRecord, now: float, facts: Facts = NO_FACTS) -> bool:
        """Whether a use of the session now should renew it: past half of its lifetime, and it would gain from it."""
        expiration = self.expiration if facts.expiration is UNSET else facts.expiration
        if not self.rolling or expiration is None or record.expires_at is None:
            return False
        if record.expires_at - now >= expiration / 2:
            return False
        renewed = self.end(record.created_at, now, facts)
        return renewed is None or renewed > record.expires_at

    def is_use_due(self, facts: Facts, created_at: float, now: float) -> bool:
        """Whether a use of the session now is to be stored, though nothing else is."""
        if self.track_use is None:
            return False
        return last_used_at(facts, created_at) + max(self.track_use, USE_SECONDS) <= now

    def max_age(self, record: SessionRecord, now: float) -> int | None:
        """The cookie's ``Max-Age`` in seconds, within what browsers accept; ``None`` for a browser-session cookie."""
        persistent = facts_of(record.payload, record.created_at).persistent
        if not (self.persistent if persistent is None else persistent):
            return None
        if record.expires_at is None:
            return MAX_LIFETIME_SECONDS
        # In this order of arguments even a clock that went to infinity leaves a usable figure.
        return math.ceil(min(MAX_LIFETIME_SECONDS, max(1, record.expires_at - now)))


def _own_limit(record: SessionRecord) -> float | UnsetType | None:
    """Return the ``max_lifetime`` of the session's own; ``UNSET`` also where the record is corrupt."""
    try:
        return facts_of(record.payload, record.created_at).max_lifetime
    except ValueError:
        return UNSET


def to_datetime(seconds: float) -> datetime:
    """Return Unix seconds as an aware ``datetime``; past what that can hold (year 9999), its nearest end."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _LAST if seconds > 0 else _FIRST
