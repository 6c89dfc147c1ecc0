"""Clocks that nobody would believe."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiohttp import web

from aiohttp_spry_session import get_session
from aiohttp_spry_session.testing import FakeClock

from ..support import identifier_in
from .handlers import ACTIONS

CLOCKS = {
    "1970": 0.0,
    "before 1970": -1e9,
    "long before": -1e12,
    "year 9999": 253_402_300_799.0,
    "year 10000": 253_402_300_800.0,
    "far future": 1e15,
    "further": 1e300,
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "an int": 1_700_000_000,
}


async def look(request: web.Request) -> web.Response:
    session = get_session(request)
    await session.set("n", 1)
    await session.save()
    times = [session.created_at, session.expires_at]
    return web.json_response([time and time.isoformat() for time in times])


@pytest.mark.parametrize("now", CLOCKS.values(), ids=CLOCKS)
@pytest.mark.parametrize("options", [{}, {"max_lifetime": 60, "rolling": True}], ids=["plain", "limited"])
async def test_no_clock_makes_a_500(visit, make_manager, now, options):
    """Whatever time it is said to be, every operation gives a session or an empty one, and times that are times."""
    manager = make_manager(clock=FakeClock(now), **options)
    visitor = await visit(manager, new=True, look=look)
    for path in ("look", "look", "read", *(f"do/{action}" for action in ACTIONS), "look"):
        assert (await visitor.ask(f"/{path}")).status in (200, 409)
    await visitor.ask("/do/bind")
    for info in await manager.find("user"):
        assert info.created_at.tzinfo is UTC
    assert await manager.purge() >= 0


async def test_times_past_the_calendar_are_its_end(visit, make_manager):
    """A datetime holds no year 10000: the last one that it holds stands for everything later."""
    visitor = await visit(make_manager(clock=FakeClock(1e15)), new=True, look=look)
    last = datetime.max.replace(tzinfo=UTC).isoformat()
    assert await (await visitor.ask("/look")).json() == [last, last]
    visitor = await visit(make_manager(clock=FakeClock(-1e12)), new=True, look=look)
    first = datetime.min.replace(tzinfo=UTC).isoformat()
    assert await (await visitor.ask("/look")).json() == [first, first]


async def test_clock_that_jumps_back(visit, manager, clock):
    """A session lives on, longer than it should have but not for ever, and a renewal does not shorten it."""
    visitor = await visit(manager, look=look)
    clock.advance(-100_000)
    response = await visitor.ask("/do/renew")
    assert identifier_in(response.headers) == visitor.identifier
    assert "Max-Age=101200" in response.headers["Set-Cookie"]
    clock.advance(100_000 + 1199)
    assert await (await visitor.ask("/read")).json() == {"n": 1}
    clock.advance(2)
    assert await (await visitor.ask("/read")).json() == {}


async def test_max_age_stays_within_what_browsers_accept(visit, manager, clock):
    """After a jump back of years Max-Age is 400 days, and never 0 or less, which would remove the cookie."""
    visitor = await visit(manager)
    clock.advance(-3 * 365 * 86400)
    assert f"Max-Age={400 * 86400};" in (await visitor.ask("/do/renew")).headers["Set-Cookie"]
    clock.advance(3 * 365 * 86400 + 1199.5)
    response = await visitor.ask("/do/rotate")
    assert "Max-Age=1;" in response.headers["Set-Cookie"]


async def test_properties_tell_the_times(visit, manager, clock):
    """created_at and expires_at are aware datetimes of what is stored; bind sets both anew, rotate neither."""
    visitor = await visit(manager, look=look)
    start = datetime.fromtimestamp(clock(), UTC)
    clock.advance(100)
    times = [start.isoformat(), datetime.fromtimestamp(clock() + 1100, UTC).isoformat()]
    assert await (await visitor.ask("/look")).json() == times
    await visitor.ask("/do/rotate")
    assert await (await visitor.ask("/look")).json() == times
    await visitor.ask("/do/bind")
    times = [datetime.fromtimestamp(clock() + later, UTC).isoformat() for later in (0, 1200)]
    assert await (await visitor.ask("/look")).json() == times
