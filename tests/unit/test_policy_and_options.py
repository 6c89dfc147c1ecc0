"""The manager's options: checked at construction, readable afterwards; and the arithmetic of lifetimes."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_spry_session import (
    JSONCodec,
    MemorySessionAdapter,
    SessionError,
    SessionManager,
    SessionRecord,
    SQLiteSessionAdapter,
    generate_identifier,
)
from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.facts import NO_FACTS, Facts
from aiohttp_spry_session.options import read_lifetime
from aiohttp_spry_session.policy import Policy, to_datetime

from ..support import arrive, session_of

DEFAULTS = {
    "name": "SPRY_SESSION_ID",
    "domain": None,
    "path": None,
    "secure": False,
    "http_only": True,
    "identifier_generator": generate_identifier,
    "same_site": "Lax",
    "partitioned": False,
    "persistent": True,
    "max_lifetime": None,
    "rolling": False,
    "autostart": False,
    "lazy": False,
    "max_bytes": 65536,
    "timeout": 5.0,
    "clock": time.time,
}

OTHERS = {
    "name": "__Host-sid",
    "secure": True,
    "http_only": False,
    "identifier_generator": lambda: "x",
    "same_site": "Strict",
    "partitioned": True,
    "persistent": False,
    "max_lifetime": 3600.0,
    "rolling": True,
    "autostart": True,
    "lazy": True,
    "codec": JSONCodec(),
    "max_bytes": 100,
    "timeout": 0.5,
    "clock": lambda: 0.0,
}


def test_defaults():
    """The defaults are those of the design, and a new store in memory that ends sessions after 20 minutes."""
    manager = SessionManager()
    assert {option: getattr(manager, option) for option in DEFAULTS} == DEFAULTS
    assert isinstance(manager.adapter, MemorySessionAdapter)
    assert manager.adapter.expiration == 1200.0
    assert isinstance(manager.codec, JSONCodec)
    assert SessionManager().adapter is not manager.adapter


def test_options_can_be_read_back():
    """What was configured can be shown (ASVS 7.1.1)."""
    adapter = MemorySessionAdapter(expiration=timedelta(hours=8))
    manager = SessionManager(adapter, **OTHERS)
    assert {option: getattr(manager, option) for option in OTHERS} == OTHERS
    assert manager.adapter is adapter
    elsewhere = SessionManager(domain="example.org", path="/shop/")
    assert (elsewhere.domain, elsewhere.path) == ("example.org", "/shop/")
    assert adapter.expiration == 8 * 3600
    assert adapter.clock is manager.clock


@pytest.mark.parametrize("option", ["secure", "http_only", "partitioned", "persistent", "rolling", "autostart", "lazy"])
@pytest.mark.parametrize("value", ["False", 0, 1, None, []], ids=repr)
def test_switches_are_true_or_false(option, value):
    """A text such as "False" is truthy: a setting from the environment must not switch something on by mistake."""
    with pytest.raises(ValueError, match=f"^{option} must be True or False"):
        SessionManager(**{option: value})


BAD_LIFETIMES = [
    0,
    -1,
    0.0,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    400 * 86400 + 1,
    timedelta(0),
    timedelta(days=-1),
    timedelta(days=401),
    timedelta.max,
    True,
    False,
    "20",
    b"",
    [],
    1j,
]


@pytest.mark.parametrize("value", BAD_LIFETIMES, ids=lambda value: repr(value)[:20])
def test_lifetimes_that_are_none(value, tmp_path):
    """Zero, negative, past 400 days, not a number: refused by name, saying what is allowed."""
    makers = {
        "expiration": lambda: MemorySessionAdapter(expiration=value),
        "max_lifetime": lambda: SessionManager(max_lifetime=value),
        "timeout": lambda: SessionManager(timeout=value),
    }
    for option, make in makers.items():
        with pytest.raises(ValueError, match=f"^{option} must be .* above 0 and up to 400 days"):
            make()
    with pytest.raises(ValueError, match="expiration must be"):
        SQLiteSessionAdapter(tmp_path / "s.db", expiration=value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1, 1.0), (0.5, 0.5), (timedelta(milliseconds=1), 0.001), (timedelta(days=400), 400 * 86400.0), (None, None)],
)
def test_lifetimes(value, seconds):
    """A timedelta counts with days and microseconds, a number as seconds, None as no limit."""
    assert read_lifetime("x", value) == seconds
    assert SessionManager(max_lifetime=value, timeout=value).timeout == seconds


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "65536", math.inf], ids=repr)
def test_max_bytes_that_is_none(value):
    """A whole number above 0, or None."""
    with pytest.raises(ValueError, match="max_bytes must be a whole number above 0"):
        SessionManager(max_bytes=value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"adapter": "memory://"}, "adapter must be a SessionAdapter or None, not str"),
        ({"adapter": MemorySessionAdapter}, "adapter must be a SessionAdapter or None, not"),
        ({"clock": 7}, "clock must be a callable"),
        ({"codec": "json"}, "codec must have the methods"),
        ({"name": "a b"}, "name must be a cookie name"),
        ({"name": "__Host-a"}, "__Host- rule"),
        ({"domain": "a;b"}, "domain must be a host name"),
        ({"path": "x"}, "path must start with '/'"),
        ({"same_site": "lax"}, "same_site must be 'Strict', 'Lax', 'None' or None"),
        ({"same_site": "None"}, "same_site='None' needs secure=True"),
        ({"partitioned": True}, "partitioned=True needs secure=True"),
    ],
)
def test_other_options(options, told):
    """Everything is checked at construction."""
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        SessionManager(**options)


async def test_name_and_value_within_4096_bytes():
    """A generator may not return more than fits beside the cookie's name; a name has to leave room."""
    with pytest.raises(ValueError, match="name must leave room"):
        SessionManager(name="x" * 2044)
    SessionManager(name="x" * 2043)  # with "-next" that is half of them
    for length, fits in ((4090, True), (4091, False)):
        manager = SessionManager(name="s", identifier_generator=lambda length=length: "i" * length)
        session = session_of(arrive(manager, ()))
        if fits:
            await session.load()
            assert len("s-next" + session.identifier) == 4096
        else:
            with pytest.raises(SessionError, match="at most 4090 of them"):
                await session.load()


