"""Commits of one session that met take turns, within this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Turns"]


class Turns:
    """Whoever lost a race for a session waits for the others that did: of those in line each needs one try only.

    :param limited: awaits a function's result within the time limit of the store.
    """

    def __init__(self, limited: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
        self._limited = limited
        self._turns: dict[str, _Turn] = {}

    def __contains__(self, handle: object) -> bool:
        """Whether there is a line for this session: a newcomer joins it instead of trying by itself."""
        return handle in self._turns

    @asynccontextmanager
    async def take(self, handle: str) -> AsyncIterator[None]:
        """Wait for the turn, and keep it for the block."""
        turn = self._turns.setdefault(handle, _Turn())
        turn.users += 1
        try:
            await self._limited(turn.lock.acquire)
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[handle]


class _Turn:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
