"""Coalescing: operations that arrive while one is in flight leave together in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

__all__ = ["Batcher"]

Operation = TypeVar("Operation")
Result = TypeVar("Result")


class _Place(asyncio.Future[Result]):
    """A place in the queue. Whoever gives it up leaves nothing there, however long the batch under way may take."""

    queue: dict[_Place[Result], Any]

    def cancel(self, msg: Any | None = None) -> bool:
        self.queue.pop(self, None)
        return super().cancel(msg)


class Batcher(Generic[Operation, Result]):
    """Sends operations to a store in batches, one batch at a time.

    An idle store is asked at once: there is no timer, a batch is what came together or arrived while the last one was
    under way, and in the one turn of the event loop after it. A caller goes on when its own batch is done. A caller
    that gives up before its batch left takes its operation back, so that a store which hangs holds no more than the
    batch under way; later, the operation runs and its result is dropped.

    :param send: carries out a batch, and returns for each operation its result or the exception that it failed with;
        where it raises, all of them failed so.
    :param limit: the largest batch.
    """

    def __init__(
        self,
        send: Callable[[list[Operation]], Awaitable[Sequence[Result | BaseException]]],
        *,
        limit: int = 256,
    ) -> None:
        self._send = send
        self._limit = limit
        self._waiting: dict[_Place[Result], Operation] = {}
        self._sender: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    def submit(self, operation: Operation) -> asyncio.Future[Result]:
        """Carry out one operation with the next batch; what is returned gets its result, or what it failed with.

        Cancel that to give up. It is no coroutine, because one more of these for each operation would show.
        """
        idle = self._sender is None
        if idle:
            # Asked for once a batch, not once an operation: up to Python 3.11 the answer costs a system call.
            self._loop = asyncio.get_running_loop()
        place: _Place[Result] = _Place(loop=self._loop)
        place.queue = self._waiting
        self._waiting[place] = operation
        if idle:  # last, since a task may begin at once (asyncio.eager_task_factory)
            self._sender = self._loop.create_task(self._send_all())
        return place

    async def drain(self) -> None:
        """Wait until everything that was submitted is done."""
        if self._sender is not None:
            await asyncio.shield(self._sender)

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                await self._send_batch(batch)
                # Whoever has an answer goes on first: what is asked for next then comes along.
                await asyncio.sleep(0)
        finally:
            self._sender = None
            # Only a loop that shuts down cancels this task: nobody may be left waiting.
            for place in list(self._waiting):
                place.cancel()

    def _next_batch(self) -> list[tuple[_Place[Result], Operation]]:
        if len(self._waiting) <= self._limit:
            batch = list(self._waiting.items())
            self._waiting.clear()
            return batch
        batch = list(islice(self._waiting.items(), self._limit))
        for place, _ in batch:
            del self._waiting[place]
        return batch

    async def _send_batch(self, batch: list[tuple[_Place[Result], Operation]]) -> None:
        try:
            results = await self._send([operation for _, operation in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} operations were sent, and {len(results)} results came back")
        except Exception as error:  # noqa: BLE001 - the callers get it, whatever it is
            results = [error] * len(batch)
        except BaseException:
            for place, _ in batch:
                place.cancel()
            raise
        for (place, _), result in zip(batch, results, strict=True):
            if place.done():
                continue
            if isinstance(result, BaseException):
                place.set_exception(result)
            else:
                place.set_result(result)
