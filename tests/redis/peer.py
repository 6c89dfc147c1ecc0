"""A peer at the other end of a connection, which answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp_spry_session.adapters.redis.pipe import Pipe

__all__ = ["PATIENCE", "Answer", "Connect", "Connection", "Peer"]

Answer = bytes | None
PATIENCE = 10.0


class Peer:
    """A server that answers each thing it is sent with the next of its answers; ``None`` closes the connection."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.received: list[bytes] = []
        self.connections = 0
        self.was_asked = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self) -> None:
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while data := await reader.read(1000):
            self.received.append(data)
            self.was_asked.set()
            answer = self.answers.pop(0)
            if answer is None:
                break
            writer.write(answer)
        writer.close()


class Connection:
    """As much of redis-py's connection as is used."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        _, self._writer = await asyncio.open_connection("127.0.0.1", self.peer.port)

    async def disconnect(self, *, nowait: bool = False) -> None:
        if self._writer is not None:
            self._writer.close()
            if not nowait:
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()


Connect = Callable[..., Awaitable[tuple[Peer, Pipe]]]
