"""Hints of what ended, from one source in this process to all who listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context

from ..events import logger

__all__ = ["Hints", "closing", "merged"]

_MOST = 20_000
"""How many hints wait for one who listens; what is more becomes "look at everything again"."""


class Hints:
    """Where an adapter tells what ended, and its ``hints()`` come from.

    :param source: brings the hints of other processes: runs as long as anybody listens. It calls :meth:`connected` when
        it has begun to listen, or has again, and :meth:`lost` where it was cut off. When it returns there is no such
        way, and every iterator ends, until :meth:`close`. ``None``: there are no other processes.
    """

    def __init__(self, source: Callable[[], Awaitable[None]] | None = None) -> None:
        self._source = source
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_connected = source is None
        self._is_barred = False

    def tell(self, handle: str) -> None:
        """Tell all who listen that a session may have ended under a handle."""
        for listener in self._listeners:
            listener.put(handle)

    def connected(self) -> None:
        """Tell all who listen to look at everything again: from now on nothing is missed."""
        self._is_connected = True
        for listener in self._listeners:
            listener.put(None)

    def lost(self) -> None:
        """Take note that something may be missed until :meth:`connected` is called again."""
        self._is_connected = False

    async def listen(self) -> AsyncGenerator[str | None, None]:
        """Yield hints; ``None`` first."""
        if self._is_barred:
            return
        listener = _Listener()
        self._listeners.add(listener)
        try:
            if self._is_connected:
                listener.put(None)
            elif self._task is None and self._source is not None:
                loop = asyncio.get_running_loop()
                self._task = loop.create_task(self._run(self._source), context=Context())
            while hints := await listener.take():
                for hint in hints:
                    yield hint
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                await self._stop()

    async def close(self) -> None:
        """End all iterators: the adapter is closed. It may be opened, and listened to, again."""
        self._end()
        await self._stop()
        self._is_barred = False

    async def _run(self, source: Callable[[], Awaitable[None]]) -> None:
        try:
            await source()
            self._is_barred = self._task is asyncio.current_task()
        except Exception:  # noqa: BLE001 - whatever a driver raises
            logger.exception("hints of ended sessions fail: looking again does it alone")
        finally:
            if self._task is asyncio.current_task():  # else another one has taken its place
                self._task, self._is_connected = None, False
                self._end()

    def _end(self) -> None:
        for listener in self._listeners:
            listener.end()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self._is_connected = False
            task.cancel()
            await asyncio.wait({task})


class _Listener:
    __slots__ = ("_has_begun", "_has_ended", "_hints", "_waiting")

    def __init__(self) -> None:
        self._hints: dict[str | None, None] = {}
        self._waiting = asyncio.Event()
        self._has_begun = self._has_ended = False

    def put(self, hint: str | None) -> None:
        if hint is not None and not self._has_begun:
            return  # ``None`` comes first, and then whoever listens looks at everything
        self._has_begun = True
        if len(self._hints) >= _MOST:
            self._hints, hint = {}, None
        self._hints[hint] = None
        self._waiting.set()

    def end(self) -> None:
        self._has_ended = True
        self._waiting.set()

    async def take(self) -> list[str | None]:
        """Wait for hints, and return them; none at the end."""
        while not self._hints and not self._has_ended:
            self._waiting.clear()
            await self._waiting.wait()
        hints, self._hints = list(self._hints), {}
        return hints


@asynccontextmanager
async def closing(hints: AsyncIterator[str | None]) -> AsyncIterator[AsyncIterator[str | None]]:
    """As ``aclosing``; an iterator that is no generator need not have anything to close."""
    try:
        yield hints
    finally:
        close = getattr(hints, "aclose", None)
        if close is not None:
            await close()


async def merged(*sources: AsyncIterator[str | None]) -> AsyncGenerator[str | None, None]:
    """Yield what any of them yields, for an adapter over several stores; it ends, or fails, with the first that does.

    ``None`` comes first once all of them are listened to.
    """
    listener = _Listener()
    waiting_for = set(range(len(sources)))

    async def listen(number: int, source: AsyncIterator[str | None]) -> None:
        try:
            async with closing(source) as hints:
                async for hint in hints:
                    if hint is None:
                        waiting_for.discard(number)
                    if not waiting_for:
                        listener.put(hint)
        finally:
            listener.end()

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(listen(*numbered), context=Context()) for numbered in enumerate(sources)]
    try:
        while hints := await listener.take():
            for hint in hints:
                yield hint
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
