"""Becomes another program, on one core: ``python -m tests.benchmarks.pinned CORE PROGRAM ...``."""

from __future__ import annotations

import os
import sys


def main(core: str, *command: str) -> None:
    """Keep to the core, and run the program in this process."""
    os.sched_setaffinity(0, {int(core)})
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