def policy(**options: object) -> Policy:
    given = {
        "expiration": 100.0,
        "max_lifetime": None,
        "rolling": False,
        "autostart": False,
        "persistent": True,
        "max_bytes": None,
    }
    return Policy(**{**given, **options})  # type: ignore[arg-type]


def record(expires_at: float | None, created_at: float = 0.0) -> SessionRecord:
    return SessionRecord(b"", 1, created_at, expires_at)


@pytest.mark.parametrize(
    ("expiration", "max_lifetime", "end"),
    [(100.0, None, 150.0), (None, 80.0, 80.0), (100.0, 80.0, 80.0), (100.0, 300.0, 150.0), (None, None, None)],
)
def test_end(expiration, max_lifetime, end):
    """The nearer of the two limits, counted from now and from the creation."""
    assert policy(expiration=expiration, max_lifetime=max_lifetime).end(0.0, 50.0) == end


@pytest.mark.parametrize(("before", "after"), [(120.0, 150.0), (150.0, 150.0), (200.0, 200.0), (None, None)])
def test_renewed_end(before, after):
    """A renewal never moves the end to an earlier time."""
    assert policy().renewed_end(record(before), 50.0) == after


def test_renewed_end_within_the_limit():
    """A renewal does not pass max_lifetime, which counts from the session's creation."""
    assert policy(max_lifetime=130.0).renewed_end(record(120.0, created_at=10.0), 50.0) == 140.0


@pytest.mark.parametrize(
    ("expires_at", "max_lifetime", "over"),
    [
        (51.0, None, False),
        (50.0, None, True),
        (None, None, False),
        (None, 50.0, True),
        (None, 50.5, False),
        (99.0, 50.0, True),
    ],
)
def test_is_over(expires_at, max_lifetime, over):
    """Either end ends it, at the very moment; a limit that was lowered counts for old sessions too."""
    assert policy(max_lifetime=max_lifetime).is_over(record(expires_at), 50.0) is over


ROLLS = [
    ({"rolling": False}, 51.0, False),
    ({}, 100.0, False),
    ({}, 99.9, True),
    ({}, None, False),
    ({"expiration": None}, 51.0, False),
    ({"max_lifetime": 60.0}, 60.0, False),
    ({"max_lifetime": 61.0}, 60.0, True),
]


@pytest.mark.parametrize(("options", "expires_at", "rolls"), ROLLS)
def test_rolls(options, expires_at, rolls):
    """Past half of the lifetime, and only where there is something to gain."""
    assert policy(**{"rolling": True, **options}).rolls(record(expires_at), 50.0) is rolls


def ending(expires_at):
    """A record that ends then."""
    return SessionRecord(pack({}), 1, 0.0, expires_at)


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [(60.0, 10), (50.1, 1), (50.0, 1), (0.0, 1), (None, 400 * 86400), (1e12, 400 * 86400), (math.inf, 400 * 86400)],
)
def test_max_age(expires_at, seconds):
    """Whole seconds, rounded up, at least 1 (0 would remove the cookie), at most what browsers accept."""
    assert policy().max_age(ending(expires_at), 50.0) == seconds
    assert policy(persistent=False).max_age(ending(expires_at), 50.0) is None


@given(st.floats(), st.floats())
def test_max_age_is_usable_for_any_clock(expires_at, now):
    """Whatever a clock and a store say, Max-Age is a whole number that browsers accept."""
    age = policy().max_age(ending(expires_at), now)
    assert isinstance(age, int)
    assert 1 <= age <= 400 * 86400


@given(st.floats() | st.integers())
def test_to_datetime(seconds):
    """Any number of seconds is a time, in UTC; what the calendar cannot hold is its nearest end."""
    assert to_datetime(seconds).tzinfo is UTC


def test_to_datetime_inside_the_calendar():
    """Seconds are Unix seconds."""
    assert to_datetime(1.5) == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert to_datetime(1e18) == datetime.max.replace(tzinfo=UTC)
    assert to_datetime(-1e18) == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires_at", "facts", "end"),
    [
        (100.0, NO_FACTS, 50.0),
        (30.0, NO_FACTS, 30.0),
        (None, NO_FACTS, 50.0),
        (100.0, Facts(max_lifetime=None), 100.0),
        (None, Facts(max_lifetime=90.0), None),
    ],
)
def test_last_end(expires_at, facts, end):
    """The earlier of both ends; a session with a limit of its own has that in its end already."""
    record = SessionRecord(pack({}, facts), 1, 0.0, expires_at)
    assert policy(max_lifetime=50.0).last_end(record) == end
    assert policy().last_end(record) == expires_at


def test_last_end_of_what_is_corrupt():
    """It is that of the options: whether it is over is asked before anybody reads it."""
    payload = pack({}, Facts(level="x")).replace(b"level", b"other")[:-1]
    record = SessionRecord(payload, 1, 0.0, 100.0)
    assert policy(max_lifetime=50.0).last_end(record) == 50.0
