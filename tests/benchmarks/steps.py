"""Where the time of a request goes: aiohttp's whole server in one process, fed with bytes, without sockets.

What the kernel does for a connection costs the same with sessions as without, and much of what makes measurements of
real servers restless; without it the steps of a request can be told apart to a few tenths of a microsecond.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web

from aiohttp_spry_session import SessionManager, adapter_from_url, setup

from ..support import arrive, session_of
from .cases import handlers
from .results import best, print_table, save

CONNECTIONS = 32
_SESSIONS = 64

STEPS: dict[str, tuple[str | None, bool, str]] = {
    "bare aiohttp": (None, False, "bare"),
    "empty middleware": (None, False, "middleware"),
    "and empty response hook": (None, False, "hook"),
    "memory, lazy: cookie found, session made": ("memory", True, "untouched"),
    "memory: looked up": ("memory", False, "untouched"),
    "memory: one get": ("memory", False, "read"),
    "memory: one set": ("memory", False, "write"),
    "SQLite: looked up": ("sqlite", False, "untouched"),
    "SQLite: one get": ("sqlite", False, "read"),
    "SQLite: one set": ("sqlite", False, "write"),
}
"""The store, whether lazy, and the handler (or what stands in for sessions) of each step."""


def run(*, rounds: int = 40, passes: int = 20, store: bool = True) -> dict[str, Any]:
    """Measure in turns, print, and store the results: microseconds of processor time a request."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        micros = asyncio.run(_measure(Path(directory), rounds, passes))
    print(f"\nmicroseconds of processor time for a request, {CONNECTIONS} at a time, best of {rounds} repeats")
    print_table(
        ["", "in all", "over bare"], [[step, f"{all_:.1f}", f"{over:.1f}"] for step, all_, over in rows(micros)]
    )
    result = {"micros": micros}
    if store:
        save("steps", result)
    return result


def rows(micros: dict[str, float]) -> list[tuple[str, float, float]]:
    """Return each step with its time, and that over bare aiohttp's."""
    return [(step, spent, spent - micros["bare aiohttp"]) for step, spent in micros.items()]


async def _measure(directory: Path, rounds: int, passes: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        loads = {
            step: await stack.enter_async_context(_Load(directory, number, *details))
            for number, (step, details) in enumerate(STEPS.items())
        }
        found: dict[str, list[float]] = {step: [] for step in loads}
        for _ in range(rounds + 1):
            for step, load in loads.items():
                found[step].append(await load.measure(passes))
        return {step: best(spent[1:]) for step, spent in found.items()}


class _Load:
    """An application of its own, with connections that send one request after the other."""

    def __init__(self, directory: Path, number: int, kept_in: str | None, lazy: bool, case: str) -> None:
        self._kept_in = {None: None, "memory": "memory://", "sqlite": f"sqlite:///{directory}/{number}.db"}[kept_in]
        self._lazy = lazy
        self._case = case

    async def __aenter__(self) -> _Load:
        app = web.Application()
        cookies = ["x" * 43] * _SESSIONS
        if self._kept_in is None:
            if self._case != "bare":
                app.middlewares.append(_empty_middleware)
            if self._case == "hook":
                app.on_response_prepare.append(_empty_hook)
            app.router.add_get("/", handlers("bare")["untouched"])
        else:
            manager = SessionManager(adapter_from_url(self._kept_in), lazy=self._lazy)
            setup(app, manager)
            app.router.add_get("/", handlers("memory")[self._case])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        if self._kept_in is not None:
            cookies = [await _start(manager) for _ in range(_SESSIONS)]
        requests = [
            f"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: SPRY_SESSION_ID={cookie}\r\n\r\n" for cookie in cookies
        ]
        self._requests = [request.encode() for request in requests]
        server = self._runner.server
        assert server is not None
        self._connections = [(server(), _Transport(self._answered)) for _ in range(CONNECTIONS)]
        for protocol, transport in self._connections:
            protocol.connection_made(transport)
        return self

    async def __aexit__(self, *_: object) -> None:
        for protocol, _transport in self._connections:
            protocol.connection_lost(None)
        await self._runner.cleanup()

    async def measure(self, passes: int) -> float:
        """Return the microseconds of processor time, of all threads, that a request takes."""
        began = time.process_time()
        for number in range(passes):
            self._left = len(self._connections)
            self._done = asyncio.get_running_loop().create_future()
            for place, (protocol, _) in enumerate(self._connections):
                protocol.data_received(self._requests[(number + place) % _SESSIONS])
            await self._done
        return (time.process_time() - began) / passes / len(self._connections) * 1e6

    def _answered(self) -> None:
        self._left -= 1
        if not self._left:
            self._done.set_result(None)


class _Transport(asyncio.Transport):
    """Counts responses, which are small enough to be written at once."""

    def __init__(self, answered: Callable[[], None]) -> None:
        super().__init__()
        self._answered = answered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._answered()

    def writelines(self, list_of_data: Any) -> None:
        self._answered()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def _start(manager: SessionManager) -> str:
    life = arrive(manager, ())
    session = session_of(life)
    await session.set("user", "ada@example.org")
    await session.set("theme", "dark")
    await life.commit()
    return life.identifier


@web.middleware
async def _empty_middleware(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    return response


async def _empty_hook(request: web.Request, response: web.StreamResponse) -> None:
    pass
