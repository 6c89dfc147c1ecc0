"""The single steps of an operation on Redis, so that a test can come between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis.connections import Call, Connections
from aiohttp_spry_session.adapters.redis.scripts import Script

__all__ = ["Steps"]


class Steps:
    """Stands between an open adapter and its connections."""

    def __init__(self, adapter: RedisSessionAdapter) -> None:
        self._connections: Connections = adapter._kept.connections
        self._before: dict[Script | None, Callable[[], Awaitable[Any]]] = {}
        self._lost: set[Script | None] = set()
        self._cut: set[Script | None] = set()
        self.scripts: list[Script | None] = []
        adapter._kept.connections = self

    def before(self, script: Script | None, do: Callable[[], Awaitable[Any]]) -> None:
        """Do something once, just before a script runs."""
        self._before[script] = do

    def cut(self, script: Script | None) -> None:
        """Fail a script instead of running it, as where the connection broke before it was sent."""
        self._cut.add(script)

    def lose(self, script: Script | None) -> None:
        """Run a script and lose its answer."""
        self._lost.add(script)

    def mend(self) -> None:
        """Let everything through again."""
        self._cut.clear()
        self._lost.clear()

    async def get(self, key: bytes) -> bytes | None:
        return await self._step(None, lambda: self._connections.get(key))

    async def run(self, call: Call) -> Any:
        return await self._step(call.script, lambda: self._connections.run(call))

    async def close(self) -> None:
        await self._connections.close()

    async def _step(self, script: Script | None, carry_out: Callable[[], Awaitable[Any]]) -> Any:
        self.scripts.append(script)
        do = self._before.pop(script, None)
        if do is not None:
            await do()
        if script in self._cut:
            raise LostConnectionError("cut")
        answer = await carry_out()
        if script in self._lost:
            raise LostConnectionError("the answer is lost")
        return answer
