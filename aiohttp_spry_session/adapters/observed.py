"""Every call of a store, told to a function: for metrics, traces and logs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Literal, TypeVar

from ..adapter import SessionAdapter
from ..events import logger
from ..record import SessionRecord
from .wrapping import WrappingAdapter

__all__ = ["ObservedAdapter", "StoreCall"]

T = TypeVar("T")

Outcome = Literal["ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class StoreCall:
    """A call of a store that has come to its end. Nothing in it is secret, or says whose session it was."""

    operation: str
    """The name of the adapter's method, such as ``"load"``."""
    seconds: float
    """How long it took, by a monotonic clock."""
    outcome: Outcome
    """``"ok"``, ``"failed"`` (it raised), or ``"cancelled"``: a client that went away, or the manager's time limit."""


class ObservedAdapter(WrappingAdapter):
    """Passes every call on to another adapter, and tells a function of it afterwards.

    The function is called in the task and the context of the caller, so what a trace or a log keeps there is in reach.
    It should only count or note: the request waits for it. What it raises is logged once, and changes nothing.

    A ``scan`` is one call; its seconds are those that the store took, not those between two records. What the adapter
    behind does not do at all (``NotImplementedError``) is no call of a store, and not told.

    :param adapter: the adapter that keeps the sessions.
    :param observe: a plain function that gets a :class:`~aiohttp_spry_session.StoreCall`.
    :raises ValueError: for what is no adapter, or no plain function.
    """

    def __init__(self, adapter: SessionAdapter, observe: Callable[[StoreCall], object]) -> None:
        super().__init__(adapter)
        if not callable(observe) or inspect.iscoroutinefunction(observe):
            raise ValueError("observe must be a plain function that takes a StoreCall: def observe(call): ...")
        self._observe = observe
        self._told_of_failure = False

    async def load(self, handle: str) -> SessionRecord | None:
        return await self._observed("load", self.adapter.load(handle))

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self._observed("create", self.adapter.create(handle, record))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self._observed("update", self.adapter.update(handle, record))

    async def destroy(self, handle: str) -> bool:
        return await self._observed("destroy", self.adapter.destroy(handle))

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await self._observed("renew", self.adapter.renew(handle, expires_at))

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await self._observed("rotate", self.adapter.rotate(old, new, record, retired))

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._observed("find", self.adapter.find(owner))

    def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self._observed_scan(self.adapter.scan)

    def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self._observed_scan(self.adapter.scan_all)

    async def _observed_scan(
        self, scan: Callable[[], AsyncIterator[tuple[str, SessionRecord]]]
    ) -> AsyncIterator[tuple[str, SessionRecord]]:
        seconds = 0.0
        records = scan()
        while True:
            began = monotonic()
            try:
                found = await anext(records)
            except BaseException as error:
                self._tell("scan", seconds + monotonic() - began, error)
                if isinstance(error, StopAsyncIteration):
                    return
                raise
            seconds += monotonic() - began
            try:
                yield found
            except GeneratorExit:
                self._tell("scan", seconds, None)
                raise

    async def count(self) -> int:
        return await self._observed("count", super().count())

    async def purge(self) -> int:
        return await self._observed("purge", self.adapter.purge())

    async def open(self) -> None:
        await self._observed("open", super().open())

    async def close(self) -> None:
        await self._observed("close", super().close())

    async def _observed(self, operation: str, call: Awaitable[T]) -> T:
        began = monotonic()
        try:
            result = await call
        except BaseException as error:
            self._tell(operation, monotonic() - began, error)
            raise
        self._tell(operation, monotonic() - began, None)
        return result

    def _tell(self, operation: str, seconds: float, error: BaseException | None) -> None:
        if isinstance(error, NotImplementedError):
            return
        outcome: Outcome = "ok"
        if isinstance(error, asyncio.CancelledError):
            outcome = "cancelled"
        elif error is not None and not isinstance(error, StopAsyncIteration):
            outcome = "failed"
        try:
            self._observe(StoreCall(operation, seconds, outcome))
        except Exception:  # noqa: BLE001 - whatever it is, no session is to suffer from it
            if not self._told_of_failure:
                self._told_of_failure = True
                logger.exception("the observer of store calls failed; it is told of further calls all the same")
