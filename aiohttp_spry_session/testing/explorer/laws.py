"""The laws that hold in whatever order the store carries calls out: promises 1 to 5 of the design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...events import SessionEvent
from ...identifiers import handle_of
from ...policy import WhenFull
from ...record import RETIRED_SECONDS
from .gate import Call
from .operations import CANARY, Kind, Operation, Values
from .story import BrokenLawError, Story

__all__ = ["Answer", "History", "check"]


@dataclass
class Answer:
    """How one actor fared."""

    actor: str
    operation: Operation
    began: float
    presented: str
    status: int = 200
    result: Any = None
    cookie: str | None = None
    """The identifier that the response sets; empty where it removes the cookie."""
    left: int = 0
    """How many store calls had come back when its headers left."""
    spare: str | None = None
    """The identifier that is set beside the cookie, while nobody knows which counts; empty where it is removed."""
    doubted: str | None = None
    """The one that its first response set so, if a rotation's answer was lost."""
    came_again: bool = False
    """Whether it was answered 503 for that, and came again."""
    events: list[SessionEvent] = field(default_factory=list)

    def was_told(self, *reasons: str) -> bool:
        """Whether a signal gave one of these reasons to reject what the actor presented or changed."""
        return any(event.name == "rejected" and (not reasons or event.reason in reasons) for event in self.events)


@dataclass
class History:
    """What there is to see of one schedule when it is over."""

    setup: Operation
    presented: str
    """The identifier in the browser."""
    life: float
    began: float
    now: float
    answers: Mapping[str, Answer]
    calls: list[Call]
    stored: Mapping[str, Values | None]
    """The values of the live record under each handle that was ever written, or ``None``."""
    probes: Mapping[str, Any]
    """What a last request reads of the canary, by the identifier that it presents."""
    elsewhere: Mapping[str, Any] = field(default_factory=dict)
    """The same, in another process, whose clock differs."""
    skew: float = 0.0
    """By how many seconds."""
    max_sessions: int | None = None
    """How many sessions the managers allow an owner."""
    when_full: WhenFull = "end-oldest"
    """What they do where that is not enough."""

    @property
    def rolling(self) -> bool:
        """Whether the managers renew by themselves."""
        return any(answer.operation.rolling for answer in self.answers.values())

    @property
    def is_ended(self) -> bool:
        """Whether anybody may have ended a session, or time has."""
        return self.is_late or any(answer.operation.ends or answer.operation.counts for answer in self.answers.values())

    def is_limited(self, answer: Answer) -> bool:
        """Whether an actor signed in where that may be too much."""
        return self.max_sessions is not None and answer.operation.binds

    @property
    def is_late(self) -> bool:
        """Whether time passed."""
        return any(answer.operation.kind is Kind.CLOCK for answer in self.answers.values())

    @property
    def has_forgotten(self) -> bool:
        """Whether so much time passed that the way from a rotated-away identifier to the session is lost."""
        return self.is_late and any(call.method == "rotate" for call in self.calls)


def check(history: History) -> None:
    """Raise :class:`BrokenLawError` where a history breaks a law."""
    story = Story(history.life, rolling=history.rolling)
    story.enter("", history.setup, history.began)
    for answer in history.answers.values():
        story.enter(answer.actor, answer.operation, answer.began)
    alive: dict[str, bool] = {}
    for position, call in enumerate(history.calls, start=1):
        story.take(call)
        for answer in history.answers.values():
            if answer.left == position:
                alive[answer.actor] = _leads(answer, story, history)
    if abs(history.skew) >= RETIRED_SECONDS:
        _check_old_identifiers(history, story)
        return
    for answer in history.answers.values():
        _check_status(answer, history)
        _check_doubt(answer, history)
        _check_acknowledged(answer, story, history)
        _check_cookie(answer, story, history, alive.get(answer.actor, True))
        _check_rotation(answer, story)
    _check_limit(history, story)
    _check_canary(history, story)
    _check_stored(history, story)
    _check_probes(history, story)
    _check_browser(history, story)
    _check_sockets(history, story)


def _check_status(answer: Answer, history: History) -> None:
    may_fail = answer.operation.atomic or history.is_limited(answer)
    if answer.status != 200 and not (answer.status == 409 and may_fail):
        raise BrokenLawError("no needless failure", f"{answer.actor} was answered {answer.status}")


