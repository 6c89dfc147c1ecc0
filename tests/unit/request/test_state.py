"""The state machine's whole transition table, without an event loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from aiohttp_spry_session import HeadersSentError, SessionEndedError, SessionRecord
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.request.arrival import Place
from aiohttp_spry_session.request.cookie import CookieDecision
from aiohttp_spry_session.request.plan import next_move, next_step, start, touch
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.request.status import ABSENT, KEEP, CookieAction, LostError, Status
from aiohttp_spry_session.request.steps import Create, Extend, Move, Update

from .machines import (
    CORRUPT_RECORD,
    LIFE,
    LIVE_RECORD,
    NOW,
    OLD,
    OTHER,
    RETIRED_RECORD,
    bound,
    fresh,
    machine,
    outcome,
    sighting,
    told,
)
from .table import TABLE


def come_again(state: SessionState, record: SessionRecord | None) -> None:
    """Let go of whatever there is, and arrive."""
    state.leave(ABSENT, values=False)
    state.arrive([sighting(record=record)], NOW)


INPUTS: dict[str, Callable[[SessionState], object]] = {
    "put": lambda s: s.put("m", b"2"),
    "drop": lambda s: s.drop("n"),
    "renew": lambda s: s.renew(),
    "discard": lambda s: (s.put("m", b"2"), s.discard())[1],
    "identifier": lambda s: s.identifier,
    "lost": lambda s: s.lost("ended"),
    "ended": lambda s: s.ended(),
    "leave with values": lambda s: s.leave(Status.RETIRED, values=True),
    "leave": lambda s: s.leave(ABSENT, values=False),
    "settle": lambda s: s.cookie.settle(),
    "leave, arrive live": lambda s: come_again(s, LIVE_RECORD),
    "leave, arrive nothing": lambda s: come_again(s, None),
    "leave, arrive retired": lambda s: (
        s.leave(ABSENT, values=False),
        s.arrive([sighting(record=RETIRED_RECORD)], NOW),
    )[1],
    "leave, arrive corrupt": lambda s: (
        s.leave(ABSENT, values=False),
        s.arrive([sighting(record=CORRUPT_RECORD)], NOW),
    )[1],
    "refreshed live": lambda s: s.refreshed(handle_of(OLD), LIVE_RECORD, NOW),
    "refreshed nothing": lambda s: s.refreshed(handle_of(OLD), None, NOW),
    "refreshed retired": lambda s: s.refreshed(handle_of(OLD), RETIRED_RECORD, NOW),
    "refreshed corrupt": lambda s: s.refreshed(handle_of(OLD), CORRUPT_RECORD, NOW),
    "refreshed elsewhere": lambda s: s.refreshed(handle_of(OTHER), LIVE_RECORD, NOW),
    "next_step": lambda s: next_step(s, NOW),
    "next_step last": lambda s: next_step(s, NOW, last=True),
    "next_step compute": lambda s: next_step(s, NOW, lambda v: {**v, "c": b"3"}),
    "put, next_step": lambda s: (s.put("m", b"2"), next_step(s, NOW))[1],
    "renew, next_step": lambda s: (s.renew(), next_step(s, NOW))[1],
    "renew, last": lambda s: (s.renew(), next_step(s, NOW, last=True))[1],
    "renew, put, last": lambda s: (s.renew(), s.put("m", b"2"), next_step(s, NOW, last=True))[2],
    "next_move": lambda s: next_move(s, NOW, "new1", reason="rotate", arrived_late=False),
    "next_move owner": lambda s: next_move(s, NOW, "new1", reason="bind", arrived_late=False, change=bound("eve")),
    "touch": lambda s: touch(s, NOW, ()),
}
"""Everything that can be said to the machine, but for what came of its steps."""


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("said", INPUTS)
def test_table(status: Status, said: str) -> None:
    """What comes out, and what the state is then."""
    state = machine(status)
    answer = outcome(lambda: INPUTS[said](state))
    assert (answer, told(state)) == TABLE[status, said]


def test_table_is_whole() -> None:
    """Every status, every input."""
    assert set(TABLE) == set(itertools.product(Status, INPUTS))


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("headers_sent", [False, True])
@pytest.mark.parametrize("has_left", [None, False, True])
def test_cookie_is_possible(status: Status, headers_sent: bool, has_left: bool | None) -> None:
    """As long as no headers have left, whoever can tell; nothing else decides it."""
    state = machine(status)
    state.headers_sent = headers_sent
    state.has_left = None if has_left is None else lambda: has_left
    if headers_sent or has_left:
        with pytest.raises(HeadersSentError):
            state.check_cookie_possible()
    else:
        state.check_cookie_possible()


SENT = {
    "put": {ABSENT: "HeadersSentError"},
    "drop": {},
    "renew": {ABSENT: "HeadersSentError", Status.RETIRED: "HeadersSentError"},
    "identifier": {ABSENT: "HeadersSentError"},
    "next_step compute": {ABSENT: "HeadersSentError"},
}
"""What needs a cookie, and so comes too late."""


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("said", SENT)
def test_table_after_the_headers(status: Status, said: str) -> None:
    """What starts a session is refused, and nothing is changed; all else is as before."""
    state = machine(status)
    before = told(state)
    state.headers_sent = True
    answer = outcome(lambda: INPUTS[said](state))
    if status in SENT[said]:
        assert (answer, told(state)) == (SENT[said][status], before)
    else:
        assert (answer, told(state)) == TABLE[status, said]


def test_renewal_after_the_headers_needs_no_last_commit() -> None:
    """It extends what is stored, and writes no cookie."""
    state = machine(Status.LIVE)
    state.headers_sent = True
    state.renew()
    step = next_step(state, NOW)
    assert step == Extend(handle_of(OLD), NOW + LIFE, "renew")
    state.landed(step)
    assert told(state) == "live n=1 renewed:renew"


# What came of its steps.


def landed(state: SessionState, step: Create | Update | Extend | Move | None) -> str:
    assert step is not None
    state.landed(step)
    return told(state)


def test_create_landed() -> None:
    """There is a session now, and the client is told its identifier."""
    state = machine(ABSENT)
    state.put("m", b"2")
    assert landed(state, next_step(state, NOW)) == "live send m=2 created:started"
    assert (state.identifier, state.place and state.place.record.version, state.dirty) == ("new1", 1, False)
    assert state.is_new


def test_update_landed() -> None:
    """The changes are none any more; the client has nothing to learn."""
    state = machine(Status.LIVE)
    state.put("m", b"2")
    assert landed(state, next_step(state, NOW)) == "live m=2 n=1"
    assert (state.place and state.place.record.version, state.dirty) == (5, False)


@pytest.mark.parametrize("changes", [False, True])
def test_renewal_landed(changes: bool) -> None:
    """The client's cookie lives longer."""
    state = machine(Status.LIVE)
    state.renew()
    if changes:
        state.put("m", b"2")
    assert landed(state, next_step(state, NOW, last=True)) == f"live send{' m=2' * changes} n=1 renewed:renew"
    assert (state.record and state.record.expires_at, state.dirty) == (NOW + LIFE, False)


