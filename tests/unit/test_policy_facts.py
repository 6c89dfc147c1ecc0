"""How long a session lives that has lifetimes of its own: arithmetic only."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.facts import NO_FACTS, Facts
from aiohttp_spry_session.policy import Policy
from aiohttp_spry_session.record import SessionRecord

from .request.machines import policy as usual

DAY = 86400.0
YEAR = 400 * 86400


def policy(**options: Any) -> Policy:
    return usual(**{"expiration": 100.0, "rolling": True, **options})


def record(expires_at: float | None, facts: Facts = NO_FACTS, created_at: float = 0.0) -> SessionRecord:
    return SessionRecord(pack({}, facts), 1, created_at, expires_at, "ada")


ENDS: list[tuple[Any, Any, float | None, float | None]] = [
    (UNSET, UNSET, None, 150.0),
    (UNSET, UNSET, 120.0, 120.0),
    (10.0, UNSET, None, 60.0),
    (10.0, UNSET, 55.0, 55.0),
    (500.0, UNSET, None, 550.0),
    (500.0, UNSET, 120.0, 120.0),
    (500.0, 300.0, 120.0, 300.0),
    (500.0, None, 120.0, 550.0),
    (None, UNSET, None, None),
    (None, UNSET, 120.0, 120.0),
    (None, 300.0, 120.0, 300.0),
    (None, None, 120.0, None),
    (UNSET, 70.0, 120.0, 70.0),
    (UNSET, None, 120.0, 150.0),
]
"""A session's own expiration and limit, the manager's limit, and the end; created at 0, renewed at 50."""


@pytest.mark.parametrize(("expiration", "own", "limit", "end"), ENDS)
def test_own_lifetimes_go_first(expiration, own, limit, end):
    """Each of them, or none; what is not its own comes from adapter and manager."""
    facts = Facts(expiration=expiration, max_lifetime=own)
    assert policy(max_lifetime=limit).end(0.0, 50.0, facts) == end


@pytest.mark.parametrize(("before", "after"), [(540.0, 550.0), (560.0, 560.0), (None, None)])
def test_a_renewal_by_its_own(before, after):
    """It never moves the end to an earlier time."""
    assert policy().renewed_end(record(before), 50.0, Facts(expiration=500.0)) == after


@pytest.mark.parametrize(
    ("own", "limit", "over"),
    [
        (UNSET, 50.0, True),
        (UNSET, 50.5, False),
        (60.0, 50.0, False),
        (50.0, 40.0, True),
        (None, 50.0, False),
        (40.0, 60.0, False),
        (40.0, None, False),
        (60.0, None, False),
    ],
)
def test_a_limit_that_was_lowered(own, limit, over):
    """It holds for sessions from before, but for those that have their own; those end by their record."""
    facts = NO_FACTS if own is UNSET else Facts(max_lifetime=own)
    assert policy(max_lifetime=limit).is_over(record(None, facts), 50.0) is over
    assert policy(max_lifetime=limit).is_over(record(50.0, facts), 50.0)


def test_what_cannot_be_read_has_no_limit_of_its_own():
    """A corrupt record is held to the manager's."""
    corrupt = SessionRecord(b"\0\0facts", 1, 0.0, None)
    assert policy(max_lifetime=50.0).is_over(corrupt, 50.0)
    assert not policy(max_lifetime=51.0).is_over(corrupt, 50.0)
    assert policy(max_lifetime=50.0).is_over(SessionRecord(pack({}, Facts(level="x"))[:-1], 1, 0.0, None), 50.0)


@pytest.mark.parametrize(
    ("expiration", "own", "expires_at", "rolls"),
    [
        (UNSET, UNSET, 99.9, True),
        (UNSET, UNSET, 100.0, False),
        (500.0, UNSET, 300.0, False),
        (500.0, UNSET, 299.0, True),
        (10.0, UNSET, 55.0, False),
        (10.0, UNSET, 54.9, True),
        (None, UNSET, 51.0, False),
        (UNSET, 60.0, 60.0, False),
        (UNSET, 61.0, 60.0, True),
        (500.0, UNSET, None, False),
    ],
)
def test_it_rolls_by_its_own(expiration, own, expires_at, rolls):
    """Past half of its own expiration, and only where there is something to gain."""
    facts = Facts(expiration=expiration, max_lifetime=own)
    assert policy().rolls(record(expires_at, facts), 50.0, facts) is rolls
    assert not policy(rolling=False).rolls(record(expires_at, facts), 50.0, facts)


@pytest.mark.parametrize(
    ("track_use", "used", "due"),
    [
        (None, 0.0, False),
        (60.0, None, True),
        (61.0, None, False),
        (60.0, 0.0, True),
        (60.0, 0.1, False),
        (0.1, 59.5, False),
        (0.1, 59.0, True),
        (1.5, 59.0, False),
    ],
)
def test_a_use_is_due(track_use, used, due):
    """As soon as the stored one is so old, and not more often than a use is kept; created at 0, used at 60."""
    assert policy(track_use=track_use).is_use_due(Facts(last_used_at=used), 0.0, 60.0) is due


@pytest.mark.parametrize("manager", [True, False])
@pytest.mark.parametrize("own", [True, False, None])
def test_its_own_max_age(manager, own):
    """Whether there is one the session says, if it says anything."""
    facts = Facts(persistent=own)
    expected = own if own is not None else manager
    assert policy(persistent=manager).max_age(record(60.0, facts), 50.0) == (10 if expected else None)
    assert policy(persistent=manager).max_age(record(None, facts), 50.0) == (YEAR if expected else None)
