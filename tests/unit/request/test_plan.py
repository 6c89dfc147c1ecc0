"""What is planned of a session's facts, without an event loop."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_spry_session.codec import facts_of, pack
from aiohttp_spry_session.facts import NO_FACTS, Facts, confirmed
from aiohttp_spry_session.record import SessionRecord
from aiohttp_spry_session.request.plan import extension, is_use_due, next_move, next_step, start, touch
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.request.status import RETIRED, Status
from aiohttp_spry_session.request.steps import Create, Extend, Move, Update

from .machines import LIFE, NOW, fresh, machine, sighting

OWN = Facts(
    expiration=5000.0, max_lifetime=9000.0, persistent=False, authenticated_at=NOW - 50, level="totp", device={"a": "b"}
)


def live(facts: Facts = NO_FACTS, *, used: bool = True, end: float | None = NOW + 1000, **options: Any) -> SessionState:
    """A state that met a session with these facts."""
    state = fresh(**options)
    state.arrive([sighting(record=SessionRecord(pack({"n": b"1"}, facts), 4, NOW - 100, end, "ada"))], NOW)
    state.used = used
    return state


def written(step: Any) -> Facts:
    """The facts in the record that a step writes."""
    return facts_of(step.record.payload, step.record.created_at)


def landing(state: SessionState, step: Any) -> None:
    """Let a step land, and see that the state knows what was stored."""
    state.landed(step)
    assert state.view.facts == written(step) == step.facts


def test_a_write_takes_the_use_along():
    """And every other fact as it was."""
    state = live(OWN)
    state.put("m", b"2")
    step = next_step(state, NOW)
    assert isinstance(step, Update)
    assert written(step) == replace(OWN, last_used_at=NOW)
    assert (step.record.expires_at, step.record.owner) == (NOW + 1000, "ada")
    landing(state, step)


def test_a_write_that_is_no_use():
    """An edit, and a handler that failed, change the values alone."""
    for refuse in ("edit", "discard"):
        state = live(OWN)
        if refuse == "edit":
            state.tracking = False
        else:
            state.discard()
        state.put("m", b"2")
        assert written(next_step(state, NOW)) == OWN


def test_a_use_within_a_second():
    """It changes nothing: a session without facts stays one."""
    state = live()
    state.put("m", b"2")
    assert next_step(state, NOW - 99.5).record.payload == pack({"n": b"1", "m": b"2"})
    assert written(next_step(state, NOW - 99)) == Facts(last_used_at=NOW - 99)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_look(tracked):
    """With ``track_use`` a look is stored, by the last commit alone."""
    state = live(OWN, track_use=100.0 if tracked else None)
    assert state.dirty is tracked
    assert next_step(state, NOW) is None
    step = next_step(state, NOW, last=True)
    if not tracked:
        assert step is None
        return
    assert isinstance(step, Update)
    assert step.extension is None
    assert written(step) == replace(OWN, last_used_at=NOW)
    landing(state, step)
    assert next_step(state, NOW, last=True) is None
    assert state.cookie.action.name == "KEEP"
    assert not state.news


@pytest.mark.parametrize("case", ["not used", "discarded", "no use", "too early", "absent", "retired"])
def test_a_look_that_is_not_stored(case):
    """Nothing for nothing (promise 6)."""
    state = live(track_use=101.0 if case == "too early" else 100.0, used=case != "not used")
    if case == "discarded":
        state.discard()
    elif case == "no use":
        state.tracking = False
    elif case in ("absent", "retired"):
        state = machine(Status.ABSENT if case == "absent" else RETIRED, track_use=100.0)
        state.used = True
    assert not is_use_due(state, NOW)
    assert next_step(state, NOW, last=True) is None


def test_a_renewal_and_a_look_are_one_write():
    """Alone, a renewal is no write of the payload; a use that is due makes it one."""
    state = live(OWN)
    state.renew()
    step = next_step(state, NOW, last=True)
    assert isinstance(step, Extend)
    assert step.expires_at == NOW + 5000
    state = live(OWN, track_use=100.0)
    state.renew()
    step = next_step(state, NOW, last=True)
    assert isinstance(step, Update)
    assert (step.record.expires_at, step.extension) == (NOW + 5000, "renew")


def test_it_rolls_by_its_own():
    """Not by the manager's half, and not for who left it alone."""
    assert extension(live(OWN, end=NOW + 2500, rolling=True), NOW) is None
    assert extension(live(OWN, end=NOW + 2499, rolling=True), NOW) == "rolling"
    assert extension(live(OWN, end=NOW + 2499, rolling=True, used=False), NOW) is None
    inactive = live(OWN, end=NOW + 2499, rolling=True)
    inactive.rolling = False
    assert extension(inactive, NOW) is None
    inactive.renew()
    assert extension(inactive, NOW) == "renew"


def test_a_start():
    """Facts of a sign-in say when that was; where there are none, nothing does."""
    state = machine(Status.ABSENT)
    step = start(state, NOW, reason="bind", owner="ada", facts=replace(OWN, authenticated_at=None))
    assert isinstance(step, Create)
    assert written(step) == replace(OWN, authenticated_at=NOW)
    assert (step.record.expires_at, step.record.owner, step.record.created_at) == (NOW + 5000, "ada", NOW)
    landing(state, step)
    plain = start(machine(Status.ABSENT), NOW, reason="bind", owner="ada")
    assert plain.record.payload == pack({})
    assert plain.record.expires_at == NOW + LIFE


def test_a_move_keeps_the_facts():
    """Owner and times too, unless a change is asked for, which gets the newest ones and the time."""
    state = live(OWN)
    step = next_move(state, NOW, "new1", reason="rotate", arrived_late=False)
    assert isinstance(step, Move)
    assert written(step) == replace(OWN, last_used_at=NOW)
    assert (step.record.owner, step.record.created_at, step.record.expires_at) == ("ada", NOW - 100, NOW + 1000)
    assert (step.record.version, step.retired.version, step.retired.owner) == (5, 5, None)
    got: list[Any] = []

    def change(record: SessionRecord, facts: Facts, now: float) -> tuple[SessionRecord, Facts]:
        got.extend((record.version, facts, now))
        return replace(record, owner="eve"), confirmed(facts, now, record.created_at, level="key")

    step = next_move(state, NOW, "new1", reason="confirm", arrived_late=False, change=change)
    assert got == [4, replace(OWN, last_used_at=NOW), NOW]
    assert step.record.owner == "eve"
    assert written(step) == replace(OWN, last_used_at=NOW, authenticated_at=NOW, level="key")
    landing(state, step)
    assert (state.news[-1].reason, state.news[-1].previous) == ("confirm", step.handle)


def test_a_fence_changes_nothing():
    """But the version."""
    step = touch(live(OWN), NOW, ())
    assert step.record == replace(live(OWN).record, version=5)


def test_the_use_before():
    """What the store said when the request began, and nothing once there is another session or none."""
    assert live(replace(OWN, last_used_at=NOW - 7)).last_used_at == NOW - 7
    assert live(OWN).last_used_at == NOW - 100
    for gone in ("leave", "ended", "unload"):
        state = live(OWN)
        if gone == "leave":
            state.leave(Status.ENDED, values=False)
        else:
            getattr(state, gone)()
        assert state.last_used_at is None
    assert machine(Status.ABSENT).last_used_at is None
    assert machine(RETIRED).last_used_at is None
