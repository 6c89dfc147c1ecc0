"""The contract under concurrency: operations that are under way at the same time, through one adapter or two."""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from ...adapter import SessionAdapter
from ...record import successor_of
from ..clock import FakeClock
from .base import ADA, LIFETIME, SECOND, Contract, a_record, a_retired_record, rotate

__all__ = ["RaceLaws"]

_N = 20


async def _interleaved(first: list[Awaitable[Any]], second: list[Awaitable[Any]]) -> list[Any]:
    """Start the operations of two adapters in turn, and return all results."""
    return await asyncio.gather(*(operation for pair in zip(first, second, strict=True) for operation in pair))


class RaceLaws(Contract):
    """Of operations that exclude each other exactly one succeeds."""

    async def test_one_of_parallel_creations_wins(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """One creation answers ``True``, and its record is the one that is there."""
        records = [a_record(clock, f"{number}".encode()) for number in range(2 * _N)]
        results = await _interleaved(
            [adapter.create("a", record) for record in records[::2]],
            [other.create("a", record) for record in records[1::2]],
        )
        assert results.count(True) == 1
        assert await adapter.load("a") == records[results.index(True)]

    async def test_one_of_parallel_updates_wins(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Of updates to the same version one answers ``True``, and its record is the one that is there."""
        assert await adapter.create("a", a_record(clock))
        records = [a_record(clock, f"{number}".encode(), version=2) for number in range(2 * _N)]
        results = await _interleaved(
            [adapter.update("a", record) for record in records[::2]],
            [other.update("a", record) for record in records[1::2]],
        )
        assert results.count(True) == 1
        assert await adapter.load("a") == records[results.index(True)]

    async def test_one_of_parallel_rotations_wins(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """One rotation answers ``True``; the old handle names its new one, and the others left nothing behind."""
        assert await adapter.create("old", a_record(clock, owner=ADA))
        record = a_record(clock, version=2, owner=ADA)
        results = await _interleaved(
            [rotate(adapter, "old", f"new {number}", record) for number in range(0, 2 * _N, 2)],
            [rotate(other, "old", f"new {number}", record) for number in range(1, 2 * _N, 2)],
        )
        assert results.count(True) == 1
        winner = f"new {results.index(True)}"
        retired = await adapter.load("old")
        assert retired is not None
        successor = successor_of(retired)
        assert successor is not None
        assert successor.handle == winner
        there = [n for n in range(2 * _N) if await adapter.load(f"new {n}") is not None]
        assert there == [results.index(True)]
        if self.finds_owners:
            assert set(await adapter.find(ADA)) == {winner}

    async def test_parallel_renewals_all_count(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Every renewal of a live record succeeds, and the latest end is the one that stays."""
        record = a_record(clock)
        assert await adapter.create("a", record)
        ends = [clock() + LIFETIME + number * 7 % (2 * _N) for number in range(2 * _N)]
        results = await _interleaved(
            [adapter.renew("a", end) for end in ends[::2]], [other.renew("a", end) for end in ends[1::2]]
        )
        assert all(result is True for result in results)
        assert await adapter.load("a") == replace(record, version=1 + 2 * _N, expires_at=max(ends))

    async def test_parallel_increments_add_up(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Load, change, update, and again where it failed: no step is lost."""
        assert await adapter.create("a", a_record(clock, b"0"))

        async def increment(at: SessionAdapter) -> None:
            while True:
                record = await at.load("a")
                assert record is not None
                payload = b"%d" % (int(record.payload) + 1)
                if await at.update("a", replace(record, payload=payload, version=record.version + 1)):
                    return

        await _interleaved([increment(adapter) for _ in range(_N)], [increment(other) for _ in range(_N)])
        record = await adapter.load("a")
        assert record is not None
        assert (record.payload, record.version) == (b"%d" % (2 * _N), 1 + 2 * _N)

    async def test_nothing_survives_a_parallel_destroy(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Whatever runs beside it, a destroyed record is gone when ``destroy`` returned and all others are through."""
        for number in range(_N):
            handle, record = f"{number}", a_record(clock, owner=ADA)
            assert await adapter.create(handle, record)
            await asyncio.gather(
                other.update(handle, replace(record, version=2)),
                adapter.renew(handle, clock() + 2 * LIFETIME),
                adapter.destroy(handle) if number % 2 else other.destroy(handle),
                other.renew(handle, None),
                adapter.update(handle, replace(record, version=2)),
            )
            assert await adapter.load(handle) is None
        if self.finds_owners:
            assert not await adapter.find(ADA)

    async def test_one_of_parallel_destroys_removes_it(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Of those that remove one record, live or retired, one answers ``True``, so that one tells of its end."""
        for number in range(_N):
            record = a_record(clock, owner=ADA) if number % 2 else a_retired_record(clock)
            assert await adapter.create(f"{number}", record)
            results = await _interleaved(
                [adapter.destroy(f"{number}") for _ in range(2)], [other.destroy(f"{number}") for _ in range(2)]
            )
            assert sorted(results) == [False, False, False, True]
            assert await adapter.load(f"{number}") is None

    async def test_an_update_and_a_rotation_exclude_each_other(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """Both start from one version, so one of them succeeds, and the store shows which."""
        for number in range(_N):
            old, new, record = f"old {number}", f"new {number}", a_record(clock)
            updated, moved = replace(record, payload=SECOND, version=2), replace(record, version=2)
            assert await adapter.create(old, record)
            operations = [adapter.update(old, updated), rotate(other, old, new, moved)]
            results = await asyncio.gather(*operations[:: 1 if number % 2 else -1])
            assert sorted(results) == [False, True]
            at_old, at_new = await adapter.load(old), await adapter.load(new)
            assert at_old is not None
            assert (at_old == updated, at_new) == ((True, None) if not at_old.retired else (False, moved))

    async def test_a_mixed_crowd_gets_the_answers_of_each_alone(
        self, adapter: SessionAdapter, clock: FakeClock
    ) -> None:
        """Operations on different handles do not touch each other, however a store may bundle them."""
        record, again = a_record(clock), a_record(clock, SECOND, version=2)
        kinds = ("load", "taken", "update", "stale", "renew", "destroy", "rotate", "lost", "expired")
        for kind in kinds:
            lifetime = 1.0 if kind == "expired" else LIFETIME
            await asyncio.gather(
                *(adapter.create(f"{kind} {n}", a_record(clock, lifetime=lifetime)) for n in range(_N))
            )
        clock.advance(1)

        def crowd(n: int) -> list[Awaitable[Any]]:
            return [
                adapter.load(f"load {n}"),
                adapter.load(f"missing {n}"),
                adapter.create(f"create {n}", record),
                adapter.create(f"taken {n}", record),
                adapter.update(f"update {n}", again),
                adapter.update(f"stale {n}", record),
                adapter.renew(f"renew {n}", clock() + 2 * LIFETIME),
                adapter.destroy(f"destroy {n}"),
                rotate(adapter, f"rotate {n}", f"rotated {n}", again),
                rotate(adapter, f"lost {n}", f"nowhere {n}", record, grace=1.0),
                adapter.load(f"expired {n}"),
            ]

        alone = [record, None, True, False, True, False, True, True, True, False, None]
        results = await asyncio.gather(*(operation for n in range(_N) for operation in crowd(n)))
        for n in range(_N):
            assert results[n * len(alone) : (n + 1) * len(alone)] == alone
        for n in range(_N):
            assert await adapter.load(f"update {n}") == again
            assert await adapter.load(f"rotated {n}") == again
            assert await adapter.load(f"stale {n}") == record
            assert await adapter.load(f"create {n}") == record
            assert await adapter.load(f"destroy {n}") is None
            assert await adapter.load(f"nowhere {n}") is None

    async def test_a_cancelled_caller_harms_nobody(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A caller that is cancelled on its way leaves a whole operation or none, and the store goes on."""
        for steps in range(6):
            old, new, record = f"old {steps}", f"new {steps}", a_record(clock)
            assert await adapter.create(old, record)
            rotation = asyncio.ensure_future(rotate(adapter, old, new, replace(record, version=2)))
            bystander = asyncio.ensure_future(adapter.create(f"bystander {steps}", record))
            for _ in range(steps):
                await asyncio.sleep(0)
            rotation.cancel()
            await asyncio.gather(rotation, return_exceptions=True)
            assert await bystander is True
            # Whatever is still under way is through when this write is: it is on the same handle.
            await adapter.renew(old, None)
            at_old = await adapter.load(old)
            assert at_old is not None
            if at_old.retired:
                assert await adapter.load(new) == replace(record, version=2)
            else:
                assert await adapter.update(old, replace(at_old, version=at_old.version + 1)) is True
