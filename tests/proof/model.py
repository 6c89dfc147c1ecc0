"""Sessions as plain objects: what DESIGN.md says, without a store, without concurrency, one request at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Values = dict[str, Any]
Cookie = Literal["keep", "new", "same", "expire"]

RETIRED_FOR = 60.0


@dataclass
class Live:
    """A session."""

    values: Values
    created_at: float
    ends_at: float
    owner: str | None = None


@dataclass
class Retired:
    """What is known of a rotated-away identifier."""

    successor: str
    grace_until: float
    ends_at: float


@dataclass
class Expected:
    """What the client must see."""

    status: int = 200
    cookie: Cookie = "keep"
    view: Values = field(default_factory=dict)
    result: Any = None


class Model:
    """All sessions, by their identifiers. ``now`` is moved by the test."""

    def __init__(self, now: float, *, life: float, max_lifetime: float | None, rolling: bool) -> None:
        self.now = now
        self.life = life
        self.max_lifetime = max_lifetime
        self.rolling = rolling
        self.entries: dict[str, Live | Retired] = {}

    def find(self, identifier: str | None) -> Live | Retired | None:
        """Return what an identifier is, as long as it is anything."""
        entry = self.entries.get(identifier or "")
        if entry is None or entry.ends_at <= self.now or (isinstance(entry, Live) and self.is_too_old(entry)):
            return None
        return entry

    def is_too_old(self, session: Live) -> bool:
        """Whether the absolute limit is reached."""
        return self.max_lifetime is not None and session.created_at + self.max_lifetime <= self.now

    def resolve(self, identifier: str | None) -> tuple[str, Live | Retired | None]:
        """Follow the rotations that are within their grace."""
        entry = self.find(identifier)
        while isinstance(entry, Retired) and entry.grace_until > self.now:
            identifier = entry.successor
            entry = self.find(identifier)
        return identifier or "", entry

    def end(self, identifier: str | None) -> bool:
        """End what an identifier leads to, whatever the grace; return whether anything lived."""
        ended = False
        while (entry := self.find(identifier)) is not None and identifier is not None:
            del self.entries[identifier]
            ended = isinstance(entry, Live)
            identifier = None if isinstance(entry, Live) else entry.successor
        return ended

    def owned(self, owner: str) -> dict[str, Live]:
        """Return an owner's sessions."""
        return {
            identifier: entry
            for identifier in self.entries
            if isinstance(entry := self.find(identifier), Live) and entry.owner == owner
        }

    def ends_at(self, created_at: float) -> float:
        """When a session that is started or renewed now ends."""
        end = self.now + self.life
        return end if self.max_lifetime is None else min(end, created_at + self.max_lifetime)

    def start(self, identifier: str, values: Values, owner: str | None = None) -> None:
        """Start a session."""
        self.entries[identifier] = Live(dict(values), self.now, self.ends_at(self.now), owner)

    def extend(self, session: Live) -> None:
        """Restart a session's expiration."""
        session.ends_at = max(session.ends_at, self.ends_at(session.created_at))

    def rolls(self, session: Live) -> bool:
        """Whether a use of the session now renews it."""
        late = session.ends_at - self.now < self.life / 2
        return self.rolling and late and self.ends_at(session.created_at) > session.ends_at

    def move(self, old: str, new: str, grace: float) -> Live:
        """Give a session a new identifier."""
        session = self.entries[old]
        assert isinstance(session, Live)
        self.entries[new] = session
        self.entries[old] = Retired(new, self.now + grace, self.now + max(RETIRED_FOR, grace))
        return session
