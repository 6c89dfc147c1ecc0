"""Cost per operation, bytes per session, and how long a purge holds others up, with ever more stored sessions.

Each size of each store is measured in a process of its own, so that one's memory does not count for the next.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .fill import STORES
from .results import print_table, save
from .stores import available, urls

_ROOT = Path(__file__).parents[2]

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def run(*, sizes: tuple[int, ...] = SIZES, stores: tuple[str, ...] = STORES, store: bool = True) -> dict[str, Any]:
    """Measure, print, and store the results."""
    result: dict[str, Any] = {"stores": {}}
    for name in filter(available, stores):
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="bench-") as directory, urls([name], Path(directory)) as found:
                command = [sys.executable, "-m", "tests.benchmarks.scale", name, found[name], str(size)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
            result["stores"].setdefault(name, {})[str(size)] = json.loads(done.stdout)
            print(f"{name}: {size:,} sessions measured", file=sys.stderr)
    _print(result["stores"])
    if store:
        save("scale", result)
    return result


def _print(stores: dict[str, Any]) -> None:
    print("\nwith so many stored sessions: µs a request's work (32 at a time, but in memory), bytes, and while purging")
    print("the longest pause of the loop, load and update in ms, each beside the longest when idle")
    rows = [
        [
            name,
            f"{int(size):,}",
            *(f"{found['operations'][operation]:.1f}" for operation in ("read", "write", "start", "destroy")),
            f"{found['bytes']:.0f}" if found["bytes"] else "",
            *(f"{found[f'{kind}_purging']:.1f} ({found[f'{kind}_idle']:.1f})" for kind in ("pause", "load", "update")),
            f"{found['purge_seconds']:.2f}",
        ]
        for name, sizes in stores.items()
        for size, found in sizes.items()
    ]
    head = ["", "sessions", "read", "write", "start", "destroy", "bytes", "pause", "load", "update", "purge s"]
    print_table(head, rows)


def _main(name: str, url: str, size: int) -> None:
    from .fill import measure

    print(json.dumps(asyncio.run(measure(name, url, size, random.Random(1)))))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
