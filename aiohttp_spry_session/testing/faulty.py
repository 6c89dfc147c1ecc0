"""An adapter that goes wrong where a test wants it to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Literal, TypeVar, cast, get_args

from ..adapter import SessionAdapter
from ..adapters.hints import closing
from ..record import SessionRecord

__all__ = ["Fault", "FaultyAdapter", "Operation"]

T = TypeVar("T")

Operation = Literal[
    "load", "create", "update", "destroy", "renew", "rotate", "find", "scan", "count", "purge", "open", "close"
]
"""The methods of an adapter."""


class Fault:
    """Something that goes wrong at certain calls, from the one that :class:`FaultyAdapter` was told on."""

    def __init__(self, strike: Callable[[], Awaitable[None]], *, operation: Operation | None, after: bool) -> None:
        self.reached = asyncio.Event()
        """Set once a call has come to where it goes wrong."""
        self.after = after
        self._strike = strike
        self._operation = operation
        self._skip = 0
        self._left: float = 1

    def aim(self, *, at: int, times: int | None) -> Fault:
        """Strike at so many calls, the first of which is the ``at``-th of the method from now on."""
        if at < 1 or (times is not None and times < 1):
            raise ValueError("at and times count from 1; times=None is every call from then on")
        self._skip, self._left = at - 1, math.inf if times is None else times
        return self

    def hits(self, operation: Operation) -> bool:
        """Count a call; return whether this is one to go wrong."""
        if self._operation not in (None, operation) or not self._left:
            return False
        if self._skip:
            self._skip -= 1
            return False
        self._left -= 1
        return True

    async def strike(self) -> None:
        """Go wrong."""
        self.reached.set()
        await self._strike()


class Hang(Fault):
    """Calls that do not come back."""

    def __init__(self, *, operation: Operation | None, after: bool) -> None:
        self._released = asyncio.Event()
        super().__init__(self._wait, operation=operation, after=after)

    async def _wait(self) -> None:
        await self._released.wait()

    def release(self) -> None:
        """Let go what hangs, and what would hang yet."""
        self._released.set()


class FaultyAdapter(SessionAdapter):
    """Passes every call on to another adapter, records it in :attr:`calls`, and goes wrong where it is told to.

    What may be told: the ``operation`` (a method's name; ``None`` is any), ``at`` which of its calls, counted from
    now, how many ``times`` in a row (``None``: every time), and whether ``after`` the call took effect in the store
    instead of before, as when an answer is lost::

        store = FaultyAdapter(MemorySessionAdapter())
        store.fail("update", after=True)      # the next update arrives, and is answered with an error
        hang = store.hang("load", at=3)       # the third load waits ...
        await hang.reached.wait()
        hang.release()                        # ... until now
        store.fail(times=None)                # an outage ...
        store.heal()                          # ... and its end
        store.lose_hints()                    # what ends is not told to whoever listens, until it is healed
    """

    def __init__(self, adapter: SessionAdapter) -> None:
        self.adapter = adapter
        """The adapter behind this one."""
        self.calls: list[Operation] = []
        """The names of all methods that were called, in order; clear it to count the calls of one request."""
        self._faults: list[Fault] = []
        self._loses_hints = False
        super().__init__(expiration=adapter.expiration)

    def fail(
        self,
        operation: Operation | None = None,
        *,
        at: int = 1,
        times: int | None = 1,
        after: bool = False,
        error: BaseException | None = None,
    ) -> Fault:
        """Let calls raise ``error``, by default an ``OSError``."""

        async def strike() -> None:
            raise OSError("the store failed, as the test wants it to") if error is None else error

        return self._arm(Fault(strike, operation=_known(operation), after=after).aim(at=at, times=times))

    def hang(
        self, operation: Operation | None = None, *, at: int = 1, times: int | None = 1, after: bool = False
    ) -> Hang:
        """Let calls wait until they are cancelled, or the returned ``Hang`` is released."""
        hang = Hang(operation=_known(operation), after=after)
        self._arm(hang.aim(at=at, times=times))
        return hang

    def cancel(
        self, operation: Operation | None = None, *, at: int = 1, times: int | None = 1, after: bool = False
    ) -> Fault:
        """Cancel the task that makes the call, as when a client disconnects."""

        async def strike() -> None:
            cast("asyncio.Task[None]", asyncio.current_task()).cancel()
            await asyncio.sleep(0)

        return self._arm(Fault(strike, operation=_known(operation), after=after).aim(at=at, times=times))

    def lose_hints(self) -> None:
        """Let no hint through, nor tell that any was lost: what ended is found out by looking again."""
        self._loses_hints = True

    def heal(self) -> None:
        """Forget everything that was to go wrong, and let go what hangs."""
        self._loses_hints = False
        for fault in self._faults:
            if isinstance(fault, Hang):
                fault.release()
        self._faults.clear()

    def _arm(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of the adapter behind this one."""
        return self.adapter.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.adapter.clock = clock

    @property
    def rotates_at_once(self) -> bool:
        """Whether the adapter behind does."""
        return self.adapter.rotates_at_once

    @property
    def finds_owners(self) -> bool:
        """Whether the adapter behind can."""
        return self.adapter.finds_owners

    async def load(self, handle: str) -> SessionRecord | None:
        return await self._pass("load", lambda: self.adapter.load(handle))

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self._pass("create", lambda: self.adapter.create(handle, record))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self._pass("update", lambda: self.adapter.update(handle, record))

    async def destroy(self, handle: str) -> bool:
        return await self._pass("destroy", lambda: self.adapter.destroy(handle))

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await self._pass("renew", lambda: self.adapter.renew(handle, expires_at))

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await self._pass("rotate", lambda: self.adapter.rotate(old, new, record, retired))

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._pass("find", lambda: self.adapter.find(owner))

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """Pass a scan on; each record that is asked for, and the end, is one call."""
        async for found in self._pass_each(self.adapter.scan):
            yield found

    async def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """As :meth:`scan`, under that name."""
        async for found in self._pass_each(self.adapter.scan_all):
            yield found

    async def count(self) -> int:
        return await self._pass("count", self.adapter.count)

    async def hints(self) -> AsyncIterator[str | None]:
        async with closing(self.adapter.hints()) as hints:
            async for hint in hints:
                if not self._loses_hints:
                    yield hint

    async def purge(self) -> int:
        return await self._pass("purge", self.adapter.purge)

    async def open(self) -> None:
        await self._pass("open", self.adapter.open)

    async def close(self) -> None:
        await self._pass("close", self.adapter.close)

    async def _pass_each(
        self, scan: Callable[[], AsyncIterator[tuple[str, SessionRecord]]]
    ) -> AsyncIterator[tuple[str, SessionRecord]]:
        records = scan()
        while (found := await self._pass("scan", lambda: anext(records, None))) is not None:
            yield found

    async def _pass(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(operation)
        struck = [fault for fault in self._faults if fault.hits(operation)]
        for fault in struck:
            if not fault.after:
                await fault.strike()
        result = await call()
        for fault in struck:
            if fault.after:
                await fault.strike()
        return result


def _known(operation: Operation | None) -> Operation | None:
    if operation is not None and operation not in get_args(Operation):
        raise ValueError(f"an adapter has no method {operation!r}, only {', '.join(get_args(Operation))}")
    return operation
