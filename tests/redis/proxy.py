"""A proxy that loses answers, leads elsewhere, or forgets who is there."""

from __future__ import annotations

import asyncio
from types import TracebackType

from tests.servers.redis import RedisServer

__all__ = ["LossyProxy"]


class LossyProxy:
    """Passes bytes on to a server; can drop a connection once the server has answered, and before its client knows."""

    def __init__(self, server: RedisServer) -> None:
        self.server: RedisServer | None = server
        """Where connections lead that are made from now on; ``None``: nowhere."""
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self._generation = 0
        self.marker: bytes | None = None
        """The connection that sends this is dropped instead of being answered."""
        self.sent: list[bytes] = []
        """What was passed on to the server."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def count(self, marker: bytes) -> int:
        """How often the marker was passed on to the server."""
        return sum(data.count(marker) for data in self.sent)

    def forget(self) -> None:
        """Go on with connections to the server that it does not know yet."""
        self._generation += 1

    async def __aenter__(self) -> LossyProxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation, server = self._generation, self.server
        if server is None:
            writer.close()
            return
        upstream_reader, upstream = await asyncio.open_connection(server.host, server.port)
        try:
            while data := await reader.read(2**20):
                if generation != self._generation:
                    upstream.close()
                    generation = self._generation
                    upstream_reader, upstream = await asyncio.open_connection(server.host, server.port)
                self.sent.append(data)
                upstream.write(data)
                answer = await upstream_reader.read(2**20)
                if not answer or (self.marker is not None and self.marker in data):
                    break
                writer.write(answer)
        finally:
            for end in (upstream, writer):
                end.close()
