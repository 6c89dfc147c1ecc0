"""Every order in which the calls of two stores can be carried out, for what moves between them.

No event loop: an operation is a coroutine that stops before each call of a store, and is sent on by hand.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any

from msgspec.structs import replace

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionRecord
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter
from aiohttp_spry_session.record import retire, successor_of
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.store.trails import Trails
from aiohttp_spry_session.testing import FakeClock

__all__ = ["HANDLE", "Actor", "World", "every_order", "some_orders"]

HANDLE = "h"

Choose = Callable[[int], int]


class Turn:
    """Where an operation waits for its turn."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Gated(WrappingAdapter):
    """Waits for a turn before each call."""

    async def load(self, handle: str) -> SessionRecord | None:
        await Turn()
        return await super().load(handle)

    async def create(self, handle: str, record: SessionRecord) -> bool:
        await Turn()
        return await super().create(handle, record)

    async def update(self, handle: str, record: SessionRecord) -> bool:
        await Turn()
        return await super().update(handle, record)

    async def destroy(self, handle: str) -> bool:
        await Turn()
        return await super().destroy(handle)

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        await Turn()
        return await super().renew(handle, expires_at)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        await Turn()
        return await super().rotate(old, new, record, retired)


def at_once(operation: Awaitable[Any]) -> Any:
    """Run what needs no turn."""
    try:
        operation.__await__().send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


class World:
    """Two stores, a session in the old one, and the clock."""

    def __init__(self, begins_in: str = "old") -> None:
        self.clock = FakeClock()
        self.new, self.old = MemorySessionAdapter(), MemorySessionAdapter()
        self.new.clock = self.old.clock = self.clock
        now = self.clock()
        at_once(getattr(self, begins_in).create(HANDLE, SessionRecord(b"", 5, now, now + 1000, "ada")))

    def process(self, *, move: bool) -> SessionAdapter:
        """What one process has; its calls wait for their turns."""
        return MigratingAdapter(Gated(self.new), Gated(self.old), move=move)

    def look(self, handle: str) -> SessionRecord | None:
        """Return what is there now, for whoever looks; nothing is changed by that."""
        stores = copy.deepcopy((self.new, self.old))
        return at_once(MigratingAdapter(*stores, move=False).load(handle))

    def is_live(self, handle: str) -> bool:
        """Whether a session is there."""
        record = self.look(handle)
        return record is not None and not record.retired

    def final(self) -> SessionRecord | None:
        """Return the live session at the end of the trail."""
        handle = HANDLE
        while (record := self.look(handle)) is not None and record.retired:
            successor = successor_of(record)
            handle = successor.handle if successor is not None else ""
        return record


class Actor:
    """Does one thing in one process."""

    def __init__(self, world: World, what: str, name: str, *, move: bool) -> None:
        self.what, self.name = what, name
        self.result: Any = None
        self.done = False
        self._world = world
        self._store = world.process(move=move)
        self._steps: Coroutine[Any, Any, Any] = getattr(self, f"_{what}")()

    def step(self) -> None:
        """Carry out one call."""
        try:
            self._steps.send(None)
        except StopIteration as end:
            self.result, self.done = end.value, True

    async def _read(self) -> Any:
        return await self._store.load(HANDLE)

    async def _write(self) -> bool:
        """Add a letter to the session; whether it was there."""
        while (record := await self._store.load(HANDLE)) is not None and not record.retired:
            payload = record.payload + self.name.encode()
            if await self._store.update(HANDLE, replace(record, payload=payload, version=record.version + 1)):
                return True
        return False

    async def _renew(self) -> bool:
        return await self._store.renew(HANDLE, self._world.clock() + 5000)

    async def _rotate(self) -> bool:
        while (record := await self._store.load(HANDLE)) is not None and not record.retired:
            moved = replace(record, version=record.version + 1)
            retired = retire(moved, self.name, now=self._world.clock())
            if await self._store.rotate(HANDLE, self.name, moved, retired):
                return True
        return False

    async def _logout(self) -> bool:
        """End it as the manager does; whether this one is to tell."""
        store = GuardedStore(self._store, self._world.clock, None)
        return await Trails(store, self._world.clock).end(HANDLE) is not None

    async def _destroy(self) -> bool:
        return await self._store.destroy(HANDLE)


def every_order(play: Callable[[Choose], None], limit: int) -> int:
    """Play with all choices, one after the other, depth first; return how many orders there were."""
    tried, schedule = 0, []
    while tried < limit:
        taken: list[tuple[int, int]] = []

        def choose(number: int, rest: list[int] = schedule[:], taken: list[tuple[int, int]] = taken) -> int:
            taken.append((rest.pop(0) if rest else 0, number))
            return taken[-1][0]

        play(choose)
        tried += 1
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            break
        schedule = [choice for choice, _ in taken[:-1]] + [taken[-1][0] + 1]
    return tried


def some_orders(play: Callable[[Choose], None], number: int, seed: Sequence[object]) -> None:
    """Play with random choices."""
    generator = random.Random(repr(seed))
    for _ in range(number):
        # One that is slow at a time: that is what a late copy needs.
        weights = [generator.choice((1, 1, 20)) for _ in range(9)]
        play(lambda count, weights=weights: generator.choices(range(count), weights[:count])[0])
