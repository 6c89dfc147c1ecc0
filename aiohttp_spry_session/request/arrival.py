"""Which of the identifiers that a client presented counts: a decision, made of what the store said of each.

No identifier is adopted (promise 4): one that the store does not know, or that no cookie can hold, is passed over and
told of. Of those that it knows

- a live one counts;
- where a rotation within its grace leads one to the same session as another's own, its own identifier counts, in
  whatever order they came: that is the newer cookie;
- where they lead to different live sessions, none counts;
- a rotated-away one counts as such only where no live one is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from ..policy import Policy
from ..record import SessionRecord

__all__ = ["Arrival", "Place", "Rejection", "Sighting", "judge"]


class Place(Struct, frozen=True, gc=False):
    """Where a request's session is. Replaced as one: its parts change together."""

    identifier: str
    """What the client holds, or will be given."""
    handle: str
    """Where the record is. That of the identifier, unless the session is reached through a grace."""
    record: SessionRecord
    follows: bool = False
    """Whether it was reached through a rotated-away identifier that is within its grace."""

    def __repr__(self) -> str:
        return f"<Place {self.handle}>"  # (promise 10) never the identifier


class Sighting(Struct, frozen=True, gc=False):
    """What the store said of one presented identifier."""

    identifier: str
    asked: str
    """The identifier's own handle."""
    handle: str
    """Where rotations within their grace lead from there."""
    record: SessionRecord | None

    def __repr__(self) -> str:
        return f"<Sighting {self.asked}>"  # (promise 10) never the identifier


class Rejection(NamedTuple):
    """What is told of an identifier that does not count."""

    handle: str
    reason: str


class Arrival(Struct, frozen=True, gc=False):
    """What came of the presented identifiers."""

    place: Place | None
    known: Sequence[str]
    """Handles that the client presented and the store knew: what a ``destroy`` has to end."""
    retired: bool
    """Whether there is nothing but identifiers that were rotated away."""
    rejections: Sequence[Rejection]


def judge(sightings: Sequence[Sighting], policy: Policy, now: float) -> Arrival:
    """Decide which sighting counts (promise 4)."""
    found: Place | None = None
    known: list[str] = []
    rejections: list[Rejection] = []
    retired = ambiguous = False
    for sighting in sightings:
        asked, handle, record = sighting.asked, sighting.handle, sighting.record
        if record is None or (not record.retired and policy.is_over(record, now)):
            rejections.append(Rejection(asked, "unknown"))
            continue
        known.append(asked)
        if record.retired:
            retired = True
            rejections.append(Rejection(asked, "retired"))
        elif found is None or (found.handle == handle and asked == handle):
            found = Place(sighting.identifier, handle, record, handle != asked)
        elif found.handle != handle:
            ambiguous = True
    if ambiguous:
        rejections.append(Rejection(known[0], "ambiguous"))
        return Arrival(None, known, False, rejections)
    return Arrival(found, known, retired and found is None, rejections)
