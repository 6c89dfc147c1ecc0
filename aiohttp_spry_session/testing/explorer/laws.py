"""The laws that hold in whatever order the store carries calls out: promises 1 to 5 of the design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...events import SessionEvent
from ...identifiers import handle_of
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

    @property
    def rolling(self) -> bool:
        """Whether the managers renew by themselves."""
        return any(answer.operation.rolling for answer in self.answers.values())

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
    for call in history.calls:
        story.take(call)
    for answer in history.answers.values():
        _check_status(answer)
        _check_acknowledged(answer, story)
        _check_cookie(answer, story, history)
        _check_rotation(answer, story)
    _check_canary(history)
    _check_stored(history, story)
    _check_probes(history, story)
    _check_browser(history, story)


def _check_status(answer: Answer) -> None:
    if answer.status != 200 and not (answer.status == 409 and answer.operation.atomic):
        raise BrokenLawError("no needless failure", f"{answer.actor} was answered {answer.status}")


def _check_acknowledged(answer: Answer, story: Story) -> None:
    """What was answered with success is in the store, whole, or it was told that it is not."""
    part, operation, name = story.actors[answer.actor], answer.operation, answer.actor
    if answer.status == 409:
        if part.landed:
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
    if answer.result not in expected:
        raise BrokenLawError("no lost update", f"{name} returned {answer.result!r}, and could return {expected!r}")


def _leaves(operation: Operation, values: Values, actor: str) -> bool:
    """Whether the operation would change nothing."""
    after = dict(values)
    operation.apply(after, actor)
    return after == values


def _check_cookie(answer: Answer, story: Story, history: History) -> None:
    """Only who starts, renews, rotates or destroys a session writes its cookie, and then does."""
    part, operation, name = story.actors[answer.actor], answer.operation, answer.actor
    if answer.cookie == "":
        if not operation.ends:
            raise BrokenLawError("no clobbered cookie", f"{name}'s response removes the cookie")
        return
    wrote = None
    for call in part.landed:
        if call.method == "create":
            wrote = call.handle
        elif call.method == "rotate":
            wrote = call.new
        elif (operation.extends or history.rolling) and call.handle == handle_of(answer.presented):
            wrote = call.handle
    sent = None if answer.cookie is None else handle_of(answer.cookie)
    if sent is not None and not part.landed:
        raise BrokenLawError("no clobbered cookie", f"{name}'s response carries a cookie, and it wrote nothing")
    if sent != wrote and not (sent is None and history.rolling):
        raise BrokenLawError("no clobbered cookie", f"{name}'s response carries the cookie of {sent} and not {wrote}")


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


def _check_canary(history: History) -> None:
    """Of a session there is exactly one, wherever it was rotated, and none once anybody has ended it."""
    alive = [handle for handle, values in history.stored.items() if values is not None and CANARY in values]
    if len(alive) > 1:
        raise BrokenLawError("one successor", f"the session lives under {len(alive)} handles")
    for answer in history.answers.values():
        if answer.operation.ends and alive and not history.has_forgotten:
            raise BrokenLawError("a logout logs out", f"{answer.actor} has ended the session, and it lives")
    ended = history.is_late or any(answer.operation.ends for answer in history.answers.values())
    if not alive and not ended:
        raise BrokenLawError("no lost session", "the session is gone, and nobody ended it")


def _check_probes(history: History, story: Story) -> None:
    """An identifier leads to the session only while it is its own, or within its grace."""
    for identifier, read in history.probes.items():
        cell = story.follow(handle_of(identifier), history.now)
        expected = None if cell is None else cell.values.get(CANARY)
        if read != expected:
            raise BrokenLawError("no resurrection" if read else "no lost session", f"a last request read {read!r}")


def _check_browser(history: History, story: Story) -> None:
    """Whatever order the responses reach the browser in, its user stays logged in while the session lives.

    Two cases are left out: a request that arrived under a rotated-away identifier and asked for a session of its own,
    and a response that is overtaken by that of a later rotation, which no server can prevent.
    """
    if history.is_late or not any(values and CANARY in values for values in history.stored.values()):
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
    """Whether another request has rotated away what this one's response says."""
    return any(
        call.method == "rotate" and call.outcome is True and call.handle == handle_of(last.cookie or "")
        for call in history.calls
    )


def _asked_for_its_own(answer: Answer, story: Story) -> bool:
    created = story.actors[answer.actor].landed[-1].method == "create"
    return created and answer.was_told("retired") and (answer.operation.moves or answer.operation.extends)
