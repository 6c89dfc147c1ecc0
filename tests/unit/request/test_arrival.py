"""Which of the presented identifiers counts."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.request.arrival import Sighting, judge

from .machines import LIVE_RECORD, NOW, OTHER, RETIRED_RECORD, policy, sighting

LIVE = sighting("a")
SECOND = sighting("b")
FOLLOWS = sighting("c", leads_to="a")
ELSEWHERE = sighting("d", leads_to=OTHER)
RETIRED = sighting("e", RETIRED_RECORD)
UNKNOWN = sighting("f", None)
EXPIRED = sighting("g", replace(LIVE_RECORD, expires_at=NOW))
LONG_RETIRED = sighting("h", replace(RETIRED_RECORD, created_at=NOW - 10_000))

CASES: dict[str, tuple[list[Sighting], str | None, bool, list[str]]] = {
    "nothing": ([], None, False, []),
    "live": ([LIVE], "a", False, []),
    "unknown": ([UNKNOWN], None, False, ["unknown"]),
    "expired": ([EXPIRED], None, False, ["unknown"]),
    "retired": ([RETIRED], None, True, ["retired"]),
    "within its grace": ([FOLLOWS], "c", False, []),
    "live and unknown": ([LIVE, UNKNOWN], "a", False, ["unknown"]),
    "live and expired": ([EXPIRED, LIVE], "a", False, ["unknown"]),
    "live and retired": ([RETIRED, LIVE], "a", False, ["retired"]),
    "retired and unknown": ([RETIRED, UNKNOWN], None, True, ["retired", "unknown"]),
    "two live": ([LIVE, SECOND], None, False, ["ambiguous"]),
    "two live and a retired": ([LIVE, RETIRED, SECOND], None, False, ["ambiguous", "retired"]),
    "both of one session": ([FOLLOWS, LIVE], "a", False, []),
    "both of one session and another": ([FOLLOWS, LIVE, SECOND], None, False, ["ambiguous"]),
    "within the grace of another": ([LIVE, ELSEWHERE], None, False, ["ambiguous"]),
}
"""What was seen, which identifier counts, whether all was rotated away, what is told."""


@pytest.mark.parametrize("case", CASES)
def test_what_counts(case: str) -> None:
    """The same in whatever order the cookies came."""
    sightings, counts, retired, told = CASES[case]
    for order in itertools.permutations(sightings):
        arrival = judge(order, policy(), NOW)
        assert (arrival.place.identifier if arrival.place else None) == counts
        assert arrival.retired is retired
        assert sorted(rejection.reason for rejection in arrival.rejections) == sorted(told)
        known = {one.asked for one in sightings if one not in (UNKNOWN, EXPIRED)}
        assert set(arrival.known) == known


def test_place_says_how_it_was_reached() -> None:
    """By its own identifier, or by one that was rotated away."""
    own, followed = judge([LIVE], policy(), NOW).place, judge([FOLLOWS], policy(), NOW).place
    assert own is not None
    assert followed is not None
    assert (own.handle, own.follows) == (handle_of("a"), False)
    assert (followed.handle, followed.follows, followed.identifier) == (handle_of("a"), True, "c")


def test_absolute_limit_ends_a_session_and_not_a_memory() -> None:
    """A rotated-away identifier is remembered, however old its session is."""
    strict = policy(max_lifetime=50.0)
    assert [rejection.reason for rejection in judge([LIVE], strict, NOW).rejections] == ["unknown"]
    assert judge([LONG_RETIRED], strict, NOW).retired


@pytest.mark.parametrize("case", CASES)
def test_rejections_name_handles(case: str) -> None:
    """Never the identifier (promise 10)."""
    arrival = judge(CASES[case][0], policy(), NOW)
    assert {len(rejection.handle) for rejection in arrival.rejections} <= {64}
    assert "identifier" not in repr(arrival)
