"""For how long others are held up: the event loop, and loads and updates of one session, while some work goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp_spry_session import SessionAdapter, SessionRecord

_BEAT = 0.001
_HANDLE = "0" * 64

_SCHEDULING = Path("/proc/thread-self/schedstat")


@dataclass
class Longest:
    """The longest of each, in seconds."""

    pause: float = 0.0
    load: float = 0.0
    update: float = 0.0


async def longest(work: Callable[[], Awaitable[object]], adapter: SessionAdapter, record: SessionRecord) -> Longest:
    """Return for how long the event loop did not run others, and how long loads and updates took, at most.

    The time for which other programs kept the processor from the loop's thread is taken off, where the system tells it.
    """
    found = Longest()
    await adapter.create(_HANDLE, record)

    async def beat() -> None:
        started, kept_off = time.perf_counter(), _kept_off()
        await asyncio.sleep(_BEAT)
        found.pause = max(found.pause, time.perf_counter() - started - _BEAT - (_kept_off() - kept_off))

    async def load() -> None:
        started, kept_off = time.perf_counter(), _kept_off()
        await adapter.load(_HANDLE)
        found.load = max(found.load, time.perf_counter() - started - (_kept_off() - kept_off))
        await asyncio.sleep(_BEAT)

    async def update() -> None:
        nonlocal record
        record = replace(record, version=record.version + 1)
        started, kept_off = time.perf_counter(), _kept_off()
        await adapter.update(_HANDLE, record)
        found.update = max(found.update, time.perf_counter() - started - (_kept_off() - kept_off))
        await asyncio.sleep(_BEAT)

    async with _again_and_again(beat), _again_and_again(load), _again_and_again(update):
        await asyncio.sleep(0)
        await work()
    await adapter.destroy(_HANDLE)
    return found


@asynccontextmanager
async def _again_and_again(probe: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    over = False

    async def repeat() -> None:
        while not over:
            await probe()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        over = True
        await task


def _kept_off() -> float:
    """Return for how many seconds this thread has been ready to run, and did not, because the processors were taken."""
    try:
        return int(_SCHEDULING.read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0
