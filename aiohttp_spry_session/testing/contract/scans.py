"""The contract of ``scan`` and ``count``."""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
import gc
from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from ...adapter import SessionAdapter
from ...record import SessionRecord
from ..clock import FakeClock
from .base import ADA, LIFETIME, SECOND, Contract, a_record, a_retired_record, rotate
from .inputs import HOSTILE_NAMES

__all__ = ["ScanLaws"]

_MANY = 1200
"""More records than a scan looks at in one step, in any adapter of the package."""


def check_handles(found: Sequence[str], expected: Collection[str]) -> None:
    """Fail unless just these handles came, each once. (Thousands compared in one ``assert`` take pytest a minute.)"""
    came = set(found)
    missing, others = set(expected) - came, came - set(expected)
    assert not missing, f"{len(missing)} of {len(expected)} records do not come, such as that of {min(missing)!r}"
    assert not others, f"{len(others)} records come that are not there, such as that of {min(others)!r}"
    assert len(found) == len(came), f"{len(found) - len(came)} records come twice"


class ScanLaws(Contract):
    """What is known of all records together."""

    async def scanned(self, adapter: SessionAdapter) -> dict[str, SessionRecord]:
        """Return what a scan answers, once it is known that no handle comes twice and ``count`` says the same."""
        found: dict[str, SessionRecord] = {}
        async for handle, record in adapter.scan():
            assert handle not in found, f"{handle!r} comes twice"
            found[handle] = record
        assert await adapter.count() == len(found)
        return found

    async def test_scan_answers_all_live_records(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Everybody's records come with their handles, each as it was stored; of an empty store none does."""
        if not self.scans:
            with pytest.raises(NotImplementedError):
                await self.scanned(adapter)
            with pytest.raises(NotImplementedError):
                await adapter.count()
            return
        assert await self.scanned(adapter) == {}
        records = {
            "1": a_record(clock, owner=ADA),
            "2": a_record(clock, SECOND, owner=ADA, lifetime=None),
            "3": a_record(clock, version=7, owner="adam"),
            "4": a_record(clock, b""),
        }
        for handle, record in records.items():
            assert await adapter.create(handle, record)
        for at in (adapter, other):
            assert await self.scanned(at) == records

    async def test_scan_answers_whatever_handle_there_is(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """No handle is taken for syntax, for the end, or for another one."""
        if not self.scans:
            return
        for handle in HOSTILE_NAMES:
            assert await adapter.create(handle, a_record(clock, owner=handle))
        assert set(await self.scanned(adapter)) == set(HOSTILE_NAMES)

    async def test_scan_answers_nothing_that_is_not_live(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Neither destroyed nor expired nor retired records come, nor what was rotated away."""
        if not self.scans:
            return
        assert await adapter.create("destroyed", a_record(clock))
        assert await adapter.create("short", a_record(clock, lifetime=10.0))
        assert await adapter.create("retired", a_retired_record(clock))
        assert await adapter.create("fenced", a_record(clock, owner=ADA))
        assert await adapter.create("old", a_record(clock, owner=ADA))
        await adapter.destroy("destroyed")
        assert await adapter.update("fenced", a_retired_record(clock, version=2))
        assert await rotate(adapter, "old", "new", a_record(clock, version=2, owner=ADA), grace=30.0)
        assert set(await self.scanned(adapter)) == {"short", "new"}
        everything = {handle: record async for handle, record in adapter.scan_all()}
        assert {"short", "new"} <= set(everything) <= {"short", "new", "retired", "fenced", "old"}
        assert {handle: await adapter.load(handle) for handle in everything} == everything
        clock.advance(10)
        assert set(await self.scanned(adapter)) == {"new"}
        clock.advance(LIFETIME)
        assert await self.scanned(adapter) == {}

    async def store_many(self, adapter: SessionAdapter, clock: FakeClock) -> dict[str, SessionRecord]:
        """Store many records, a third of which has expired, and a third is retired; return the others."""
        live, gone = a_record(clock), a_record(clock, lifetime=1.0)
        retired = replace(a_retired_record(clock), expires_at=clock() + LIFETIME)
        created = await asyncio.gather(
            *(adapter.create(f"{number}", (live, gone, retired)[number % 3]) for number in range(_MANY * 3))
        )
        assert all(created)
        clock.advance(1)
        return {f"{number}": live for number in range(0, _MANY * 3, 3)}

    async def test_scan_answers_many(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """However many steps it takes, each record comes once."""
        if self.scans:
            expected = await self.store_many(adapter, clock)
            assert await self.scanned(adapter) == expected

    async def test_others_change_what_is_scanned(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """What is there all the time comes once, whatever is created, renewed, rotated and ended between two steps."""
        if not self.scans:
            return
        staying = await self.store_many(adapter, clock)
        for number in range(_MANY):
            assert await adapter.create(f"r{number}", a_record(clock, version=1))
            assert await adapter.create(f"d{number}", a_record(clock))
        found: list[str] = []
        async for handle, _ in adapter.scan():
            number = len(found)
            found.append(handle)
            if number < _MANY and number % 3 == 0:
                step = number // 3
                results = await asyncio.gather(
                    adapter.create(f"c{number}", a_record(clock)),
                    rotate(adapter, f"r{step}", f"s{step}", a_record(clock, version=2)),
                    adapter.renew(f"{number}", clock() + 2 * LIFETIME),
                    adapter.destroy(f"d{step}"),
                )
                assert all(results)
        assert len(found) == len(set(found))
        changed = {"c", "r", "s", "d"}
        check_handles([handle for handle in found if handle[0] not in changed], staying)

    async def test_others_work_while_a_scan_is_under_way(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Two scans at once do not disturb each other, and operations beside them are answered rightly."""
        if not self.scans:
            return
        expected = await self.store_many(adapter, clock)
        first, second, loaded, created = await asyncio.gather(
            self.keys_of(adapter), self.keys_of(adapter), adapter.load("0"), adapter.create("0", a_record(clock))
        )
        check_handles(first, expected)
        check_handles(second, expected)
        assert loaded == expected["0"]
        assert created is False

    async def keys_of(self, adapter: SessionAdapter) -> list[str]:
        """Return the handles that come in a scan."""
        return [handle async for handle, _ in adapter.scan()]

    async def test_a_scan_that_is_abandoned_leaves_nothing_behind(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Whoever stops half-way, or is cancelled there, holds up nobody; the next scan is whole, and closing works."""
        if not self.scans:
            return
        expected = await self.store_many(adapter, clock)
        for _ in range(20):
            await anext(adapter.scan())
        halfway = adapter.scan()
        await anext(halfway)
        scanning = asyncio.ensure_future(self.keys_of(adapter))
        await asyncio.sleep(0)
        scanning.cancel()
        await asyncio.wait({scanning})
        assert await other.update("0", replace(expected["0"], version=2))
        assert await other.destroy("0")
        check_handles(await self.keys_of(adapter), expected.keys() - {"0"})
        del halfway
        gc.collect()
        await adapter.purge()
