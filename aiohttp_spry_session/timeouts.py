"""Time limits that cost nothing where nothing has to be waited for."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any, TypeVar

__all__ = ["bounded"]

T = TypeVar("T")


def bounded(operation: Awaitable[T], seconds: float | None) -> Generator[Any, Any, T]:
    """Run an operation for at most so many seconds, then cancel it and raise :class:`TimeoutError`.

    For ``yield from`` in a generator-based coroutine. A timer is armed only once the operation really suspends: one
    that completes at once, as on a store in memory, runs like a plain call.
    """
    steps = operation.__await__()
    try:
        waiting_for = steps.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return (yield from _rest(steps, waiting_for, seconds).__await__())


async def _rest(steps: Generator[Any, Any, T], waiting_for: Any, seconds: float | None) -> T:
    async with asyncio.timeout(seconds):
        return await _resume(steps, waiting_for)


@types.coroutine
def _resume(steps: Generator[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has already run to its first suspension, as ``yield from`` would (PEP 380)."""
    while True:
        try:
            sent = yield waiting_for
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, whatever it is
            advance = partial(steps.throw, error)
        else:
            advance = partial(steps.send, sent)
        try:
            waiting_for = advance()
        except StopIteration as done:
            result: T = done.value
            return result