def _check_acknowledged(answer: Answer, story: Story, history: History) -> None:
    """What was answered with success is in the store, whole, or it was told that it is not."""
    part, operation, name = story.actors[answer.actor], answer.operation, answer.actor
    if answer.status == 409:
        if part.landed and not history.is_limited(answer):
            raise BrokenLawError("all or nothing", f"{name} was answered 409, and its {part.landed[-1].method} landed")
        return
    if operation.changes and not operation.ends and not part.landed and not answer.was_told():
        raise BrokenLawError("no lost update", f"{name}'s change was acknowledged and dropped, and nobody was told")
    if operation.counts:
        return
    if part.landed:
        expected = [part.result]
    else:
        expected = [operation.apply(dict(seen), name) for seen in part.looks if _leaves(operation, seen, name)]
        expected += [None] if answer.was_told() else []
    if operation.lost and answer.was_told():
        expected.append(None)  # the second request came too late for a session that others ended or moved on
    if answer.result not in expected:
        raise BrokenLawError("no lost update", f"{name} returned {answer.result!r}, and could return {expected!r}")


def _leaves(operation: Operation, values: Values, actor: str) -> bool:
    """Whether the operation would change nothing."""
    after = dict(values)
    operation.apply(after, actor)
    return after == values


def _written(answer: Answer, story: Story, history: History) -> str | None:
    """Return the handle that the response's cookie should have."""
    wrote = None
    for call in story.actors[answer.actor].landed:
        if call.method == "create":
            wrote = call.handle
        elif call.method == "rotate":
            wrote = call.new
        elif (answer.operation.extends or history.rolling) and call.handle == handle_of(answer.presented):
            wrote = call.handle
    return wrote


def _check_cookie(answer: Answer, story: Story, history: History, leads: bool) -> None:
    """Only who starts, renews, rotates or destroys a session writes its cookie, and then does; unless it moved on."""
    part, operation, name = story.actors[answer.actor], answer.operation, answer.actor
    if answer.cookie == "":
        if not operation.ends:
            raise BrokenLawError("no clobbered cookie", f"{name}'s response removes the cookie")
        return
    wrote = _written(answer, story, history)
    sent = None if answer.cookie is None else handle_of(answer.cookie)
    if sent is not None and not part.landed:
        raise BrokenLawError("no clobbered cookie", f"{name}'s response carries a cookie, and it wrote nothing")
    if sent is not None and not leads:
        raise BrokenLawError("no clobbered cookie", f"{name}'s response carries a cookie that leads nowhere any more")
    if sent != wrote and not (sent is None and (history.rolling or not leads or history.is_late)):
        raise BrokenLawError("no clobbered cookie", f"{name}'s response carries the cookie of {sent} and not {wrote}")


def _leads(answer: Answer, story: Story, history: History) -> bool:
    """Whether, at this moment, the cookie that a response should carry is that of a session which is still there."""
    cell = story.cells.get(_written(answer, story, history) or "")
    return cell is None or cell.live


def _check_doubt(answer: Answer, history: History) -> None:
    """A rotation whose answer was lost logs nobody out: the next request settles it, and goes on with the session."""
    if not answer.operation.lost:
        return
    if answer.doubted and answer.spare != "":
        raise BrokenLawError("an outage logs nobody out", f"{answer.actor}'s spare cookie stays")
    disturbed = history.is_late or any(
        other is not answer and (other.operation.moves or other.operation.ends) for other in history.answers.values()
    )
    if answer.came_again and answer.result is None and not disturbed:
        raise BrokenLawError("an outage logs nobody out", f"{answer.actor} is logged out by the answer that was lost")


def _check_old_identifiers(history: History, story: Story) -> None:
    """However the clocks differ: what was rotated away without a grace never leads in."""
    for probes in (history.probes, history.elsewhere):
        for identifier, read in probes.items():
            cell = story.cells.get(handle_of(identifier))
            while cell is not None and not cell.live and cell.successor and cell.graced:
                cell = story.cells.get(cell.successor)
            if read is not None and (cell is None or not cell.live):
                raise BrokenLawError("no resurrection", f"a last request read {read!r}")


def _check_rotation(answer: Answer, story: Story) -> None:
    """Rotating by the clock changes nothing for who came under what was rotated so."""
    own = handle_of(answer.presented)
    if answer.operation.grace and any(
        call.method == "rotate" and call.handle != own for call in story.actors[answer.actor].landed
    ):
        raise BrokenLawError("one successor", f"{answer.actor} rotated what had just been rotated by the clock")


def _check_stored(history: History, story: Story) -> None:
    """The store holds what the operations add up to, in the order in which it took them."""
    for handle, cell in story.cells.items():
        stored = history.stored.get(handle)
        expected = cell.values if cell.live and cell.ends_at > history.now else None
        if stored != expected:
            revived = stored is not None and CANARY in stored and CANARY not in (expected or {})
            law = "no resurrection" if revived else "no lost update"
            raise BrokenLawError(law, f"the store holds {stored!r} under {handle}, and not {expected!r}")


