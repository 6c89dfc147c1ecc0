"""An adapter over two stores: sessions move from the old one to the new one, each at its next use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from ...adapter import SessionAdapter
from ...events import logger
from ...exceptions import AdapterError
from ...options import read_flag
from ...record import SessionRecord
from ...store.sharing import close_shared, open_shared
from ..hints import merged
from ..wrapping import WrappingAdapter, within
from .marks import dig, grave_of, is_husk, is_moved, moved, moving_record, seen, tombstone
from .places import Places

__all__ = ["MigratingAdapter"]


class MigratingAdapter(WrappingAdapter):
    """Moves sessions from one store to another while the site runs, each at its next use; nobody is signed out.

    What is ended is ended in both stores, and no late copy brings it back: :mod:`.marks` says how. While the old store
    is out of reach, sessions that are in the new one go on, and begin; a session that is not known there is a failure
    (503), for it may be in the old one. When nothing is left to move, that is logged, once.

    Where several processes serve the site, the first step is ``move=False`` in all of them: sessions are looked for in
    both stores, stay where they are, and begin in the old one, where processes that do not know the new one find them.

    :param new: where sessions go. ``expiration`` and ``purge_interval`` are its own.
    :param old: where they are.
    :param move: whether they move, and begin in the new store.
    :raises ValueError: for what is no adapter, and where both are one.
    """

    def __init__(self, new: SessionAdapter, old: SessionAdapter, *, move: bool = True) -> None:
        super().__init__(new)
        if not isinstance(old, SessionAdapter):
            raise ValueError(f"old must be the SessionAdapter that sessions move away from, not {type(old).__name__}")
        if any(adapter is other for adapter in within(new) for other in within(old)):
            raise ValueError("new and old are the same store: there is nowhere to move to")
        self.old = old
        """The adapter that sessions move away from."""
        self.move = read_flag("move", move)
        self._places = Places(new, old, move=self.move)
        self._told = False

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""
        return self.adapter.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.adapter.clock = clock
        self.old.clock = clock

    def hints(self) -> AsyncIterator[str | None]:
        """As in the base class, of both stores."""
        return merged(self.adapter.hints(), self.old.hints())

    def behind(self) -> tuple[SessionAdapter, ...]:
        return self.adapter, self.old

    async def load(self, handle: str) -> SessionRecord | None:
        found = await self.adapter.load(handle)
        if found is None:
            place = await self._places.place(handle)
            if place is None:
                return None
            found = place[1]
        return await self._places.seen(handle, found) if found.retired else found

    async def create(self, handle: str, record: SessionRecord) -> bool:
        kept = None
        with contextlib.suppress(Exception):  # an identifier is as good as never taken: that is no reason to fail
            kept = await (self.old if self.move else self.adapter).load(handle)
        if not self.move:
            if kept is not None and await self._places.seen(handle, kept) is not None:
                return False
            if await self.old.create(handle, record):
                return True
            kept = await self.old.load(handle)
        if kept is not None and not is_moved(kept):
            return False
        while not await self.adapter.create(handle, record):
            found = await self.adapter.load(handle)
            if found is not None:
                if await self._places.seen(handle, found) is not None:
                    return False
                await self.adapter.destroy(grave_of(handle))
                await self.adapter.destroy(handle)
        return True

    async def update(self, handle: str, record: SessionRecord) -> bool:
        if self.move and not record.retired and await self.adapter.update(handle, record):
            return True
        while (place := await self._places.place(handle)) is not None:
            store, found = place
            if found.retired or found.version != record.version - 1:
                break
            stored = record
            if store is self.adapter and record.retired:
                stored = await self._places.lasting(handle, record, found)
            # Where it is refused all the same, the session has changed, or moved: looking again tells which.
            if await store.update(handle, stored):
                return True
        return False

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        if self.move and await self.adapter.renew(handle, expires_at):
            return True
        return await SessionAdapter.renew(self, handle, expires_at)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        while (place := await self._places.place(old)) is not None:
            store, found = place
            if found.retired or found.version != record.version - 1 or await self._places.is_taken(new):
                break
            stored = await self._places.lasting(old, retired, found) if store is self.adapter else retired
            if await store.rotate(old, new, record, stored):
                return True
        return False

    async def destroy(self, handle: str) -> bool:
        """As in the base class, in both stores.

        In the new one a retired record takes the place of a live one first, for as long as a late copy could come. Of
        several that destroy it the one that writes the grave is told so.
        """
        while True:
            found, away = await self.adapter.load(handle), False
            try:
                kept = await self.old.load(handle)
            except Exception:
                if found is None:
                    raise
                kept, away = found, True  # as if it had come from there
            if kept is None or (found is not None and found.retired and not is_husk(found)):
                return await self._places.remove(handle, found)
            if found is None:
                if kept.retired and not is_moved(kept):
                    return await self.old.destroy(handle)
                if kept.retired and await self.adapter.load(handle) is None:
                    return False
                if moving_record(kept) is None:  # no copy of it is on its way
                    if not kept.retired and await self.old.update(handle, moved(kept)):
                        return True
                    continue
                stone = tombstone(kept)
                done = await self.adapter.create(handle, stone)
            elif found.retired:
                stone, done = found, True
            else:
                stone = tombstone(found, kept)
                done = await self.adapter.update(handle, stone)
            if done and (away or kept.retired or await self.old.update(handle, moved(kept))):
                return seen(stone, self.clock()) is not None and await self.adapter.create(grave_of(handle), dig(stone))

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        # In this order: what moves meanwhile is in one of the two answers, or in both.
        kept, found = await self.old.find(owner), dict(await self.adapter.find(owner))
        left = {handle: moving_record(record) or record for handle, record in kept.items() if handle not in found}
        now = await asyncio.gather(*(self.adapter.load(handle) for handle in left))
        for (handle, record), current in zip(left.items(), now, strict=True):
            if current is None:
                found[handle] = record
            elif current.owner == owner and not current.retired:
                found[handle] = current
        return found

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        came: set[str] = set()  # grows with what is left in the old store, and no further
        async for handle, record in self.old.scan():
            came.add(handle)
            current = await self.adapter.load(handle)
            if current is None:
                yield handle, moving_record(record) or record
            elif not current.retired:
                yield handle, current
        async for handle, record in self.adapter.scan():
            if handle not in came:
                yield handle, record

    def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """As ``scan``: what is retired in the two stores is for the greater part marks of a move."""
        return self.scan()

    async def count(self) -> int:
        return await self.adapter.count() + await self.old.count()

    async def move_all(self) -> int:
        """Move every session that is left in the old store; return how many.

        It may be stopped and begun again, and the site runs on meanwhile.

        :raises NotImplementedError: where the old adapter cannot list its sessions.
        """
        number = 0
        async for handle, record in self.old.scan():
            place = await self._places.place(handle, move=True)
            if place is not None and place[0] is self.adapter:
                await self.old.update(handle, moved(record))  # where somebody copied it there, and left it here
                number += not place[1].retired
        return number

    async def remaining(self) -> int:
        """Return how many live sessions are still in the old store: 0 when each has moved or ended.

        :raises NotImplementedError: where the old adapter cannot count its sessions.
        """
        return await self.old.count()

    async def purge(self) -> int:
        """Delete what has expired in both stores; log, once, when there is nothing left to move."""
        purged = await self.adapter.purge() + await self.old.purge()
        if self.move and not self._told:
            with contextlib.suppress(NotImplementedError):
                if not await self.remaining():
                    self._told = True
                    logger.warning("every session has moved: the old store holds none any more")
        return purged

    async def open(self) -> None:
        """Open both stores.

        :raises AdapterError: where a record written to the one is found in the other: they are one.
        """
        async with contextlib.AsyncExitStack() as stack:
            for store in self.behind():
                await open_shared(store)
                stack.push_async_callback(close_shared, store)
            if await self._places.is_one_store():
                raise AdapterError("open", "new and old are the same store: there is nowhere to move to")
            stack.pop_all()

    async def close(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for store in self.behind():
                stack.push_async_callback(close_shared, store)
