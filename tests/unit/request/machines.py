"""State machines in each status, made without an event loop, and what can be said of one in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from msgspec.structs import replace

from aiohttp_spry_session import SessionError
from aiohttp_spry_session.codec import pack, unpack
from aiohttp_spry_session.identifiers import IdentifierSource, handle_of
from aiohttp_spry_session.policy import Policy
from aiohttp_spry_session.record import SessionRecord, retire
from aiohttp_spry_session.request.arrival import Sighting
from aiohttp_spry_session.request.plan import Change, extension
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.request.status import LostError, Status
from aiohttp_spry_session.request.steps import Create, Extend, Move, Step, Update

NOW = 1_000_000.0
LIFE = 1200.0
OLD, OTHER = "old", "other"

LIVE_RECORD = SessionRecord(pack({"n": b"1"}), 4, NOW - 100, NOW + LIFE - 100, "ada")
RETIRED_RECORD = retire(LIVE_RECORD, handle_of(OTHER), now=NOW)
CORRUPT_RECORD = SessionRecord(b"\xc1", 4, NOW - 100, NOW + LIFE - 100)


def policy(**options: Any) -> Policy:
    """The usual options, with others."""
    usual = {
        "expiration": LIFE,
        "max_lifetime": None,
        "rolling": False,
        "autostart": False,
        "persistent": True,
        "max_bytes": None,
    }
    return Policy(**{**usual, **options})


def identifiers() -> IdentifierSource:
    """New identifiers that a test can name: new1, new2, ..."""
    numbers = count(1)
    source = IdentifierSource(lambda: f"new{next(numbers)}", max_length=100)
    source.synchronous = True
    return source


def sighting(
    identifier: str = OLD, record: SessionRecord | None = LIVE_RECORD, *, leads_to: str | None = None
) -> Sighting:
    """What the store said of an identifier; ``leads_to`` is where rotations within their grace lead."""
    handle = handle_of(identifier)
    return Sighting(identifier, handle, handle if leads_to is None else handle_of(leads_to), record)


def fresh(presented: Sequence[str] = (OLD,), spares: Sequence[str] = (), **options: Any) -> SessionState:
    """The state of a request that presented something."""
    return SessionState.begin(policy(**options), identifiers(), presented, spares)


def machine(status: Status, **options: Any) -> SessionState:
    """A state in this status, as a request comes to it."""
    if status is Status.ABSENT:
        return fresh((), **options)
    state = fresh(**options)
    if status is Status.UNLOADED:
        return state
    state.arrive([sighting(record=RETIRED_RECORD if status is Status.RETIRED else LIVE_RECORD)], NOW)
    if status is Status.ENDED:
        state.lost("ended")
    state.news.clear()
    assert state.status is status
    return state


def bound(owner: str) -> Change:
    """What a sign-in makes of a record."""
    return lambda record, facts, now: (replace(record, owner=owner, created_at=now, expires_at=now + LIFE), facts)


def told(state: SessionState) -> str:
    """The state in a line: status, cookies, whether there is anything to commit, values, news."""
    parts = [state.status.name.lower()]
    if state.cookie.action.name != "KEEP":
        parts.append(state.cookie.action.name.lower())
    if state.cookie.spare_action.name != "KEEP":
        parts.append(f"next-{state.cookie.spare_action.name.lower()}")
    if state.has_changes or extension(state, NOW):
        parts.append("pending")
    parts.extend(f"{key}={value.decode()}" for key, value in sorted(state.view.values.items()))
    parts.extend(f"{news.name}:{news.reason}" for news in state.news)
    return " ".join(parts)


def told_step(step: Step | None) -> str:
    """A step in a line: what it is, on which handle, under which version, with what in it."""
    match step:
        case None:
            return "nothing"
        case Extend():
            return f"extend {_name(step.handle)} to {_span(step.expires_at)}: {step.extension}"
        case Create():
            return f"create {step.identifier} {_told_record(step.record)}: {step.reason}"
        case Update():
            return f"update {_name(step.handle)} {_told_record(step.record)}: {step.extension}"
        case Move():
            return f"move {_name(step.handle)} to {step.identifier} {_told_record(step.record)}: {step.reason}"


def outcome(act: Callable[[], object]) -> str:
    """What comes of it: nothing, a step in a line, or the exception and its reason."""
    try:
        result = act()
    except LostError as lost:
        return f"lost {lost.reason}"
    except SessionError as error:
        return type(error).__name__
    return told_step(result) if isinstance(result, Step) else "" if result is None else str(result)


def _told_record(record: SessionRecord) -> str:
    values = " ".join(f"{key}={value.decode()}" for key, value in sorted(unpack(record.payload).items()))
    return f"v{record.version} {record.owner or 'nobody'} {_span(record.expires_at)} {{{values}}}"


def _span(end: float | None) -> str:
    return "never" if end is None else f"+{end - NOW:g}"


def _name(handle: str) -> str:
    names = {handle_of(name): name for name in (OLD, OTHER, "new1", "new2")}
    return names[handle]
