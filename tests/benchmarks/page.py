"""The documentation's performance page, written from the stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import steps
from .cases import CASES, split
from .markdown import table
from .plots import LABELS, TITLES, draw
from .results import load
from .sections import cohort_section, peers_section

PAGE = Path("docs/explanation/performance.md")

_PARTS = ("whole", "cohort", "peers", "steps", "micro", "scale", "contention")

_HEADINGS = {
    "whole": "requests",
    "cohort": "sending together",
    "peers": "beside others",
    "steps": "where the time goes",
    "micro": "operations",
    "scale": "a million",
    "contention": "many writers",
}

_INTRODUCTION = """\
# Performance

<!-- Written by `python -m tests.benchmarks report` from the last measurement: change that, not this. -->

## Why it need not cost much

A round trip to a store costs far more than the work in it. So operations that arrive while one is under way
leave together in the next: one statement for many loads, one transaction for many writes, one trip for many
scripts. An idle store is asked at once; no timer adds a wait. Thus a durable SQLite session shares its
`fsync` with all others of the moment.

A request without a session cookie makes no call to the store at all, and one with a cookie at most one load
and one write (besides commit points); with `lazy=True` an untouched request makes none.

## Measure again

```sh
make bench
```

It takes about forty minutes, on a machine with two cores that should have nothing else to do. It starts what
servers it finds installed (Redis, PostgreSQL), fetches the peers on node from npm where there is node, writes
`bench-results/`, and draws this page and its plots from that. `make bench BENCH_ARGS="whole --only 'bare,memory-*'
--rounds 3"` measures a part; `python -m tests.benchmarks --help` says what else there is.
"""

_WHOLE = """
## A request

A real server on one core, the load ({load}) on another, with {connections} connections and {sessions}
sessions. Each handler answers two bytes of text; before that it leaves the session alone, reads one key, sets
one key, or does ten operations, four of which write. All servers run at the same time and are measured in
turns, {rounds} slices of {seconds:g} s each, and between them bare aiohttp, which has no sessions: the
figures are ratios to its slices just before and after. The stores' servers share the second core with the
load. SQLite and PostgreSQL are durable here (`synchronous=FULL`, `fsync`); Redis keeps no log.

The empty middleware, with an empty response hook, is the least that any session library can cost in aiohttp.
"""

_COLUMNS = """
Throughput is the median, with the quartiles. Processor time is the ratio of what the server's processor
spends on a request in bare aiohttp and here; p99 is the ratio of the 99th percentiles of latency, here and in
bare aiohttp.
"""

_STEPS = """
## Where the time goes

Microseconds of processor time a request, of all threads, in one process: aiohttp's whole server fed with bytes, without
sockets, {connections} requests at a time, at the best of several repeats. Behind a socket every step costs more, up to
twice, since the kernel's work in between empties the processor's caches.

{table}
- **A middleware and a hook** are the price of any session library in aiohttp: the request passes through two more
  coroutines and a signal.
- **Finding the cookie and making the session** is one regular expression and two small objects.
- **Looking it up** hashes the identifier with SHA-256, calls the store under its time limit, checks the record and
  its checksum, and decodes the map of values, but not the values.
- **A get** decodes one value, and the response gets its `Vary` header.
- **A set** encodes it; the commit packs the map, checks the version and the size, and calls the store again.
- **On SQLite** a request waits twice at most, once for its batch of loads and once for its transaction. A wait is a
  future, a callback and a way back through every coroutine between the event loop and the store, which is asyncio's
  own work, and passes the batch to a thread and back. Writing the log and `fsync` is the rest.

