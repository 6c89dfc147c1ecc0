"""What the table of the state machine does not show: flags and handles that a later step depends on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from aiohttp_spry_session.codec import unpack_session
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.request.plan import amended, next_move, start, touch
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.request.status import ABSENT, RETIRED, LostError, Status

from .machines import LIFE, LIVE_RECORD, NOW, OLD, OTHER, RETIRED_RECORD, fresh, machine, sighting


def test_what_is_missing() -> None:
    """Only a live session of which nothing else is pending misses a key, so that a second look is worth it."""
    state = machine(Status.LIVE)
    assert (state.is_missing("m"), state.is_missing("n")) == (True, False)
    state.put("x", b"1")
    assert state.is_missing("m") is False
    assert machine(ABSENT).is_missing("m") is False


@pytest.mark.parametrize("status", [ABSENT, Status.LIVE])
def test_a_removal_is_something_to_commit(status: Status) -> None:
    """Where there is a session; where there is none it is forgotten, but not what was pending before."""
    state = machine(status)
    state.drop("n")
    assert state.dirty is (status is Status.LIVE)
    state.put("m", b"1")
    state.drop("o")
    assert state.dirty is True


def test_a_start_that_is_discarded_leaves_a_rotated_away_identifier_as_it_came() -> None:
    """(promise 5) And nothing else becomes one."""
    state = machine(RETIRED)
    state.renew()
    assert state.status is ABSENT
    state.discard()
    assert state.status is RETIRED
    state.discard()
    assert state.status is RETIRED
    live = machine(Status.LIVE)
    live.discard()
    assert live.status is Status.LIVE


def test_what_is_refused_is_told_and_known_no_more() -> None:
    """Nothing of the session can be seen, and what the client holds beside its identifier can still be settled."""
    state = fresh(spares=("spare",))
    state.arrive([sighting()], NOW)
    state.refuse("unproven")
    assert [(news.name, news.reason, news.owner) for news in state.news] == [("rejected", "unproven", "ada")]
    assert (state.place, state.last_used_at, state.is_new, state.why_over()) == (None, None, True, "unproven")
    state.cookie.settle()
    assert state.cookie.writes


def test_a_refusal_that_is_not_told() -> None:
    """Where somebody else tells of it."""
    state = machine(Status.LIVE)
    state.refuse("unproven", tell=False)
    assert state.news == []


def test_a_failed_look_up_leaves_a_request_as_it_came() -> None:
    """It is looked up again, and then the session is new unless it is found."""
    state = machine(Status.LIVE)
    state.unload()
    assert (state.status, state.is_new, state.place, state.last_used_at) == (Status.UNLOADED, True, None, None)


def test_the_spare_leads_to_where_the_session_would_be() -> None:
    """(promise 9) By the new handle of a rotation, or of a start."""
    state = machine(Status.LIVE)
    move = next_move(state, NOW, "new9", reason="rotate", arrived_late=False)
    assert move is not None
    state.doubted(move)
    spare = state.cookie.spare
    assert spare is not None
    assert (spare.identifier, spare.handle, spare.record) == ("new9", handle_of("new9"), move.record)
    absent = machine(ABSENT)
    create = start(absent, NOW, reason="started")
    absent.doubted(create)
    spare = absent.cookie.spare
    assert spare is not None
    assert (spare.identifier, spare.handle, spare.record) == (create.identifier, create.handle, create.record)


def lost(state: SessionState) -> tuple[str, str | None]:
    state.lost("ended")
    return state.news[-1].handle, state.news[-1].owner


def test_what_is_lost_is_told_by_its_handle() -> None:
    """By where the session was; where it was nowhere by what the client presented, or by nothing."""
    followed = fresh()
    followed.arrive([sighting(leads_to=OTHER)], NOW)
    assert lost(followed) == (handle_of(OTHER), "ada")
    assert lost(machine(RETIRED)) == (handle_of(OLD), None)
    assert lost(machine(ABSENT)) == ("", None)


def test_what_was_handed_out_belongs_to_one_session() -> None:
    """After an end, or a session that was let go of, the next one is new, and its identifier may be exchanged."""
    for let_go in (lambda s: s.leave(ABSENT, values=False), lambda s: s.ended()):
        state = machine(ABSENT)
        assert state.identifier
        state.is_new = False
        let_go(state)
        assert (state.handed_out, state.is_new) == (False, True)


def test_an_end_forgets_how_the_request_came() -> None:
    """What is discarded after it is a start like any other."""
    state = machine(RETIRED)
    state.ended()
    state.renew()
    state.discard()
    assert state.status is ABSENT


@pytest.mark.parametrize(("by_header", "spares"), [(False, ("spare",)), (True, ()), (False, ())])
def test_nothing_is_removed_from_a_client_that_presented_nothing(by_header: bool, spares: tuple[str, ...]) -> None:
    """A spare cookie beside none is no session's cookie; in a header it is a part of the one value."""
    state = fresh((), spares)
    state.by_header = by_header
    state.ended()
    assert state.cookie.action.name == "KEEP"


def test_an_end_by_header_removes_a_lone_spare() -> None:
    """The header says at once all that the client is to hold."""
    state = fresh((), ("spare",))
    state.by_header = True
    state.ended()
    assert state.cookie.action.name == "EXPIRE"


def test_touching_changes_nothing_but_the_version() -> None:
    """(promise 9) What was set meanwhile is still to be stored."""
    state = machine(Status.LIVE)
    step = touch(state, NOW, ())
    assert (step.values, step.facts, step.sent) == (state.view.values, state.view.facts, state.view.sent())
    assert step.record.version == LIVE_RECORD.version + 1
    with pytest.raises(LostError) as caught:
        touch(state, NOW, [handle_of(OLD)])
    assert caught.value.reason == "rotated"


def test_facts_that_are_amended() -> None:
    """Made of the newest ones, and stored with what this request sees, in the same record otherwise."""
    state = machine(Status.LIVE)
    state.put("m", b"2")
    step = amended(state, NOW, lambda facts: replace(facts, level="password"))
    assert (step.handle, step.values, step.sent, step.extension) == (
        handle_of(OLD),
        {"n": b"1", "m": b"2"},
        state.view.sent(),
        None,
    )
    assert unpack_session(step.record.payload, step.record.created_at)[:2] == (step.values, step.facts)
    assert step.facts.level == "password"
    assert replace(step.record, payload=b"") == replace(LIVE_RECORD, payload=b"", version=LIVE_RECORD.version + 1)
    with pytest.raises(LostError):
        amended(state, NOW + LIFE, lambda facts: facts)


def test_a_rotation_has_no_grace_unless_it_is_given_one() -> None:
    """(promise 3) The old identifier is dead at once."""
    state = machine(Status.LIVE)
    move = next_move(state, NOW, "new9", reason="rotate", arrived_late=False)
    assert move is not None
    assert RETIRED_RECORD.payload.replace(handle_of(OTHER).encode(), handle_of("new9").encode()) == move.retired.payload
