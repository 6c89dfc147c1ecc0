"""What is to be stored of a request's session, made of what the request knows: decided here, and sent by the driver.

A plan changes nothing stored and decides on no cookie, so that it can be made again on a newer state (promise 2).
"""

from __future__ import annotations

from collections.abc import Callable, Container

from msgspec.structs import replace

from ..facts import NO_FACTS, Facts, signed_in, used
from ..identifiers import handle_of
from ..record import SessionRecord, retire
from .state import SessionState
from .status import ABSENT, RETIRED, LostError
from .steps import Create, Extend, Extension, Move, Step, Update

__all__ = ["Change", "Compute", "amended", "extension", "is_use_due", "next_move", "next_step", "start", "touch"]

Compute = Callable[[dict[str, bytes]], dict[str, bytes]]
"""Makes new values of the newest ones."""

Change = Callable[[SessionRecord, Facts, float], tuple[SessionRecord, Facts]]
"""Makes new owner, times and facts of the newest record, at a time."""


def next_step(state: SessionState, now: float, compute: Compute | None = None, *, last: bool = False) -> Step | None:
    """Return what is to be stored: the changes, with what is computed from the newest values.

    The ``last`` commit takes a new end along; at a commit point before, its cookie would be decided too early
    (promise 5). ``None`` where there is nothing (promise 6).

    :raises LostError: where the session is over.
    :raises SessionTooLargeError: where it would be too large.
    """
    if state.status is ABSENT:
        return _first_step(state, now, compute)
    extends = extension(state, now) if (state.renewing or state.rolling) and (last or state.headers_sent) else None
    due = last and state.policy.track_use is not None and is_use_due(state, now)
    if compute is None and extends is None and not due and not state.has_changes:
        return None
    if state.status is RETIRED:
        # (promise 5) A plain write under a rotated-away identifier starts nothing: it is dropped, and told of.
        raise LostError("retired")
    place, view = state.current(now), state.view
    record = place.record
    end = record.expires_at if extends is None else state.policy.renewed_end(record, now, view.facts)
    if extends is not None and compute is None and not due and not view.changes:
        return Extend(place.handle, end, extends)
    values = view.values if compute is None else compute(view.values)
    facts = used(view.facts, record.created_at, now) if state.tracking else view.facts
    draft = SessionRecord(view.packed(values, facts), record.version + 1, record.created_at, end, record.owner)
    return Update(place.handle, draft, values, facts, view.sent(), extends)


def _first_step(state: SessionState, now: float, compute: Compute | None) -> Create | None:
    """Return the start of a session, unless there is nothing to keep in it (promise 6)."""
    values = state.view.values if compute is None else compute(state.view.values)
    if not values and not state.starting:
        state.view.clear()
        return None
    if compute is not None:
        state.check_cookie_possible()
    return start(state, now, values=values, reason="started")


def start(
    state: SessionState,
    now: float,
    *,
    reason: str,
    owner: str | None = None,
    facts: Facts = NO_FACTS,
    values: dict[str, bytes] | None = None,
) -> Create:
    """Return the start of a session, with what this request sees or with other values."""
    identifier = state.new_identifier()
    values = state.view.values if values is None else values
    facts = signed_in(facts, now)
    end = state.policy.end(now, now, facts)
    record = SessionRecord(state.view.packed(values, facts), 1, now, end, owner)
    return Create(identifier, handle_of(identifier), record, values, facts, state.view.sent(), reason)


def next_move(
    state: SessionState,
    now: float,
    identifier: str,
    *,
    reason: str,
    arrived_late: bool,
    grace: float = 0.0,
    change: Change | None = None,
) -> Move | None:
    """Return the session's way to a new identifier; ``None`` where a rotation by the clock was faster.

    :param arrived_late: whether the session was reached through a grace before this began.
    :param change: what becomes of owner, times and facts; they stay without it.
    :raises LostError: where the session is over, or another request rotated it first.
    """
    place, view = state.current(now), state.view
    if place.follows and not arrived_late:  # another request rotated it meanwhile
        if not grace:
            raise LostError("rotated")
        return None
    record, facts = place.record, used(view.facts, place.record.created_at, now)
    if change is not None:
        record, facts = change(record, facts, now)
    draft = replace(record, payload=view.packed(view.values, facts), version=record.version + 1)
    new = handle_of(identifier)
    retired = retire(draft, new, now=now, grace=grace)
    return Move(place.handle, identifier, new, draft, retired, view.values, facts, view.sent(), reason)


def touch(state: SessionState, now: float, in_doubt: Container[str]) -> Update:
    """Return a write that changes nothing but the version: what began before it cannot land any more.

    :param in_doubt: handles of what may have landed.
    :raises LostError: where the session is over, or one of them did land, though the identifier before leads there.
    """
    place, view = state.current(now), state.view
    if place.handle in in_doubt:
        raise LostError("rotated")
    draft = replace(place.record, version=place.record.version + 1)
    return Update(place.handle, draft, view.values, view.facts, view.sent(), None)


def amended(state: SessionState, now: float, change: Callable[[Facts], Facts]) -> Update:
    """Return a write that changes facts, and nothing else."""
    place, view = state.current(now), state.view
    facts = change(view.facts)
    record = place.record
    draft = replace(record, payload=view.packed(view.values, facts), version=record.version + 1)
    return Update(place.handle, draft, view.values, facts, view.sent(), None)


def extension(state: SessionState, now: float) -> Extension | None:
    """Return why the session's end is to move; ``None`` where it is not."""
    if state.renewing:
        return "renew"
    if (
        state.rolling
        and state.used
        and state.place is not None
        and state.policy.rolls(state.place.record, now, state.view.facts)
    ):
        return "rolling"
    return None


def is_use_due(state: SessionState, now: float) -> bool:
    """Whether the request's use of the session is to be stored for its own sake."""
    place = state.place
    return (
        state.tracking
        and state.used
        and place is not None
        and state.policy.is_use_due(state.view.facts, place.record.created_at, now)
    )
