"""What the process holds: memory, tasks, threads, open files."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FILES = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")


@dataclass(frozen=True, slots=True)
class Footprint:
    """One look at the process; memory in bytes."""

    memory: int
    tasks: int
    threads: int
    files: int

    @classmethod
    def take(cls) -> Footprint:
        """Look now, after the garbage collection."""
        gc.collect()
        return cls(
            memory=tracemalloc.get_traced_memory()[0],
            tasks=len(asyncio.all_tasks()),
            # The loop's own pool keeps its threads, and starts one more where the others happen to be busy.
            threads=sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
            files=len(os.listdir(_FILES)),
        )

    def check(self, before: Footprint, *, memory: int) -> None:
        """Compare with an earlier look; ``memory`` is by how many bytes it may have grown."""
        assert self.tasks <= before.tasks, "tasks are left behind"
        assert self.threads <= before.threads, "threads are left behind"
        assert self.files <= before.files, "open files or connections are left behind"
        grown = self.memory - before.memory
        assert grown <= memory, f"memory grew by {grown} bytes"


@contextmanager
def traced() -> Iterator[None]:
    """Count Python's memory meanwhile."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def resident() -> int:
    """Return the process's resident memory in bytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
