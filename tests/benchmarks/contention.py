"""Parallel writers of one session: what a commit costs when so many want the same record."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp_spry_session import SessionManager, adapter_from_url

from ..support import arrive, session_of
from .load import percentile
from .results import best, print_table, save
from .stores import available, urls

WRITERS = (1, 2, 4, 8, 16, 32, 64)
STORES = ("memory", "sqlite", "redis", "postgres")


def run(*, rounds: int = 3, commits: int = 320, stores: tuple[str, ...] = STORES, store: bool = True) -> dict[str, Any]:
    """Measure, print, and store the results."""
    result: dict[str, Any] = {"commits": commits, "stores": {}}
    names = list(filter(available, stores))
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, urls(names, Path(directory)) as found:
        for name in names:
            result["stores"][name] = asyncio.run(_measure(found[name], rounds, commits))
    _print(result["stores"])
    if store:
        save("contention", result)
    return result


async def _measure(url: str, rounds: int, commits: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    async with SessionManager(adapter_from_url(url)) as manager:
        for writers in WRITERS:
            found = [await _write(manager, writers, max(1, commits // writers)) for _ in range(rounds)]
            figures[str(writers)] = {
                "micros": best([each for each, _ in found]),
                "p99": best([p99 for _, p99 in found]),
            }
    return figures


async def _write(manager: SessionManager, writers: int, each: int) -> tuple[float, float]:
    """Let so many writers increment one number; return µs a commit, and the 99th percentile of a request's ms."""
    first = session_of(arrive(manager, ()))
    await first.set("visits", 0)
    await first.save()
    presented = [first.identifier]
    latencies: list[float] = []

    async def work() -> None:
        for _ in range(each):
            started = time.perf_counter()
            session = session_of(arrive(manager, presented))
            await session.increment("visits")
            latencies.append((time.perf_counter() - started) * 1e3)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(writers)))
    spent = time.perf_counter() - started
    await first.reload()
    if await first.get("visits") != writers * each:
        raise RuntimeError("a write was lost")
    return spent / (writers * each) * 1e6, percentile(sorted(latencies), 99)


def _print(stores: dict[str, Any]) -> None:
    print("\nµs a commit (and p99 of a request in ms) with so many parallel writers of one session")
    rows = [
        [name, *(f"{found['micros']:.0f} ({found['p99']:.1f})" for found in figures.values())]
        for name, figures in stores.items()
    ]
    print_table(["", *map(str, WRITERS)], rows)
