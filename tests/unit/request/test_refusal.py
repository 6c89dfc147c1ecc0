"""A session that was found and may not be had: as if there were none, but that an end still ends it."""

from __future__ import annotations

import pytest

from aiohttp_spry_session import SessionEndedError
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.request.plan import next_step
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.request.status import KEEP, LostError, News, Status

from .machines import NOW, OLD, fresh, sighting


def refused(*, tell: bool = True, **options: object) -> SessionState:
    """A live session, refused."""
    state = fresh(**options)  # type: ignore[arg-type]
    state.arrive([sighting()], NOW)
    assert state.status is Status.LIVE
    state.cookie.send()
    state.refuse("unproven", tell=tell)
    return state


@pytest.mark.parametrize("options", [{}, {"rolling": True}, {"autostart": True}], ids=str)
def test_there_is_no_session(options: dict[str, object]) -> None:
    """Nothing is seen, nothing is pending, and the client's cookie stays as it is."""
    state = refused(**options)
    assert (state.status, state.place, state.view.values, state.is_new) == (Status.ENDED, None, {}, True)
    assert (state.cookie.action, state.cookie.spare_action, state.has_changes, state.dirty) == (
        KEEP,
        KEEP,
        False,
        False,
    )
    assert next_step(state, NOW, last=True) is None
    with pytest.raises(SessionEndedError, match="unproven"):
        _ = state.identifier


def test_what_is_written_is_lost_for_that_reason() -> None:
    """A plain write, and a wish for a new end."""
    for wish in (lambda state: state.put("n", b"2"), lambda state: state.renew()):
        state = refused()
        wish(state)
        with pytest.raises(LostError, match="unproven"):
            next_step(state, NOW, last=True)


def test_an_end_ends_it() -> None:
    """Its handle is known."""
    assert list(refused().handles) == [handle_of(OLD)]


def test_it_is_told_of_unless_it_is_not_to_be() -> None:
    """With the handle and the owner."""
    assert refused().news == [News("rejected", handle_of(OLD), "ada", "unproven")]
    assert refused(tell=False).news == []
