"""One watcher for all the sessions that a manager's open sockets and streams depend on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from math import inf
from typing import Any, Protocol

from ..adapters.hints import closing
from ..events import logger
from ..exceptions import AdapterError
from ..policy import Policy
from ..record import SessionRecord
from .table import Block, Table, Watched

__all__ = ["Watcher"]

_TOGETHER = 512
"""How many sessions are looked at at the same time: adapters ask for many of them at once."""

_MOST_HEARD = 10_000

_SOONEST = 0.001
"""Seconds between two turns of the timer, at the least."""


class _Store(Protocol):
    on_ended: Callable[[str], object] | None

    @property
    def watch_interval(self) -> float: ...
    def hints(self) -> AsyncIterator[str | None]: ...


class _Trails(Protocol):
    def newest(self, handle: str, /) -> Awaitable[tuple[str, SessionRecord | None]]: ...


class Watcher:
    """Ends blocks of code when the session that they depend on has ended, in whatever process.

    Hints say where to look: those of the adapter, and what this process ends itself. Besides, each session is looked at
    again within the adapter's ``watch_interval``, and when its end comes. What is true only the store says, and one
    that fails ends nothing (promise 9). All of it runs from the first block to the last.
    """

    def __init__(self, store: _Store, trails: _Trails, policy: Policy, clock: Callable[[], float]) -> None:
        self._store = store
        self._trails = trails
        self._policy = policy
        self._clock = clock
        self._table = Table()
        self._due: deque[Watched] = deque()
        self._looks: dict[asyncio.Task[None], Watched] = {}
        self._looking = 0
        self._heard: set[str] | None = set()
        self._listening: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next_part = inf
        self._held: dict[asyncio.Task[Any], asyncio.Event] = {}

    def __len__(self) -> int:
        """How many sessions are watched."""
        return len(self._table)

    # For blocks.

    async def add(self, handle: str, block: Block) -> None:
        """Let a block depend on a session, and look at that now: where it is over, the block is told before this ends.

        :raises AdapterError: where the store failed; :meth:`remove` takes the block back.
        """
        watched = self._table.add(handle, block)
        if self._listening is None:
            self._start()
        self._arm()
        await self._look(watched)

    def remove(self, block: Block) -> None:
        """Let a block go; with the last one all stops."""
        self._table.remove(block)
        if not len(self._table) and self._listening is not None and self._timer is not None:
            self._stop(self._listening, self._timer)

    def blocks(self) -> list[Block]:
        """Return all blocks."""
        return [block for watched in self._table for block in watched.blocks]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let nothing that the running task ends cut it short: a block that ends its own session finishes that."""
        task = asyncio.current_task() if len(self._table) else None
        if task is None or task in self._held:
            yield
            return
        self._held[task] = released = asyncio.Event()
        try:
            yield
        finally:
            del self._held[task]
            released.set()

    async def released(self, task: asyncio.Task[Any]) -> None:
        """Wait until a task is not held any more."""
        while (released := self._held.get(task)) is not None:
            await released.wait()

    # Its life.

    def _start(self) -> None:
        self._store.on_ended = self._hear
        # Contexts of their own, here and below: that of the running task would keep its request alive.
        self._listening = asyncio.get_running_loop().create_task(self._listen(), context=Context())

    def _stop(self, listening: asyncio.Task[None], timer: asyncio.TimerHandle) -> None:
        self._store.on_ended = self._listening = None
        timer.cancel()
        listening.cancel()
        self._stopping.add(listening)
        listening.add_done_callback(self._stopping.discard)
        for look in self._looks:
            look.cancel()
        self._timer, self._next_part = None, inf
        self._due.clear()
        self._table.clear()

    # Where to look.

    async def _listen(self) -> None:
        failed = False
        while True:
            try:
                async with closing(self._store.hints()) as hints:
                    async for handle in hints:
                        failed = False
                        self._hear(handle)
            except Exception as error:  # noqa: BLE001 - an adapter's, whatever it is
                if not failed:
                    failed = True
                    logger.warning(
                        "hints of ended sessions fail, which are found out within %s s meanwhile: %s: %s",
                        self._store.watch_interval,
                        type(error).__name__,
                        error,
                    )
            else:
                return
            await asyncio.sleep(self._store.watch_interval)

    def _hear(self, handle: str | None) -> None:
        if handle is None:
            for watched in self._table:
                self._mark(watched)
            return
        found = self._table.get(handle)
        if found is not None:
            self._mark(found)
        elif self._looking and self._heard is not None:
            # A look that is under way may be about to find that a session has moved there.
            self._heard.add(handle)
            if len(self._heard) > _MOST_HEARD:
                self._heard = None

    def _mark(self, watched: Watched) -> None:
        if watched.is_over:
            return
        if watched.is_looked_at:
            watched.again = True
        elif not watched.is_due:
            watched.is_due = True
            self._due.append(watched)
            self._look_at_due()

    def _arm(self) -> None:
        """Set the timer: for the next part of the round, or the next end of a session if that is earlier."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._next_part = min(self._next_part, now + self._store.watch_interval / self._table.parts())
        when = min(self._next_part, now + max(_SOONEST, self._table.next_end() - self._clock()))
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._tick, context=Context())

    def _tick(self) -> None:
        assert self._timer is not None  # noqa: S101 - it rang
        is_part = self._timer.when() >= self._next_part
        self._timer = None
        for watched in self._table.ended(self._clock()):
            self._mark(watched)
        if is_part:
            self._next_part = inf
            for watched in self._table.next_part():
                self._mark(watched)
        self._arm()

    # Looking.

    def _look_at_due(self) -> None:
        loop = asyncio.get_running_loop()
        while self._due and len(self._looks) < _TOGETHER:
            watched = self._due.popleft()
            watched.is_due = False
            if watched.blocks:
                watched.is_looked_at = True
                look = loop.create_task(self._look_quietly(watched), context=Context())
                self._looks[look] = watched
                look.add_done_callback(self._looked)

    async def _look_quietly(self, watched: Watched) -> None:
        with suppress(AdapterError):  # it is in the log, and the session looked at again in the next round
            await self._look(watched)

    def _looked(self, look: asyncio.Task[None]) -> None:
        watched = self._looks.pop(look)
        watched.is_looked_at = False
        if watched.again:
            watched.again = False
            self._mark(watched)
        self._look_at_due()

    async def _look(self, watched: Watched) -> None:
        """Ask the store what has become of a session, and act on that."""
        self._looking += 1
        try:
            asked = watched.handle
            handle, record = await self._trails.newest(asked)
            if not watched.blocks:
                return
            if watched.handle == asked:
                self._found(watched, handle, record)
            else:  # another look was faster, and may have seen less
                self._mark(watched)
        finally:
            self._looking -= 1
            if not self._looking:
                self._heard = set()

    def _found(self, watched: Watched, handle: str, record: SessionRecord | None) -> None:
        now = self._clock()
        if record is None or self._policy.is_over(record, now):
            watched.is_over = True
            for block in list(watched.blocks):
                block.end()
            return
        if handle != watched.handle:
            watched = self._table.move(watched, handle)
            if self._heard is None or handle in self._heard:
                self._mark(watched)
        for block in list(watched.blocks):
            if block.owner != record.owner:
                block.end()
        ends_at = self._policy.last_end(record)
        self._table.ends(watched, inf if ends_at is None else ends_at, before=now + 2 * self._store.watch_interval)
        self._arm()
