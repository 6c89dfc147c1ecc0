"""Coalescing: operations that arrive while one is in flight leave together in the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Batcher"]

Operation = TypeVar("Operation")
Result = TypeVar("Result")


class Batcher(Generic[Operation, Result]):
    """Sends operations to a store in batches, one batch at a time.

    An idle store is asked at once: there is no timer, a batch is what came together or arrived while the last one was
    under way, and in the one turn of the event loop after it. A caller goes on when its own batch is done. A caller
    that gives up before its batch left takes its operation back; later, the operation runs and its result is dropped.

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
        self._waiting: deque[tuple[Operation, asyncio.Future[Result]]] = deque()
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
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((operation, future))
        if idle:  # last, since a task may begin at once (asyncio.eager_task_factory)
            self._sender = self._loop.create_task(self._send_all())
        return future

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
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()

    def _next_batch(self) -> list[tuple[Operation, asyncio.Future[Result]]]:
        if len(self._waiting) <= self._limit:
            waiting, self._waiting = self._waiting, deque()
            return [(operation, future) for operation, future in waiting if not future.done()]
        batch: list[tuple[Operation, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._limit:
            operation, future = self._waiting.popleft()
            if not future.done():
                batch.append((operation, future))
        return batch

    async def _send_batch(self, batch: list[tuple[Operation, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._send([operation for operation, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} operations were sent, and {len(results)} results came back")
        except Exception as error:  # noqa: BLE001 - the callers get it, whatever it is
            results = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
