"""The contract of ``hints``: whoever listens misses no end, while the store can be heard."""
# ruff: noqa: S101

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from ...adapter import SessionAdapter
from ...adapters.hints import closing
from ...record import retire
from ..clock import FakeClock
from .base import Contract, MakeAdapter, a_record, opened, rotate

__all__ = ["HintLaws"]

SECONDS = 10.0
"""How long a hint may take here: on a machine at work, more than the second that it should."""

MANY = 300


async def by_destroy(adapter: SessionAdapter, clock: FakeClock, handle: str) -> bool:
    """End a session as a logout does."""
    return await adapter.destroy(handle)


async def by_retiring(adapter: SessionAdapter, clock: FakeClock, handle: str) -> bool:
    """End a session as the first step of a logout does, so that a rotation under way sees it."""
    fence = replace(a_record(clock), version=2)
    return await adapter.update(handle, retire(fence, "", now=clock()))


async def by_rotation(adapter: SessionAdapter, clock: FakeClock, handle: str) -> bool:
    """End a handle; the session lives on under another one."""
    return await rotate(adapter, handle, f"{handle}-next", a_record(clock, version=2))


ENDS = (by_destroy, by_retiring, by_rotation)


class Listener:
    """Somebody who listens; where there are no hints, to nothing."""

    def __init__(self, hints: AsyncIterator[str | None] | None) -> None:
        self._hints = hints

    async def hears(self, handles: set[str]) -> None:
        """Wait until each of these was hinted at, by its name or by "look at everything again"."""
        missing = set(handles)
        async with asyncio.timeout(SECONDS):
            while self._hints is not None and missing:
                hint = await anext(self._hints)
                missing = set() if hint is None else missing - {hint}

    async def hears_the_end(self) -> None:
        """Wait until there are no more hints."""
        async with asyncio.timeout(SECONDS):
            _ = [] if self._hints is None else [hint async for hint in self._hints]


@asynccontextmanager
async def listening(adapter: SessionAdapter) -> AsyncIterator[Listener]:
    """Listen from the first ``None`` on."""
    async with closing(adapter.hints()) as hints:
        async with asyncio.timeout(SECONDS):
            first = await anext(hints, "none at all")
        if first is None:
            yield Listener(hints)
        else:
            assert first == "none at all", "None comes first, once the store is listened to"
            assert type(adapter).hints is SessionAdapter.hints, "an adapter that has hints has them here too"
            yield Listener(None)


class HintLaws(Contract):
    """Between the first ``None`` and the end of an iterator no end is missed. A hint too many is fine."""

    async def test_each_end_is_hinted_at(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """However it comes, and wherever: here, or by another adapter on the same store."""
        for end in ENDS:
            for place, name in ((adapter, "here"), (other, "there")):
                handle = f"{name} {end.__name__}"
                assert await adapter.create(handle, a_record(clock))
                async with listening(adapter) as listener:
                    assert await end(place, clock, handle)
                    await listener.hears({handle})

    async def test_many_ends_at_once_are_hinted_at(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """None gets lost among the others."""
        handles = {f"{number:03}" for number in range(MANY)}
        await asyncio.gather(*(adapter.create(handle, a_record(clock)) for handle in handles))
        async with listening(adapter) as listener:
            assert all(await asyncio.gather(*map(other.destroy, handles)))
            await listener.hears(handles)

    async def test_all_who_listen_hear_it(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """And one who stops leaves the others alone."""
        for handle in ("a", "b"):
            assert await adapter.create(handle, a_record(clock))
        async with listening(adapter) as one:
            async with listening(adapter) as another:
                assert await adapter.destroy("a")
                await one.hears({"a"})
                await another.hears({"a"})
            assert await adapter.destroy("b")
            await one.hears({"b"})

    async def test_listening_again(self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock) -> None:
        """Whoever stopped may listen again, as often as they like."""
        for handle in ("a", "b", "c"):
            assert await adapter.create(handle, a_record(clock))
            async with listening(adapter) as listener:
                assert await other.destroy(handle)
                await listener.hears({handle})

    async def test_closing_ends_what_listens(self, make_adapter: MakeAdapter, clock: FakeClock) -> None:
        """Nobody waits for ever, and an adapter that is opened again has hints again."""
        adapter = make_adapter()
        for handle in ("a", "b"):
            async with opened(adapter, clock):
                assert await adapter.create(handle, a_record(clock))
                async with listening(adapter) as listener:
                    assert await adapter.destroy(handle)
                    await listener.hears({handle})
                    await adapter.close()
                    await listener.hears_the_end()
                    await adapter.open()
