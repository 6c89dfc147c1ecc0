"""Peers under load, each in turns with the bare server of its own framework."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..load import CONNECTIONS, SESSIONS, Client, Slice
from ..results import print_table, save, summary
from ..stores import urls
from ..whole import core_for_servers, running
from .table import BARE, PEERS, Peer, command, install_for_node, missing, versions_on_node

CASES = ("read", "write")
ON_NODE = ("Express", "Fastify")


@dataclass(slots=True)
class Figures:
    """One peer's figures in one case, slice by slice."""

    share: list[float] = field(default_factory=list)
    """Of the throughput of its own bare server."""
    cpu: list[float] = field(default_factory=list)
    """The bare server's processor time of a request, as a share of this one's."""
    cost: list[float] = field(default_factory=list)
    """Microseconds of processor time a request, over the bare server's."""

    busy: list[float] = field(default_factory=list)
    """How much of its core the server used."""

    def add(self, found: Slice, bare: Sequence[Slice]) -> None:
        """Add a slice, and the slices of the bare server around it."""
        spent = sum(other.cpu_per_request for other in bare) / len(bare)
        self.share.append(found.rate * len(bare) / sum(other.rate for other in bare))
        self.cpu.append(spent / found.cpu_per_request)
        self.cost.append((found.cpu_per_request - spent) * 1e6)
        self.busy.append(found.busy)


def run(*, rounds: int, seconds: float, frameworks: Sequence[str] | None = None, store: bool = True) -> dict[str, Any]:
    """Measure, print, and store the results."""
    peers = _present([peer for peer in PEERS if frameworks is None or peer.framework in frameworks])
    with core_for_servers() as core:
        measured, bare = _measure(peers, rounds, seconds, core)
    result: dict[str, Any] = {
        "rounds": rounds,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "sessions": SESSIONS,
        "pinned": core is not None,
        "on_node": versions_on_node() if any(peer.framework in ON_NODE for peer in measured) else {},
        "busy": statistics.median(
            [busy for cases in measured.values() for each in cases.values() for busy in each.busy] or [0]
        ),
        "bare": {framework: summary(micros) for framework, micros in bare.items()},
        "peers": [
            {
                "framework": peer.framework,
                "library": peer.library,
                "store": peer.store,
                **{
                    case: {name: summary(getattr(figures[case], name)) for name in ("share", "cpu", "cost", "busy")}
                    for case in CASES
                },
            }
            for peer, figures in measured.items()
        ],
    }
    _print(result)
    if store:
        save("peers", result)
    return result


def _present(peers: Sequence[Peer]) -> list[Peer]:
    found = []
    for peer in peers:
        needs = missing(peer)
        if needs is None:
            found.append(peer)
        else:
            print(f"left out: {peer.library} on {peer.store}, since this machine lacks {needs}")
    if any(peer.framework in ON_NODE for peer in found):
        try:
            os.environ["NODE_PATH"] = str(install_for_node())
        except OSError as error:
            print(f"left out: all on node, since {error}")
            found = [peer for peer in found if peer.framework not in ON_NODE]
    return found


def _measure(
    peers: Sequence[Peer], rounds: int, seconds: float, core: int | None
) -> tuple[dict[Peer, dict[str, Figures]], dict[str, list[float]]]:
    measured = {peer: {case: Figures() for case in CASES} for peer in peers}
    bare: dict[str, list[float]] = {peer.framework: [] for peer in peers}
    with _clients(peers, seconds, core) as (clients, bare_clients):
        for _ in range(rounds):
            for framework in random.sample(list(bare_clients), len(bare_clients)):
                order = [(peer, case) for peer in peers if peer.framework == framework for case in CASES]
                after = bare_clients[framework].measure("untouched", seconds)
                for peer, case in random.sample(order, len(order)):
                    before = after
                    found = clients[peer].measure(case, seconds)
                    after = bare_clients[framework].measure("untouched", seconds)
                    measured[peer][case].add(found, [before, after])
                    bare[framework].append(after.cpu_per_request * 1e6)
    return measured, bare


@contextmanager
def _clients(
    peers: Sequence[Peer], seconds: float, core: int | None
) -> Iterator[tuple[dict[Peer, Client], dict[str, Client]]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        stores = stack.enter_context(urls([peer.variant for peer in peers], directory))
        clients: dict[Peer, Client] = {}
        bare: dict[str, Client] = {}

        def start(framework: str, variant: str, cases: Sequence[str], urls: Mapping[str, str] = stores) -> Client:
            line = command(framework, variant, urls.get(variant, "memory://"))
            client = Client(stack.enter_context(running(line, core)), directory)
            stack.callback(client.close)
            client.start_sessions()
            for case in cases:
                client.warm_up(case, 20, cookie_when_read=True)
                client.measure(case, seconds)
            return client

        for peer in peers:
            if peer.framework not in bare:
                bare[peer.framework] = start(peer.framework, BARE, ["untouched"])
            clients[peer] = start(peer.framework, peer.variant, CASES)
        yield clients, bare


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the table's rows: share kept and microseconds a session, for a read and a write.

    Both are of processor time, which other programs disturb less than the throughput: without them, and with a server
    that never has to wait, the shares are the same.
    """
    return [
        [
            f"{peer['library']}, {peer['store']}",
            peer["framework"],
            f"{result['bare'][peer['framework']]['median']:.0f}",
            *(
                text
                for case in CASES
                for text in (
                    f"{peer[case]['cpu']['median']:.2f}",
                    f"{peer[case]['cpu']['low']:.2f}\N{EN DASH}{peer[case]['cpu']['high']:.2f}",
                    f"{peer[case]['cost']['median']:.0f}",
                )
            ),
        ]
        for peer in result["peers"]
    ]


HEAD = ("", "on", "bare, µs", "read keeps", "", "costs, µs", "write keeps", "", "costs, µs")


def _print(result: Mapping[str, Any]) -> None:
    print(
        "\nshare kept of the requests that its own bare server answers in the same processor time, and a session's time"
    )
    print_table(HEAD, rows(result))
