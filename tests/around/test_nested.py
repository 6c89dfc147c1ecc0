"""Sealed, observed, moving: one line."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SQLiteSessionAdapter, StoreCall
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.observed import ObservedAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock

from ..support import Recorder, arrive, session_of
from .contracts import contract

KEY = b"k" * 32

TestNested = contract(
    lambda new, old: SealedAdapter(ObservedAdapter(MigratingAdapter(new, old), lambda call: None), KEY),
    "sqlite",
    "memory",
)
TestNestedOtherwise = contract(
    lambda new, old: MigratingAdapter(
        ObservedAdapter(SealedAdapter(new, KEY, hide_owners=True), lambda call: None), SealedAdapter(old, KEY)
    ),
    "memory",
    "memory",
)


async def test_one_line(tmp_path: Path, clock: FakeClock) -> None:
    """Sessions that were sealed in the old store move, are still sealed, and each call is told of."""
    old, calls = MemorySessionAdapter(), list[StoreCall]()
    before = SessionManager(SealedAdapter(old, KEY), clock=clock)
    async with before:
        life = arrive(before, ())
        identifier = session_of(life).identifier
        await session_of(life).bind("ada")
        identifier = session_of(life).identifier
        await session_of(life).set("basket", ["tea"])
        await life.commit()

    new = SQLiteSessionAdapter(tmp_path / "sessions.db")
    manager = SessionManager(SealedAdapter(ObservedAdapter(MigratingAdapter(new, old), calls.append), KEY), clock=clock)
    told = Recorder(manager)
    async with manager:
        for _ in range(2):
            life = arrive(manager, (identifier,))
            assert await session_of(life).get("basket") == ["tea"]
        await session_of(life).increment("visits")
        await life.commit()
        stored = await new.load(handle_of(identifier))
        assert stored is not None
        assert b"tea" not in stored.payload
        (info,) = await manager.find("ada")
        assert info.values == {"basket": ["tea"], "visits": 1}
        ended = await asyncio.gather(*(manager.revoke(info.handle) for _ in range(6)))
        assert ended.count(True) == 1
        assert told.told == [("destroyed", "revoke")]
        assert not await session_of(arrive(manager, (identifier,))).has("basket")
        assert await manager.find("ada") == []
        assert await old.find("ada") == {}
    counted = Counter(call.operation for call in calls)
    assert counted["load"] > 3
    assert counted["update"] >= 2
    assert {call.outcome for call in calls} == {"ok"}
