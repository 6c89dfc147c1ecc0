"""Starts servers: for one test run, or for all the test runs of a command.

``python -m tests.servers COMMAND`` starts each server once and runs the command; the test runs in it, however many,
use those servers and skip the tests that would stop one.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from .postgres import PostgresServer
from .process import Server, guardian
from .redis import RedisCluster, RedisSentinel, RedisServer

__all__ = ["main", "started"]

_SHARED = "SPRY_TEST_SERVERS"
_KINDS: dict[str, Callable[..., Any]] = {
    "redis": RedisServer,
    "valkey": partial(RedisServer, programs=["valkey-server"]),
    "cluster": RedisCluster,
    "sentinel": RedisSentinel,
    "postgres": PostgresServer,
}


@contextmanager
def started(name: str, *arguments: Any) -> Iterator[Any]:
    """Give a running server: one that is shared, or else a new one, which goes at the end."""
    kind: Any = _KINDS[name]
    places = json.loads(os.environ.get(_SHARED, "{}")).get(name)
    if places is not None:
        yield kind.shared(places) if kind is RedisCluster else kind.shared(*places)
        return
    server = kind(*arguments)
    try:
        if kind is PostgresServer:
            server.initialise()
        server.start()
        yield server
    finally:
        server.close()


def main(command: list[str]) -> int:
    """Run a command with servers that its test runs share; return its exit status."""
    try:
        with ExitStack() as stack:
            redis, cluster, postgres = (stack.enter_context(started(name)) for name in ("redis", "cluster", "postgres"))
            sentinel = stack.enter_context(started("sentinel", redis))
            places = {
                "redis": _place(redis),
                "cluster": [_place(node) for node in cluster.nodes],
                "sentinel": _place(sentinel),
                "postgres": _place(postgres),
            }
            return subprocess.run(command, check=False, env={**os.environ, _SHARED: json.dumps(places)}).returncode
    finally:
        guardian.dismiss()


def _place(server: Server) -> tuple[int, str]:
    return server.port, str(server.folder)
