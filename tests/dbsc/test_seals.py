"""Challenges and bound cookies: known again, in their own place and time, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiohttp_spry_session.cookies import is_cookie_value
from aiohttp_spry_session.dbsc.seals import (
    Challenge,
    Pass,
    make_challenge,
    make_pass,
    read_challenge,
    read_pass,
)

SECRET, OTHER = bytes(32), bytes([1] * 32)
NOW = 1_700_000_000.75


def challenge(**options: object) -> str:
    return make_challenge(SECRET, "refresh", **{"counter": 3, "now": NOW, "lifetime": 900.0, **options})  # type: ignore[arg-type]


def test_a_challenge_is_known_again() -> None:
    """With when it was made, when it ends, and what had happened by then."""
    assert read_challenge(challenge(), SECRET, "refresh", NOW) == Challenge(1_700_000_000, 1_700_000_900, 3)


def test_no_two_challenges_are_alike() -> None:
    """Made in the same moment, for the same session."""
    assert len({challenge() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(("later", "alive"), [(0, True), (899, True), (899.25, False), (10_000, False)])
def test_a_challenge_ends(later: float, alive: bool) -> None:
    """At its end, not after."""
    assert (read_challenge(challenge(), SECRET, "refresh", NOW + later) is not None) is alive


def test_a_challenge_is_for_one_session_and_purpose() -> None:
    """Under another secret it is any text; one to register with refreshes nothing, nor the other way round."""
    assert read_challenge(challenge(), OTHER, "refresh", NOW) is None
    assert read_challenge(challenge(), SECRET, "register", NOW) is None


def test_a_bound_cookie_is_known_again() -> None:
    """However old: whether it still counts, others decide."""
    made = make_pass(SECRET, issued=1_700_000_000, until=1_700_000_600)
    assert read_pass(made, SECRET) == Pass(1_700_000_000, 1_700_000_600)
    assert read_pass(made, OTHER) is None
    assert is_cookie_value(made)


def test_neither_takes_the_others_place() -> None:
    """No text is both."""
    assert read_pass(challenge(), SECRET) is None
    assert read_challenge(make_pass(SECRET, issued=1, until=2), SECRET, "refresh", 0) is None


@settings(deadline=None)
@given(st.data())
def test_no_character_can_be_changed(data: st.DataObject) -> None:
    """Numbers and HMAC alike."""
    for made, read in (
        (challenge(), lambda text: read_challenge(text, SECRET, "refresh", NOW)),
        (make_pass(SECRET, issued=1_700_000_000, until=1_700_000_600), lambda text: read_pass(text, SECRET)),
    ):
        place = data.draw(st.integers(0, len(made) - 1))
        character = data.draw(st.characters())
        changed = made[:place] + character + made[place + 1 :]
        assert (read(changed) is not None) is (changed == made)


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[0-9.]{0,40}\.[A-Za-z0-9_-]{43}", fullmatch=True))
def test_any_text_is_none_of_ours(text: str) -> None:
    """It is refused, and raises nothing."""
    assert read_pass(text, SECRET) is None
    assert read_challenge(text, SECRET, "refresh", 0) is None
