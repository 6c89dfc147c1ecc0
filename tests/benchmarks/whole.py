"""Whole servers under load, measured in turns, as ratios to bare aiohttp."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cases import TARGETS, split
from .load import CONNECTIONS, SESSIONS, Client, Slice
from .results import print_table, save, summary
from .stores import available, urls

_ROOT = Path(__file__).parents[2]

_SLICES_BETWEEN_BARE = 4
"""Bare aiohttp is measured again after so many slices: a ratio is to the slices of it just before and after."""

QUIET = 0.9
"""Where bare aiohttp's server could not use so much of its core, something else took the machine's time."""

_TRIES = 3
"""How often slices are measured, at most, to have bare aiohttp undisturbed before and after them."""


@dataclass(slots=True)
class Ratios:
    """One measurement's figures, slice by slice, as ratios to bare aiohttp's."""

    throughput: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def add(self, found: Slice, bare: Sequence[Slice]) -> None:
        """Add a slice, and the slices of bare aiohttp around it."""
        self.throughput.append(found.rate / _mean([other.rate for other in bare]))
        self.cpu.append(_mean([other.cpu_per_request for other in bare]) / found.cpu_per_request)
        self.p99.append(found.p99 / _mean([other.p99 for other in bare]))
        self.rate.append(found.rate)
        self.busy.append(found.busy)

    def summary(self) -> dict[str, Any]:
        """Return median and quartiles of each figure."""
        return {key: summary(getattr(self, key)) for key in ("throughput", "cpu", "p99", "rate", "busy")}


def run(
    names: Sequence[str], *, loops: Sequence[str], rounds: int, seconds: float, store: bool = True
) -> dict[str, Any]:
    """Measure, print, and store the results."""
    wanted = [name for name in names if name != "bare" and available(split(name)[0])]
    skipped = [name for name in names if name != "bare" and name not in wanted]
    if skipped:
        print("left out, since a server or a library is missing:", ", ".join(skipped))
    result: dict[str, Any] = {
        "rounds": rounds,
        "seconds": seconds,
        "load": "wrk" if shutil.which("wrk") else "a small asyncio client",
        "connections": CONNECTIONS,
        "sessions": SESSIONS,
        "loops": {},
        "disturbed": {},
    }
    for loop in loops:
        with core_for_servers() as core:
            measured, disturbed = _measure(wanted, loop, rounds, seconds, core)
        result["pinned"] = core is not None
        result["loops"][loop] = {name: ratios.summary() for name, ratios in measured.items()}
        result["disturbed"][loop] = disturbed
        _print(loop, result["loops"][loop])
        if disturbed:
            print(f"{disturbed} slices of {rounds * len(wanted)} were disturbed by other programs: rather trust cpu")
    if store:
        save("whole", result)
    return result


def _measure(
    names: Sequence[str], loop: str, rounds: int, seconds: float, core: int | None
) -> tuple[dict[str, Ratios], int]:
    """Return the ratios, and how many slices something else on the machine disturbed all the same."""
    measured: dict[str, Ratios] = defaultdict(Ratios)
    disturbed = 0
    with _clients(names, loop, core) as clients:

        def measure(name: str) -> Slice:
            variant, case = split(name)
            return clients[variant].measure(case, seconds)

        for _ in range(rounds):
            order = random.sample(names, len(names))
            after = measure("bare")
            for start in range(0, max(1, len(order)), _SLICES_BETWEEN_BARE):
                for _ in range(_TRIES):
                    before = after
                    slices = {name: measure(name) for name in order[start : start + _SLICES_BETWEEN_BARE]}
                    after = measure("bare")
                    if quiet := min(before.busy, after.busy) >= QUIET:
                        break
                disturbed += 0 if quiet else len(slices)
                for name, found in slices.items():
                    measured[name].add(found, [before, after])
                measured["bare"].add(after, [before])
    return {name: measured[name] for name in ["bare", *names]}, disturbed


@contextmanager
def _clients(names: Sequence[str], loop: str, core: int | None) -> Iterator[dict[str, Client]]:
    variants = list(dict.fromkeys(["bare", *(split(name)[0] for name in names)]))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        stores = stack.enter_context(urls(variants, directory))
        clients: dict[str, Client] = {}
        for variant in variants:
            port = stack.enter_context(server(variant, stores[variant], loop, core))
            clients[variant] = client = Client(port, directory)
            stack.callback(client.close)
            client.start_sessions()
        for name in ["bare", *names]:
            variant, case = split(name)
            clients[variant].warm_up(case)
        yield clients


@contextmanager
def server(variant: str, url: str, loop: str, core: int | None, *, turn: bool = True) -> Iterator[int]:
    """Run a variant's server in a process of its own; return its port."""
    command = [sys.executable, "-m", "tests.benchmarks.server", variant, "--url", url, "--loop", loop]
    command += [] if turn else ["--without-turn"]
    with running(command, core) as port:
        yield port


@contextmanager
def running(command: Sequence[str], core: int | None) -> Iterator[int]:
    """Run a server that prints its port, and ends with its standard input; return the port."""
    if core is not None:
        command = [sys.executable, "-m", "tests.benchmarks.pinned", str(core), *command]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server did not start: {' '.join(command)}")
            yield int(line)
        finally:
            process.stdin.close()


@contextmanager
def core_for_servers() -> Iterator[int | None]:
    """Meanwhile keep to the second core, as the load and the stores' servers then do; give the first to the server."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) < 2:
        yield None
        return
    first, second, *_ = sorted(cores)
    os.sched_setaffinity(0, {second})
    try:
        yield first
    finally:
        os.sched_setaffinity(0, cores)


def _print(loop: str, measured: dict[str, Any]) -> None:
    print(f"\n{loop}: ratios to bare aiohttp, median (quartiles)")
    rows = [
        [
            name,
            TARGETS.get(name, ""),
            f"{figures['throughput']['median']:.3f}",
            f"({figures['throughput']['low']:.2f} - {figures['throughput']['high']:.2f})",
            f"{figures['cpu']['median']:.3f}",
            f"{figures['p99']['median']:.2f}",
            f"{figures['busy']['median']:.2f}",
            f"{figures['rate']['median']:,.0f}",
        ]
        for name, figures in measured.items()
    ]
    print_table(["", "target", "throughput", "spread", "cpu", "p99", "busy", "requests/s"], rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
