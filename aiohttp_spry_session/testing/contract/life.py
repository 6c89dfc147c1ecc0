"""The contract of an adapter's own life: options, ``open`` and ``close``."""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from ...adapter import SessionAdapter
from ..clock import FakeClock
from .base import ADA, Contract, MakeAdapter, a_record, a_retired_record, opened

__all__ = ["LifeLaws"]


class LifeLaws(Contract):
    """An adapter is opened, closed, and opened again."""

    async def test_it_is_an_adapter(self, make_adapter: MakeAdapter) -> None:
        """A new adapter has an expiration, and the time of day for a clock until it is given another."""
        adapter = make_adapter()
        assert isinstance(adapter, SessionAdapter)
        assert adapter.expiration is None or adapter.expiration > 0
        assert abs(adapter.clock() - time.time()) < 5

    async def test_a_closed_adapter_fails(self, make_adapter: MakeAdapter, clock: FakeClock) -> None:
        """A store that is not reachable is an exception: ``None`` would log everybody out."""
        record = a_record(clock)
        async with opened(make_adapter(), clock) as adapter:
            assert await adapter.create("a", record)
        if not self.fails_when_closed:
            assert await adapter.load("a") == (record if self.survives_reopening else None)
            return
        for closed in (adapter, make_adapter()):
            operations: dict[str, tuple[object, ...]] = {
                "load": ("a",),
                "create": ("b", record),
                "update": ("a", replace(record, version=2)),
                "destroy": ("a",),
                "renew": ("a", None),
                "rotate": ("a", "b", replace(record, version=2), a_retired_record(clock, "b")),
            }
            if self.finds_owners:
                operations["find"] = (ADA,)
            if self.purges:
                operations["purge"] = ()
            if self.scans:
                operations["count"] = ()
                with pytest.raises(Exception):  # noqa: B017, PT011
                    await anext(aiter(closed.scan()))
            for operation, arguments in operations.items():
                with pytest.raises(Exception):  # noqa: B017, PT011 - a driver's own error is fine
                    await getattr(closed, operation)(*arguments)

    async def test_a_closed_adapter_can_be_opened_again(self, make_adapter: MakeAdapter, clock: FakeClock) -> None:
        """An adapter works as before after each of several lives, on what the store kept."""
        adapter, record = make_adapter(), a_record(clock)
        for life in range(3):
            async with opened(adapter, clock):
                if self.survives_reopening:
                    for earlier in range(life):
                        assert await adapter.load(f"{earlier}") == record
                assert await adapter.create(f"{life}", record)
                assert await adapter.load(f"{life}") == record

    async def test_another_adapter_finds_what_one_left(self, make_adapter: MakeAdapter, clock: FakeClock) -> None:
        """What was stored before one adapter was closed is there for the next one on the same store."""
        record = a_record(clock, owner=ADA)
        async with opened(make_adapter(), clock) as adapter:
            await asyncio.gather(*(adapter.create(f"{number}", record) for number in range(10)))
        shared = self.shares_store and self.survives_reopening
        async with opened(make_adapter(), clock) as adapter:
            for number in range(10):
                assert await adapter.load(f"{number}") == (record if shared else None)

    async def test_closing_what_was_never_opened_is_fine(self, make_adapter: MakeAdapter) -> None:
        """A start-up that fails half way can close everything."""
        await make_adapter().close()
