"""The sections of the performance page on sending together, and on the peers."""

from __future__ import annotations

import textwrap
from typing import Any

from aiohttp_spry_session.cohort import ALONE

from . import cohort
from .markdown import table
from .peers import measure as peers
from .plots import LABELS
from .whole import QUIET

_COHORT = """
## Sending together

A request costs more between two system calls than among its like: after each `send` the processor's caches hold what
the kernel needed, and the next request finds them cold. The event loop hands out what is ready one request after the
other, so without more ado each does its work and sends, and the next begins cold.

So a request whose headers are about to leave lets the loop go on for one turn (what `await asyncio.sleep(0)` does).
Meanwhile all others that are ready do their work, session and handler, and then all of them send. Databases know this
as *cohort scheduling*: the same stage of many requests in a row, in place of all stages of each. Nothing is done less;
it is done in another order.

- It waits for nobody: what is not ready when the turn comes is not waited for, and there is no timer.
- Where a turn brings no company the next {skipped} requests go without. So a server with one request at a time pays for
  a turn in {every}.
- Who has a cookie to write, or shares the request with another session, takes none: between a commit and the headers
  with its cookie nothing may move the session on. A renewal is committed after the turn, with its cookie.
- It is the last thing before the headers, and so it also gathers requests whose handlers wait for a database of their
  own, and what lies between: outer middlewares and other hooks.
- What comes back from a store as one batch goes on in one turn anyway, its handlers one after the other; with this, so
  do its responses. To hold the next batch back for a second turn changed nothing that could be measured.
- It is taken after a commit that had to wait for the store, too. One could think that whoever waited for the same batch
  goes on together anyway; but on Redis and PostgreSQL it gains there as well, and holds p99 down. SQLite's writes lose
  a hundredth or two.
- A handler that computes for a long time without awaiting holds up the cohort that it is in, as it holds up everything.

The same server without that turn and with it: the processor time of a request in bare aiohttp as a share of its own,
with the quartiles; the microseconds that a session costs over bare aiohttp; and p99 as a ratio to bare aiohttp's. One
run in turns, {rounds} slices of {seconds:g} s each, 64 sessions. *Own* is a read whose handler then asks an SQLite
database of its own, beside a bare handler that does.{disturbed}

{table}"""

_PEERS = """
## Beside others

Each library's sessions beside the bare server of its own framework, so that what is compared is the sessions and not
the frameworks: the share that is left of the requests which the bare server answers in the same processor time, with
the quartiles, and the processor time of a session. (Where the server never has to wait, that share is the share of the
throughput.) A read gets one of three keys, a write sets one more; what a library does beside that is its own affair:
starsessions stores a session and sends its cookie whenever it was loaded, express-session touches it, and of the stores
in memory some keep objects and some keep bytes.

One run on one machine, in turns, {rounds} slices of {seconds:g} s each, {connections} connections, {sessions} sessions.
The server is on one core, the load and the stores' servers on the other. Starlette runs on uvicorn with httptools and
asyncio, Django on gunicorn with one process of four threads, Express and Fastify on node, all as they come. Processor
time is that of all the server's threads; what Redis or PostgreSQL spend themselves is not in it.{disturbed}

{table}{on_node}
The bench cannot fetch scs, for Go, so its figures are not from this run: measured by hand, on Go 1.19 and one
processor, with its store in memory, in a single run of 3 slices of 2 s, a read kept 0.26 of the throughput of its own
bare server and a write 0.22, at 22 and 28 microseconds a session. That server is so fast that a session weighs much,
though it costs little.
"""


def cohort_section(found: dict[str, Any]) -> str:
    """Return what the turn of the loop before the headers is, and gains."""
    figures = table(
        ["", "connections", "", "without", "", "with", "", "µs", "with", "p99", "with"], cohort.rows(found, LABELS)
    )
    return _COHORT.format(
        skipped=ALONE,
        every=ALONE + 1,
        rounds=found["rounds"],
        seconds=found["seconds"],
        table=figures,
        disturbed=_disturbed(found),
    )


def peers_section(found: dict[str, Any]) -> str:
    """Return the table of the peers with its conditions."""
    head = ["", "on", "bare, µs", "a read keeps", "", "costs, µs", "a write keeps", "", "costs, µs"]
    return _PEERS.format(
        rounds=found["rounds"],
        seconds=found["seconds"],
        connections=found["connections"],
        sessions=found["sessions"],
        table=table(head, peers.rows(found)),
        disturbed=_disturbed(found),
        on_node=_on_node(found),
    )


def _on_node(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["on_node"].items())
    return f"\n{textwrap.fill(f'On node: {versions}.', 118, break_on_hyphens=False)}\n" if versions else ""


def _disturbed(found: dict[str, Any]) -> str:
    """Return what is to be said of a run in which the servers could not use their core."""
    busy: float = found["busy"]
    if busy >= QUIET:
        return ""
    return (
        f"\nOther programs used the machine meanwhile (the servers had {busy:.0%} of their core): differences of a few"
        "\nhundredths, and of less than the quartiles are apart, say nothing."
    )