What was tried, and left out because it gained nothing that could be measured: one row in place of one a session for
a batch of loads (32 left joins), and one `UPDATE ... FROM (VALUES ...)` for a batch of writes, both of which leave
SQLite's thread less often; and SHA-256 from another module than OpenSSL's. What would gain more is not done on purpose:
a cache of sessions in front of the store could serve what another process has ended, and code in C would have to be
written and compiled: the package as it is, compiled with Cython, was slower, since its coroutines cost more than the
interpreter's.
"""


def report() -> None:
    """Draw the plots and write the page from whatever has been measured."""
    results = {part: found for part in _PARTS if (found := load(part)) is not None}
    draw(results)
    writers = {
        "whole": _whole,
        "cohort": cohort_section,
        "peers": peers_section,
        "steps": _steps,
        "micro": _micro,
        "scale": _scale,
        "contention": _contention,
    }
    sections = [writers[part](found) for part, found in results.items()]
    PAGE.write_text("\n".join([_INTRODUCTION.rstrip(), *sections, _measured_on(results)]) + "\n")
    print(f"{PAGE} and its plots are written")


def _whole(found: dict[str, Any]) -> str:
    text = _WHOLE.format(**found)
    for loop, measured in found["loops"].items():
        text += f"\n### On {loop}\n\n![Throughput as a ratio to bare aiohttp](../_static/bench-whole-{loop}.svg)\n"
        text += _COLUMNS
        rows = [
            [LABELS[split(name)[0]], TITLES[split(name)[1]], *_ratios(figures)]
            for case in CASES
            for name, figures in measured.items()
            if name != "bare" and split(name)[1] == case
        ]
        text += "\n" + table(["", "session", "throughput", "", "processor time", "p99"], rows)
        text += f"\nBare aiohttp answered {measured['bare']['rate']['median']:,.0f} requests a second.\n"
        if disturbed := found["disturbed"][loop]:
            text += (
                f"\nOther programs disturbed {disturbed} of {found['rounds'] * len(rows)} slices: their throughput and "
                "p99 are rough, their processor time is less so.\n"
            )
    return text


def _ratios(figures: dict[str, Any]) -> list[str]:
    throughput = figures["throughput"]
    return [
        f"{throughput['median']:.2f}",
        f"{throughput['low']:.2f}\N{EN DASH}{throughput['high']:.2f}",
        f"{figures['cpu']['median']:.2f}",
        f"{figures['p99']['median']:.1f}",
    ]


def _steps(found: dict[str, Any]) -> str:
    found_rows = [[step, f"{spent:.1f}", f"{over:.1f}"] for step, spent, over in steps.rows(found["micros"])]
    return _STEPS.format(connections=steps.CONNECTIONS, table=table(["", "in all", "over bare aiohttp"], found_rows))


def _micro(found: dict[str, Any]) -> str:
    text = "\n## An operation\n\nMicroseconds in process, one after the other, at the best of several repeats. What"
    text += " reaches the store\nwaits for a whole round trip here; under load it shares one.\n\n"
    text += table(["on a loaded session", "memory", "SQLite"], _micros(found["operations"]))
    text += "\n" + table(["a request's middleware and hook", "memory", "SQLite"], _micros(found["requests"]))
    return text


def _micros(part: dict[str, Any]) -> list[list[str]]:
    return [
        [f"`{label}`" if label in _METHODS else TITLES.get(label, label), *(f"{micros:.1f}" for micros in row.values())]
        for label, row in part.items()
    ]


_METHODS = ("has", "get", "keys", "set", "remove", "reload", "increment", "update", "rotate", "bind", "destroy")


def _scale(found: dict[str, Any]) -> str:
    text = """
## A million sessions

![Microseconds a request by stored sessions](../_static/bench-scale.svg)

Microseconds for what a request does with its session, without HTTP: look it up and read a key, look it up and
set a key, start one, or end one; 32 at a time (on memory one at a time), with so many stored sessions of 60
bytes of data each, at the best of several repeats. Bytes a session in the process's memory, in the file, or in
the server. Then what a purge of all of them, once they have expired, does to others, in milliseconds: the longest
pause of the event loop, and the longest load and the longest update, each beside the longest in half a second
without; and how many seconds it took.

"""
    rows = [
        [
            LABELS[name],
            f"{int(size):,}",
            *(f"{figures['operations'][operation]:.1f}" for operation in ("read", "write", "start", "destroy")),
            f"{figures['bytes']:.0f}" if figures["bytes"] else "",
            *("" if name == "redis" else _beside_idle(figures, what) for what in ("pause", "load", "update")),
            "" if name == "redis" else f"{figures['purge_seconds']:.1f}",
        ]
        for name, sizes in found["stores"].items()
        for size, figures in sizes.items()
    ]
    head = ["", "sessions", "read", "write", "start", "destroy", "bytes", "pause", "load", "update", "purge"]
    text += table(head, rows) + ("\nRedis forgets by itself.\n" if "redis" in found["stores"] else "")
    return text + _SCALE_LIMITS


def _beside_idle(figures: dict[str, Any], what: str) -> str:
    return f"{figures[f'{what}_purging']:.1f} ({figures[f'{what}_idle']:.1f})"


_SCALE_LIMITS = """
What grows with the number of sessions is what the processor and the store have to fetch from further away: Python's
dictionaries no longer fit the processor's caches, and SQLite walks through pages that are not in its own cache, which
the reading connection has to give up at every commit of the writing one. Larger pages, a table with row numbers and
memory-mapped files were tried, and were not faster. On the stores with a disk, an update may now and then have to wait
for it while a purge writes, however small the purge's steps are.
"""


def _contention(found: dict[str, Any]) -> str:
    text = """
## Many writers of one session

![Microseconds a commit by parallel writers](../_static/bench-contention.svg)

Parallel requests of one process that all increment one number in one session: microseconds a commit, and in
brackets the 99th percentile of the time that a request waited for its own, in milliseconds. No increment is
lost.

"""
    writers = list(next(iter(found["stores"].values())))
    rows = [
        [LABELS[name], *(f"{each['micros']:.0f} ({each['p99']:.1f})" for each in figures.values())]
        for name, figures in found["stores"].items()
    ]
    return text + table(["", *writers], rows)


def _measured_on(results: dict[str, dict[str, Any]]) -> str:
    lines = ["", "## What this was measured on", ""]
    parts: dict[str, list[str]] = {}
    for part, found in results.items():
        machine = found["measured_on"]
        versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
        line = (
            f"{machine['date']}, {machine['cores']} cores, {machine['processor']}, {machine['system']}; "
            f"{machine['python']}, SQLite {machine['sqlite']}; {versions}"
        )
        parts.setdefault(line, []).append(_HEADINGS[part])
    lines += [f"- {', '.join(names)}: {line}" for line, names in parts.items()]
    return "\n".join(lines)