@pytest.mark.parametrize("changes", [False, True])
def test_renewal_under_a_rotated_away_identifier_landed(changes: bool) -> None:
    """Who came so does not know the newer identifier: there is no cookie to send (promise 5)."""
    state = fresh()
    state.arrive([sighting(leads_to=OTHER)], NOW)
    state.renew()
    if changes:
        state.put("m", b"2")
    assert landed(state, next_step(state, NOW, last=True)) == f"live{' m=2' * changes} n=1 renewed:renew"


@pytest.mark.parametrize("owner", [None, "eve"])
def test_move_landed(owner: str | None) -> None:
    """The session is elsewhere; values and changes went with it."""
    state = machine(Status.LIVE)
    state.put("m", b"2")
    move = next_move(
        state, NOW, "new1", reason="rotate", arrived_late=False, change=None if owner is None else bound(owner)
    )
    assert move is not None
    assert move.retired.retired
    assert landed(state, move) == "live send m=2 n=1 rotated:rotate"
    assert state.place == Place("new1", handle_of("new1"), move.record)
    assert (move.record.owner, move.record.created_at) == ((owner, NOW) if owner else ("ada", NOW - 100))
    assert not state.dirty


@pytest.mark.parametrize("kind", ["create", "update", "move"])
def test_what_is_changed_while_a_step_is_under_way_stays(kind: str) -> None:
    """It is to be committed next, on top of what landed."""
    state = machine(ABSENT if kind == "create" else Status.LIVE)
    state.put("m", b"2")
    step = (
        next_move(state, NOW, "new1", reason="rotate", arrived_late=False) if kind == "move" else next_step(state, NOW)
    )
    assert step is not None
    state.put("late", b"3")
    state.put("m", b"4")
    state.landed(step)
    assert state.dirty
    assert (state.view.changes, state.view.values["m"]) == ({"late": b"3", "m": b"4"}, b"4")


