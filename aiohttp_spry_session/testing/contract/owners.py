"""The contract of ``find`` and ``purge``."""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ...adapter import SessionAdapter
from ..clock import FakeClock
from .base import ADA, LIFETIME, Contract, a_record, a_retired_record, rotate

__all__ = ["OwnerLaws"]

_MANY = 1200
"""More records than a purge deletes in one step, in any adapter of the package."""


class OwnerLaws(Contract):
    """What is known of many records together."""

    async def handles_of(self, adapter: SessionAdapter, owner: str) -> set[str]:
        """Return the handles that ``find`` answers, once each of its records was compared with ``load``."""
        found = await adapter.find(owner)
        for handle, record in found.items():
            assert record == await adapter.load(handle)
        return set(found)

    async def test_find_answers_an_owners_live_records(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """An owner's records are found by their handles, nobody else's, and none without an owner."""
        if not self.finds_owners:
            with pytest.raises(NotImplementedError):
                await adapter.find(ADA)
            return
        assert await adapter.create("1", a_record(clock, owner=ADA))
        assert await adapter.create("2", a_record(clock, owner=ADA, lifetime=None))
        assert await adapter.create("3", a_record(clock, owner="adam"))
        assert await adapter.create("4", a_record(clock, owner=None))
        for at in (adapter, other):
            assert await self.handles_of(at, ADA) == {"1", "2"}
            assert await self.handles_of(at, "adam") == {"3"}
            for nobody in ("", "ad", "ADA", "None", "null", "%", "*"):
                assert not await at.find(nobody), nobody

    async def test_find_answers_nothing_that_is_not_live(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Neither destroyed nor expired nor retired records are found."""
        if not self.finds_owners:
            return
        assert await adapter.create("destroyed", a_record(clock, owner=ADA))
        assert await adapter.create("short", a_record(clock, owner=ADA, lifetime=10.0))
        assert await adapter.create("retired", replace(a_retired_record(clock), owner=ADA))
        assert await adapter.create("fenced", a_record(clock, owner=ADA))
        assert await adapter.create("live", a_record(clock, owner=ADA))
        await adapter.destroy("destroyed")
        assert await adapter.update("fenced", a_retired_record(clock, version=2))
        assert await self.handles_of(adapter, ADA) == {"short", "live"}
        clock.advance(10)
        assert await self.handles_of(adapter, ADA) == {"live"}
        clock.advance(LIFETIME)
        assert not await adapter.find(ADA)

    async def test_find_follows_changes(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """The index follows the owner through updates, renewals, rotations and new beginnings."""
        if not self.finds_owners:
            return
        assert await adapter.create("a", a_record(clock))
        assert await adapter.update("a", a_record(clock, version=2, owner=ADA))
        assert await self.handles_of(adapter, ADA) == {"a"}
        assert await adapter.update("a", a_record(clock, version=3, owner="bob"))
        assert not await adapter.find(ADA)
        assert await adapter.renew("a", clock() + 2 * LIFETIME)
        assert await self.handles_of(adapter, "bob") == {"a"}
        assert await rotate(adapter, "a", "b", a_record(clock, version=5, owner=ADA))
        assert not await adapter.find("bob")
        assert await self.handles_of(adapter, ADA) == {"b"}
        assert await adapter.update("b", a_record(clock, version=6))
        assert not await adapter.find(ADA)
        assert await adapter.create("c", a_record(clock, owner=ADA, lifetime=1.0))
        clock.advance(1)
        assert await adapter.create("c", a_record(clock, owner="bob"))
        assert not await adapter.find(ADA)
        assert await self.handles_of(adapter, "bob") == {"c"}

    async def test_find_sees_a_renewed_record_past_its_first_end(
        self, adapter: SessionAdapter, clock: FakeClock
    ) -> None:
        """An index that expires with the records keeps up with their renewal."""
        if not self.finds_owners:
            return
        assert await adapter.create("a", a_record(clock, owner=ADA))
        assert await adapter.create("b", a_record(clock, owner=ADA))
        assert await adapter.renew("a", clock() + 3 * LIFETIME)
        clock.advance(2 * LIFETIME)
        await adapter.purge()
        assert await self.handles_of(adapter, ADA) == {"a"}

    async def test_purge_deletes_what_has_expired_and_counts_it(
        self, adapter: SessionAdapter, clock: FakeClock
    ) -> None:
        """Everything that is at its end goes, exactly counted, and nothing else does."""
        ends = {"past": 9.0, "at its end": 10.0, "soon": 10.001, "later": LIFETIME, "never": None}
        for handle, lifetime in ends.items():
            assert await adapter.create(handle, a_record(clock, lifetime=lifetime, owner=ADA))
        assert await adapter.create("retired", a_retired_record(clock))
        assert await adapter.purge() == 0
        clock.advance(10)
        assert await adapter.purge() == (2 if self.purges else 0)
        assert await adapter.purge() == 0
        for handle in ("soon", "later", "never", "retired"):
            assert await adapter.load(handle) is not None, handle
        clock.advance(LIFETIME)
        assert await adapter.purge() == (3 if self.purges else 0)
        assert await adapter.load("never") is not None

    async def test_purge_goes_by_the_end_as_it_is_now(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A record that was renewed, shortened or destroyed meanwhile is purged by its latest end, and once."""
        for handle in ("renewed", "endless", "shortened", "destroyed", "left"):
            assert await adapter.create(handle, a_record(clock, lifetime=100.0))
        assert await adapter.renew("renewed", clock() + 200)
        assert await adapter.renew("endless", None)
        assert await adapter.update("shortened", a_record(clock, version=2, lifetime=10.0))
        await adapter.destroy("destroyed")
        clock.advance(10)
        assert await adapter.purge() == (1 if self.purges else 0)
        clock.advance(90)
        assert await adapter.purge() == (1 if self.purges else 0)
        assert await adapter.load("renewed") is not None
        clock.advance(100)
        assert await adapter.purge() == (1 if self.purges else 0)
        assert await adapter.load("endless") is not None

    async def create_many(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Store records that end within two seconds, under the handles ``0`` and up."""
        ends = [1.0 + number % 7 / 7 for number in range(_MANY)]
        created = await asyncio.gather(
            *(adapter.create(f"{number}", a_record(clock, lifetime=end)) for number, end in enumerate(ends))
        )
        assert all(created)

    async def test_purge_deletes_many(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """However many have expired, one call deletes and counts them all."""
        await self.create_many(adapter, clock)
        assert await adapter.create("live", a_record(clock))
        clock.advance(10)
        assert await adapter.purge() == (_MANY if self.purges else 0)
        assert await adapter.purge() == 0
        assert await adapter.load("live") is not None

    async def test_others_work_while_purge_runs(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Operations beside a purge are answered rightly, and it takes nothing that is not expired."""
        await self.create_many(adapter, clock)
        live = a_record(clock)
        assert await adapter.create("live", live)
        assert await adapter.create("updated", live)
        clock.advance(10)
        purged, loaded, created, updated = await asyncio.gather(
            adapter.purge(),
            adapter.load("live"),
            adapter.create("7", a_record(clock, owner=ADA)),
            adapter.update("updated", replace(live, version=2)),
        )
        # A creation may take the place of an expired record, or clear away a few.
        assert (_MANY - 10 <= purged <= _MANY) if self.purges else purged == 0
        assert loaded == live
        assert created is True
        assert updated is True
        assert await adapter.load("7") is not None
        assert await adapter.load("8") is None
        assert await adapter.purge() == 0