def _check_limit(history: History, story: Story) -> None:
    """An owner has no more sessions than allowed; the oldest end, but no more of them; who is refused owns none."""
    if history.max_sessions is None or not any(map(history.is_limited, history.answers.values())):
        return
    ends, most = history.when_full == "end-oldest", history.max_sessions
    for answer in history.answers.values():
        landed = story.actors[answer.actor].landed
        if answer.status == 409 and history.is_limited(answer) and (landed or ends):
            cell = story.cells[landed[-1].new or landed[-1].handle] if landed else None
            if cell is None or (cell.live and (ends or cell.owner is not None)):
                raise BrokenLawError("no needless failure", f"{answer.actor} was answered 409, and is signed in")
    owned = [cell for cell in story.cells.values() if cell.live and cell.owner and cell.ends_at > history.now]
    if len(owned) > most:
        raise BrokenLawError("no session too many", f"the owner has {len(owned)} sessions, of {most} that are allowed")
    kept = min(most, len({cell.origin for cell in story.cells.values() if cell.owner}))
    if ends and len(owned) < kept and not history.is_ended:
        raise BrokenLawError("no session too few", f"the owner is left {len(owned)} sessions, of {kept}")


def _check_canary(history: History, story: Story) -> None:
    """Of a session there is exactly one, wherever it was rotated, and none once anybody has ended it.

    A ``bind`` that came too late for it has one of its own, with the same values.
    """
    origins = [
        story.cells[handle].origin if handle in story.cells else story.origin
        for handle, values in history.stored.items()
        if values is not None and CANARY in values
    ]
    if len(set(origins)) < len(origins):
        raise BrokenLawError("one successor", f"the session lives under {len(origins)} handles")
    alive = story.origin in origins
    for answer in history.answers.values():
        if answer.operation.ends and alive and not history.has_forgotten:
            raise BrokenLawError("a logout logs out", f"{answer.actor} has ended the session, and it lives")
    ended = history.is_late or any(
        answer.operation.ends or history.is_limited(answer) for answer in history.answers.values()
    )
    if not alive and not ended:
        raise BrokenLawError("no lost session", "the session is gone, and nobody ended it")


def _check_sockets(history: History, story: Story) -> None:
    """What depends on a session that has ended has ended, once all is acknowledged; while the session lives it stays.

    One case is left out: where the way from a rotated-away identifier to the session is forgotten, nobody finds it.
    """
    lives = any(
        values is not None and CANARY in values and handle in story.cells and story.cells[handle].origin == story.origin
        for handle, values in history.stored.items()
    )
    for answer in history.answers.values():
        if answer.result == "open" and answer.operation.stays and not lives:
            raise BrokenLawError("ends at once", f"{answer.actor} is open, and its session has ended")
        if answer.result == "ended" and answer.operation.stays and lives and not history.has_forgotten:
            raise BrokenLawError("ends at once", f"{answer.actor} was ended, and its session lives")


def _check_probes(history: History, story: Story) -> None:
    """An identifier leads to the session only while it is its own, or within its grace."""
    for identifier, read in [*history.probes.items(), *history.elsewhere.items()]:
        cell = story.follow(handle_of(identifier), history.now)
        expected = None if cell is None else cell.values.get(CANARY)
        if read != expected:
            raise BrokenLawError("no resurrection" if read else "no lost session", f"a last request read {read!r}")


def _check_browser(history: History, story: Story) -> None:
    """Whatever order the responses reach the browser in, its user stays logged in while the session lives.

    Two cases are left out: a request that arrived under a rotated-away identifier and asked for a session of its own,
    and a response that is overtaken by that of a later rotation, which no server can prevent.
    """
    alive = [handle for handle, values in history.stored.items() if values and CANARY in values]
    if history.is_late or not any(
        handle in story.cells and story.cells[handle].origin == story.origin for handle in alive
    ):
        return
    writers = [answer for answer in history.answers.values() if answer.cookie and answer.operation.kind is Kind.REQUEST]
    for last in writers:
        if _is_overtaken(last, history) or _asked_for_its_own(last, story):
            continue
        if history.probes[last.cookie or ""] is None:
            raise BrokenLawError(
                "no clobbered cookie", f"when {last.actor}'s response comes last, the user is logged out"
            )


def _is_overtaken(last: Answer, history: History) -> bool:
    """Whether another request has rotated away what this one's response says, after it left."""
    return any(
        call.method == "rotate" and call.outcome is True and call.handle == handle_of(last.cookie or "")
        for call in history.calls[last.left :]
    )


def _asked_for_its_own(answer: Answer, story: Story) -> bool:
    created = story.actors[answer.actor].landed[-1].method == "create"
    if created and answer.operation.binds:
        return True  # and is signed in there
    return created and answer.was_told("retired") and (answer.operation.moves or answer.operation.extends)