@pytest.mark.parametrize("spares", [(), ("next",)])
@pytest.mark.parametrize("kind", ["create", "move"])
def test_doubted_then_landed(kind: str, spares: tuple[str, ...]) -> None:
    """Both ways stay open until another try is known to have landed; what the client has beside goes then."""
    state = fresh((OLD,) if kind == "move" else (), spares)
    state.arrive([sighting()] if kind == "move" else [], NOW)
    state.put("m", b"2")
    step = next_step(state, NOW)
    if kind == "move":
        step = next_move(state, NOW, "new1", reason="rotate", arrived_late=False)
    assert isinstance(step, Create | Move)
    state.doubted(step)
    spare = state.cookie.spare
    assert (state.cookie.spare_action, spare and spare.identifier) == (CookieAction.SEND, "new1")
    assert state.cookie.action is KEEP
    state.landed(step)
    assert (state.cookie.action, state.cookie.spare) == (CookieAction.SEND, None)
    assert state.cookie.spare_action is (CookieAction.EXPIRE if spares else KEEP)


def test_lost_drops_what_is_pending_and_its_cookie() -> None:
    """A cookie from a commit point before is no good any more either (promise 3)."""
    state = machine(Status.LIVE)
    state.renew()
    landed(state, next_step(state, NOW, last=True))
    state.put("m", b"2")
    state.lost("rotated")
    assert told(state) == "ended renewed:renew rejected:rotated"
    assert state.news[-1].owner == "ada"
    assert (state.cookie.action, state.place, state.dirty) == (KEEP, None, False)
    with pytest.raises(SessionEndedError):
        _ = state.identifier


# The second look at a cookie.


@pytest.mark.parametrize(
    ("record", "cookie"),
    [
        (LIVE_RECORD, CookieAction.SEND),
        (replace(LIVE_RECORD, version=9), CookieAction.SEND),
        (RETIRED_RECORD, KEEP),
        (None, KEEP),
        (replace(LIVE_RECORD, expires_at=NOW), KEEP),
    ],
    ids=["live", "changed", "rotated", "gone", "expired"],
)
def test_looked_again(record: SessionRecord | None, cookie: CookieAction) -> None:
    """Only a cookie that leads to the session leaves (promise 5)."""
    state = machine(Status.LIVE)
    state.renew()
    landed(state, next_step(state, NOW, last=True))
    assert not state.cookie.went_on
    state.cookie.go_on()
    assert state.cookie.went_on
    state.looked_again(record, NOW)
    assert state.cookie.action is cookie


def test_could_not_look_again() -> None:
    """Both ways stay open (promise 9)."""
    state = machine(Status.LIVE)
    landed(state, next_move(state, NOW, "new1", reason="rotate", arrived_late=False))
    assert state.place is not None
    state.cookie.could_not_look_again(state.place)
    assert told(state) == "live next-send n=1 rotated:rotate"
    assert state.cookie.spare == state.place


# Rotations that met.


@pytest.mark.parametrize("grace", [0.0, 30.0])
@pytest.mark.parametrize("late", [False, True])
def test_move_of_a_session_that_another_request_rotated(grace: float, late: bool) -> None:
    """Without grace it lost; by the clock there is nothing left to do; who came late anyway rotates what is there."""
    state = machine(Status.LIVE)
    state.refreshed(handle_of(OTHER), LIVE_RECORD, NOW)
    said = outcome(lambda: next_move(state, NOW, "new1", grace=grace, reason="rotate", arrived_late=late))
    if late:
        assert said == "move other to new1 v5 ada +1100 {n=1}: rotate"
    else:
        assert said == ("" if grace else "lost rotated")


def test_refreshed_elsewhere_keeps_the_cookie_of_another() -> None:
    """Whoever rotated it has written the newer one (promise 5); the changes are made on the newest state."""
    state = machine(Status.LIVE)
    state.renew()
    landed(state, next_step(state, NOW, last=True))
    state.put("m", b"2")
    state.refreshed(handle_of(OTHER), replace(LIVE_RECORD, version=7), NOW)
    assert told(state) == "live pending m=2 n=1 renewed:renew"
    assert state.place is not None
    assert (state.place.follows, state.place.identifier, state.place.handle) == (True, OLD, handle_of(OTHER))
    with pytest.raises(LostError, match="rotated"):
        touch(state, NOW, [handle_of(OTHER)])


