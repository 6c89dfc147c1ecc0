"""One time limit for many operations."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextvars import Context
from time import monotonic
from typing import Any, TypeVar

__all__ = ["TimeLimit"]

T = TypeVar("T")

_Wait = tuple[float, int]
"""When the time is up, and how often the task had been cancelled when it began."""


class TimeLimit:
    """Gives each of any number of operations, of which a task has one at a time, the same time.

    One timer serves all that are under way: since all have the same time, the first that began is the first to run out.
    ``asyncio.timeout`` arms and disarms one for each.

    :param seconds: the time of each; ``None``: no limit.
    """

    __slots__ = ("_expired", "_loop", "_seconds", "_timer", "_waiting")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._waiting: dict[asyncio.Task[Any], _Wait] = {}  # in the order in which they began
        self._expired: dict[asyncio.Task[Any], _Wait] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def finish(self, steps: Generator[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
        """Run what is left of an operation after its first suspension, within the time; for ``yield from``.

        What completes at once, as with a store in memory, needs no limit: its caller does not come here.

        :raises TimeoutError: where it took longer; it is cancelled.
        """
        if self._seconds is None:
            return (yield from _go_on(steps, waiting_for))
        task = self._begin(self._seconds)
        try:
            return (yield from _go_on(steps, waiting_for))
        except asyncio.CancelledError as error:
            if self._ran_out(task):
                raise TimeoutError from error
            raise
        finally:
            if self._waiting.pop(task, None) is None:
                # The time was up, and the operation ended all the same: the cancellation that is on its way is undone.
                self._ran_out(task)
            del task  # else a task that fails with what is raised here would hold itself, and its request

    def _begin(self, seconds: float) -> Any:
        """Give the running task its time; return it."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._start(loop, seconds)
        task: Any = asyncio.current_task(loop)
        self._waiting[task] = monotonic() + seconds, task.cancelling()
        return task

    def _ran_out(self, task: asyncio.Task[Any]) -> bool:
        """Whether the end of the time, and nobody else, cancelled the task, which is not cancelled any more then."""
        wait = self._expired.pop(task, None)
        return wait is not None and task.uncancel() <= wait[1]

    def _start(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        if self._loop is not loop:
            self._loop, self._waiting, self._expired = loop, {}, {}
        # In a context of its own: that of the running task would keep its request alive until the timer fires.
        self._timer = loop.call_later(seconds, self._expire, loop, context=Context())

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = monotonic()
        for task, (until, _) in list(self._waiting.items()):
            if until > now:
                self._start(loop, until - now)
                return
            self._expired[task] = self._waiting.pop(task)
            task.cancel()


def _go_on(steps: Generator[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """Do what ``yield from steps`` does (PEP 380), where the first step has been made and waits for something."""
    while True:
        try:
            yield waiting_for  # asyncio sends nothing but None into a task
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - handed on to the operation, whatever it is
            try:
                waiting_for = steps.throw(error)
            except StopIteration as done:
                result: T = done.value
                return result
        else:
            return (yield from steps)
