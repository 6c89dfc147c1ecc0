"""Races that the explorer has found, each with the order of store calls that showed it."""

from __future__ import annotations

import pytest

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.testing.explorer import Explorer


@pytest.mark.parametrize("rotation", ["rotate", "bind", "rotate with grace"])
@pytest.mark.parametrize("schedule", ["abab", "abba", "abbba", "abbbba", "abbbbba"])
async def test_revoke_owner_keeps_a_session_that_is_rotated_meanwhile(rotation: str, schedule: str) -> None:
    """A session to be kept lives on where another request rotates it before or after any look of ``revoke_owner``."""
    await Explorer(MemorySessionAdapter()).replay(rotation, "revoke others", schedule=schedule)


@pytest.mark.parametrize("lazy", [False, True])
async def test_revoke_owner_keeps_a_session_that_is_not_loaded_yet(lazy: bool) -> None:
    """A session to be kept need not have been looked up before."""
    await Explorer(MemorySessionAdapter(), lazy=lazy).replay("revoke others", schedule="a")