# Time.


@pytest.mark.parametrize("said", ["next_step compute", "put, next_step", "renew, last", "next_move", "touch"])
@pytest.mark.parametrize("over", ["expiration", "max_lifetime"])
def test_past_its_end(said: str, over: str) -> None:
    """Nothing extends, changes or rotates a session past either of its ends."""
    state = machine(Status.LIVE, max_lifetime=200.0)
    assert state.place is not None
    past = {"expires_at": NOW} if over == "expiration" else {"created_at": NOW - 200}
    state.place = replace(state.place, record=replace(state.place.record, **past))
    assert outcome(lambda: INPUTS[said](state)) == "lost expired"


@pytest.mark.parametrize(
    ("used", "left", "last", "expected"),
    [
        (True, LIFE / 2 - 1, True, "extend old to +1200: rolling"),
        (True, LIFE / 2, True, ""),
        (True, LIFE / 2 - 1, False, ""),
        (False, LIFE / 2 - 1, True, ""),
    ],
)
def test_rolling(used: bool, left: float, last: bool, expected: str) -> None:
    """A use past half of the lifetime renews by itself, with the last commit."""
    state = fresh(rolling=True)
    state.arrive([sighting(record=replace(LIVE_RECORD, expires_at=NOW + left))], NOW)
    state.used = used
    assert outcome(lambda: next_step(state, NOW, last=last)) == expected
    state.discard()
    assert outcome(lambda: next_step(state, NOW, last=last)) == ""


@pytest.mark.parametrize("presented", [(), (OLD,)])
def test_autostart(presented: tuple[str, ...]) -> None:
    """Whoever has no session is given one, but not who presents a rotated-away identifier."""
    state = fresh(presented, autostart=True)
    state.arrive([sighting(record=None)] if presented else [], NOW)
    assert outcome(lambda: next_step(state, NOW)) == "create new1 v1 nobody +1200 {}: started"
    state.discard()
    assert outcome(lambda: next_step(state, NOW)) == ""
    late = fresh(autostart=True)
    late.arrive([sighting(record=RETIRED_RECORD)], NOW)
    assert outcome(lambda: next_step(late, NOW)) == ""


def test_identifier_that_was_handed_out_is_kept() -> None:
    """The one that a handler saw is the one that the session gets."""
    state = machine(ABSENT)
    assert state.identifier == state.identifier == "new1"
    assert state.handed_out
    assert landed(state, next_step(state, NOW)) == "live send created:started"
    assert state.identifier == "new1"
    other = machine(ABSENT)
    other.exchange("another")
    assert (other.identifier, other.handed_out) == ("another", True)
    other.exchange(None)
    assert not other.handed_out


def test_drop_while_a_create_is_under_way_is_no_step_back() -> None:
    """The key may be in what lands: it is removed with the next commit."""
    state = machine(ABSENT)
    state.put("m", b"2")
    step = next_step(state, NOW)
    state.busy = True
    state.drop("m")
    assert step is not None
    state.landed(step)
    assert (state.view.changes, state.view.values, state.dirty) == ({"m": None}, {}, True)


def test_put_all_again() -> None:
    """What a create of unknown outcome stored may be older than what the request sees."""
    state = machine(Status.LIVE)
    state.put_all_again()
    assert (state.view.changes, state.dirty) == ({"n": b"1"}, True)


def test_nothing_shows_an_identifier() -> None:
    """Not even the parts of the machine in a traceback (promise 10)."""
    state = machine(Status.LIVE)
    move = next_move(state, NOW, "new1", reason="rotate", arrived_late=False)
    create = start(machine(ABSENT), NOW, reason="bind")
    shown = f"{state!r} {state.place!r} {sighting('secret')!r} {move!r} {create!r} {state.news!r}"
    assert "new1" not in shown
    assert "secret" not in shown
    assert "old" not in shown
    assert repr(machine(ABSENT)) == "<SessionState ABSENT>"
    assert repr(CookieDecision(("spare",))) == "<CookieDecision KEEP, spare KEEP>"
    assert repr(state.view) == "<View of 1 keys>"
