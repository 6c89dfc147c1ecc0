"""One time limit for many operations."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import Context
from typing import Any, TypeVar, cast

__all__ = ["TimeLimit"]

T = TypeVar("T")


class TimeLimit:
    """Gives each of any number of operations the same time.

    One timer serves all that are under way: since all have the same time, the first that began is the first to run out.
    ``asyncio.timeout`` arms and disarms one for each.

    :param seconds: the time of each; ``None``: no limit.
    """

    __slots__ = ("_loop", "_seconds", "_timer", "_waiting")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._waiting: dict[_Wait, None] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def finish(self, steps: Generator[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
        """Run what is left of an operation after its first suspension; what completes at once needs no limit.

        For ``yield from`` in a generator-based coroutine. What takes longer is cancelled.

        :raises TimeoutError: where it took longer.
        """
        if self._seconds is None:
            return (yield from _resume(steps, waiting_for))
        wait = self._begin(self._seconds)
        try:
            return (yield from _resume(steps, waiting_for))
        except asyncio.CancelledError as error:
            if self._end(wait):
                raise TimeoutError from error
            raise
        finally:
            self._end(wait)

    def _begin(self, seconds: float) -> _Wait:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._timer, self._waiting = loop, None, {}
        wait = _Wait(cast("asyncio.Task[Any]", asyncio.current_task()), loop.time() + seconds)
        self._waiting[wait] = None
        if self._timer is None:
            self._arm(loop, wait)
        return wait

    def _end(self, wait: _Wait) -> bool:
        """Whether the end of the time, and nobody else, cancelled the task, which is not cancelled any more then."""
        self._waiting.pop(wait, None)
        expired, wait.expired = wait.expired, False
        return expired and wait.task.uncancel() <= wait.cancelling

    def _arm(self, loop: asyncio.AbstractEventLoop, wait: _Wait) -> None:
        # In a context of its own: that of the running task would keep its request alive until the timer fires.
        self._timer = loop.call_at(wait.until, self._expire, loop, context=Context())

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for wait in self._waiting:
            if wait.until > now:
                self._arm(loop, wait)
                return
            if not wait.expired:
                wait.expired = True
                wait.task.cancel()


class _Wait:
    __slots__ = ("cancelling", "expired", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task = task
        self.until = until
        self.cancelling = task.cancelling()
        self.expired = False


def _resume(steps: Generator[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has already run to its first suspension, as ``yield from`` would (PEP 380)."""
    while True:
        try:
            yield waiting_for  # asyncio sends nothing but None into a task
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, whatever it is
            try:
                waiting_for = steps.throw(error)
            except StopIteration as done:
                result: T = done.value
                return result
        else:
            return (yield from steps)
