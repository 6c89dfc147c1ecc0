"""FakeClock."""

from datetime import timedelta

from aiohttp_spry_session.testing import FakeClock


def test_the_clock_stands_still_until_it_is_advanced():
    """It shows what it was set to, and moves by seconds or a timedelta."""
    clock = FakeClock()
    assert clock() == clock.now == 1_700_000_000.0
    clock.advance(1.5)
    clock.advance(timedelta(days=1))
    assert clock() == 1_700_086_401.5
    assert repr(clock) == "FakeClock(1700086401.5)"


def test_the_clock_can_begin_anywhere():
    """Its first time is an argument."""
    assert FakeClock(0)() == 0
