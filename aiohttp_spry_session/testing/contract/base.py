"""What the parts of the contract have in common: its fixtures, and records to store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import pytest_asyncio

from ...adapter import SessionAdapter
from ...record import SessionRecord, retire
from ..clock import FakeClock

__all__ = [
    "ADA",
    "FIRST",
    "LIFETIME",
    "SECOND",
    "Contract",
    "MakeAdapter",
    "a_record",
    "a_retired_record",
    "opened",
    "rotate",
]

MakeAdapter = Callable[[], SessionAdapter]

ADA = "ada"
"""An owner."""

FIRST, SECOND = b"first", b"second"
"""Payloads that can be told from each other, and from that of :func:`a_record`."""

LIFETIME = 1200.0
"""Seconds from the creation of :func:`a_record` to its end."""


def a_record(
    clock: FakeClock,
    payload: bytes = b"data",
    *,
    version: int = 1,
    lifetime: float | None = LIFETIME,
    owner: str | None = None,
) -> SessionRecord:
    """Return a live record that begins now."""
    now = clock()
    return SessionRecord(payload, version, now, None if lifetime is None else now + lifetime, owner)


def a_retired_record(clock: FakeClock, successor: str = "successor", *, version: int = 2) -> SessionRecord:
    """Return what a rotation to ``successor`` leaves behind."""
    return retire(a_record(clock, version=version), successor, now=clock())


async def rotate(adapter: SessionAdapter, old: str, new: str, record: SessionRecord, *, grace: float = 0.0) -> bool:
    """Rotate as the manager does, which makes the retired record too."""
    return await adapter.rotate(old, new, record, retire(record, new, now=adapter.clock(), grace=grace))


@asynccontextmanager
async def opened(adapter: SessionAdapter, clock: FakeClock) -> AsyncIterator[SessionAdapter]:
    """Keep an adapter open, with a clock of the test."""
    adapter.clock = clock
    await adapter.open()
    try:
        yield adapter
    finally:
        await adapter.close()


@pytest.mark.asyncio
class Contract:
    """The fixtures, and what an adapter may declare; :class:`AdapterContract` describes both."""

    shares_store: ClassVar[bool] = True
    finds_owners: ClassVar[bool] = True
    scans: ClassVar[bool] = True
    purges: ClassVar[bool] = True
    fails_when_closed: ClassVar[bool] = True
    survives_reopening: ClassVar[bool] = True

    @pytest.fixture
    def make_adapter(self) -> MakeAdapter:
        """Return a function that makes adapters on one store; each subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture make_adapter, see AdapterContract")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock of the test's adapters."""
        return FakeClock()

    @pytest_asyncio.fixture
    async def adapter(self, make_adapter: MakeAdapter, clock: FakeClock) -> AsyncIterator[SessionAdapter]:
        """Keep an adapter open during the test."""
        async with opened(make_adapter(), clock) as adapter:
            yield adapter

    @pytest_asyncio.fixture
    async def other(
        self, adapter: SessionAdapter, make_adapter: MakeAdapter, clock: FakeClock
    ) -> AsyncIterator[SessionAdapter]:
        """Keep a second adapter on the same store open; where each has its own, this is the first one."""
        if not self.shares_store:
            yield adapter
            return
        async with opened(make_adapter(), clock) as other:
            yield other
