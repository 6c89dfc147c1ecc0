"""What the turn of the loop before the headers gains: the same server with it and without it, in one run."""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .load import CONNECTIONS, Client, Slice
from .results import print_table, save, summary
from .stores import available, urls
from .whole import core_for_servers, server

CASES = ("read", "write", "own")
"""One ``get``; one ``set``; one ``get`` by a handler that then waits for a database of its own."""
WAYS = ("without", "with")

PLACES: dict[str, list[tuple[str, int]]] = {
    "asyncio": [*(("memory", connections) for connections in (1, 4, 32, 128))]
    + [(store, 32) for store in ("sqlite", "redis", "postgres")],
    "uvloop": [("memory", 1), ("memory", 32)],
}
"""The stores, and how many connections ask at a time, on each loop."""


@dataclass(slots=True)
class Figures:
    """One way's figures at one place, slice by slice."""

    throughput: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def add(self, found: Slice, bare: Slice) -> None:
        """Add a slice, and that of bare aiohttp beside it."""
        self.throughput.append(found.rate / bare.rate)
        self.cpu.append(bare.cpu_per_request / found.cpu_per_request)
        self.cost.append((found.cpu_per_request - bare.cpu_per_request) * 1e6)
        self.p99.append(found.p99 / bare.p99)
        self.busy.append(found.busy)

    def summary(self) -> dict[str, Any]:
        """Return median and quartiles of each figure."""
        return {name: summary(getattr(self, name)) for name in ("throughput", "cpu", "cost", "p99", "busy")}


def run(
    *, rounds: int, seconds: float, places: dict[str, list[tuple[str, int]]] | None = None, store: bool = True
) -> dict[str, Any]:
    """Measure, print, and store the results."""
    found: list[dict[str, Any]] = []
    for loop, wanted in (PLACES if places is None else places).items():
        present = [(variant, connections) for variant, connections in wanted if available(variant)]
        with core_for_servers() as core:
            found += _measure(loop, present, rounds, seconds, core)
    busy = [place[way]["busy"]["median"] for place in found for way in WAYS if place["connections"] > 1]
    result = {"rounds": rounds, "seconds": seconds, "busy": statistics.median(busy), "places": found}
    print("\nratios to bare aiohttp's processor time for a request, without and with the turn")
    print_table(HEAD, rows(result))
    if store:
        save("cohort", result)
    return result


def _measure(
    loop: str, places: Sequence[tuple[str, int]], rounds: int, seconds: float, core: int | None
) -> list[dict[str, Any]]:
    wanted = [
        (variant, connections, case)
        for variant, connections in places
        for case in CASES
        if case != "own" or (variant, connections) == ("memory", CONNECTIONS)
    ]
    figures = {place: {way: Figures() for way in WAYS} for place in wanted}
    with _clients([variant for variant, _ in places], loop, core) as clients:
        for _ in range(rounds):
            for variant, connections, case in random.sample(wanted, len(wanted)):
                own = case if case == "own" else "untouched"
                bare = clients["bare", ""].measure(own, seconds, connections)
                for way in random.sample(WAYS, len(WAYS)):
                    slice_ = clients[variant, way].measure(case, seconds, connections)
                    figures[variant, connections, case][way].add(slice_, bare)
    return [
        {
            "loop": loop,
            "store": variant,
            "connections": connections,
            "case": case,
            **{way: each.summary() for way, each in found.items()},
        }
        for (variant, connections, case), found in figures.items()
    ]


@contextmanager
def _clients(variants: Sequence[str], loop: str, core: int | None) -> Iterator[dict[tuple[str, str], Client]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        stores = stack.enter_context(urls(variants, directory))
        clients: dict[tuple[str, str], Client] = {}
        for variant in ("bare", *dict.fromkeys(variants)):
            for way in ("",) if variant == "bare" else WAYS:
                url = stores.get(variant, "memory://").replace(".db", f"-{way}.db")
                client = Client(stack.enter_context(server(variant, url, loop, core, turn=way != "without")), directory)
                stack.callback(client.close)
                client.start_sessions()
                for case in ("untouched", "own") if variant == "bare" else CASES:
                    client.warm_up(case)
                clients[variant, way] = client
        yield clients


HEAD = ("", "connections", "", "without", "", "with", "", "costs, µs", "with", "p99", "with")


def rows(result: dict[str, Any], labels: dict[str, str] | None = None) -> list[list[str]]:
    """Return the table's rows."""
    found = []
    for place in result["places"]:
        label = (labels or {}).get(place["store"], place["store"])
        loop = "" if place["loop"] == "asyncio" else f", {place['loop']}"
        cells = [f"{label}{loop}", str(place["connections"]), place["case"]]
        for way in WAYS:
            cpu = place[way]["cpu"]
            cells += [f"{cpu['median']:.2f}", f"{cpu['low']:.2f}\N{EN DASH}{cpu['high']:.2f}"]
        cells += [f"{place[way]['cost']['median']:.0f}" for way in WAYS]
        cells += [f"{place[way]['p99']['median']:.1f}" for way in WAYS]
        found.append(cells)
    return found
