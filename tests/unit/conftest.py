"""What the unit tests share."""

from __future__ import annotations

import pytest

from aiohttp_spry_session import SessionManager


@pytest.fixture
def opened(memory, clock):
    """Make managers on one store, which needs no opening."""
    return lambda **options: SessionManager(memory, clock=clock, **options)
