"""Redis or Valkey: one server, a cluster of three, a Sentinel."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable, Sequence
from typing import Self

from .process import HOST, Server, absent

__all__ = ["RedisCluster", "RedisSentinel", "RedisServer"]

_SLOTS = 16384
_MASTERS = 3


class RedisServer(Server):
    """One server that keeps its data over a :meth:`stop`, not over a :meth:`kill`.

    :param programs: which program it is: the first one that is installed.
    """

    def __init__(self, *arguments: str, programs: Sequence[str] = ("redis-server", "valkey-server")) -> None:
        found = [program for program in map(shutil.which, programs) if program is not None]
        if not found:
            absent(programs[0], programs[0])
        super().__init__()
        self.program = found[0]
        self.arguments = arguments

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            self.program,
            *("--port", str(self.port), "--bind", self.host, "--dir", str(self.folder), "--daemonize", "no"),
            *("--save", "", "--appendonly", "no", "--unixsocket", "socket", *self.arguments),
        ]

    def is_ready(self) -> bool:
        return self.call("PING").startswith((b"+PONG", b"-NOAUTH"))

    def shut_down(self) -> None:
        self.call("SHUTDOWN SAVE")

    def call(self, command: str) -> bytes:
        """Return the first bytes of the answer to a simple command; nothing where there is none."""
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as connection:
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(65536)
        except OSError:
            return b""


class RedisCluster:
    """Three masters that share the slots, the first of which may have a replica: the last of ``nodes``."""

    def __init__(self, *, replica: bool = False) -> None:
        self.nodes = [
            RedisServer(
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf"),
                *("--cluster-require-full-coverage", "no"),
            )
            for _ in range(_MASTERS + replica)
        ]
        # The nodes are told of each other beforehand, which is faster than letting them meet.
        for me in self.nodes:
            lines = [self._line(index, node, me) for index, node in enumerate(self.nodes)]
            (me.folder / "nodes.conf").write_text("\n".join([*lines, "vars currentEpoch 3 lastVoteEpoch 0", ""]))

    @classmethod
    def shared(cls, nodes: Iterable[tuple[int, str]]) -> Self:
        """Return a cluster that somebody else started, and will end."""
        cluster = cls.__new__(cls)
        cluster.nodes = [RedisServer.shared(*node) for node in nodes]
        return cluster

    @property
    def url(self) -> str:
        return f"redis://{self.nodes[0].host}:{self.nodes[0].port}/0"

    def start(self) -> None:
        """Start all nodes; return when each knows the whole cluster to be in order."""
        for node in self.nodes:
            if not node.is_running:
                node.spawn()
        for node in self.nodes:
            node.is_ready = lambda node=node: b"cluster_state:ok" in node.call("CLUSTER INFO")  # type: ignore[method-assign]
            node.wait_until_ready()

    def recover(self) -> None:
        """Bring all nodes back to work."""
        for node in self.nodes:
            node.resume()
        self.start()

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.close()

    @staticmethod
    def _line(index: int, node: RedisServer, me: RedisServer) -> str:
        name = f"{index + 1:x}" * 40
        role, first, last = (
            f"master - 0 0 {index + 1}",
            _SLOTS * index // _MASTERS,
            _SLOTS * (index + 1) // _MASTERS - 1,
        )
        slots = f" {first}-{last}"
        if index >= _MASTERS:
            role, slots = f"slave {'1' * 40} 0 0 1", ""
        myself = "myself," if node is me else ""
        return f"{name} {HOST}:{node.port}@{node.port + 10_000} {myself}{role} connected{slots}"


class RedisSentinel(RedisServer):
    """A Sentinel that watches one master under the name ``sessions``, and decides alone on a failover."""

    def __init__(self, master: RedisServer, *, down_after: int = 1000) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind {self.host}\ndir {self.folder}\n"
            f"sentinel monitor sessions {master.host} {master.port} 1\n"
            f"sentinel down-after-milliseconds sessions {down_after}\n"
        )

    def command(self) -> list[str]:
        return [self.program, str(self.folder / "sentinel.conf"), "--sentinel"]
