"""A TCP proxy before the server, which loses what a network can lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from urllib.parse import urlsplit

__all__ = ["Proxy"]


class Proxy:
    """Passes everything on, until it is told to lose something; used with ``async with``."""

    def __init__(self, dsn: str) -> None:
        self._parts = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._loses_request = False
        self._loses_answer = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.connections = 0
        self.lost = 0

    @property
    def dsn(self) -> str:
        """The server's DSN by way of the proxy."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._parts._replace(netloc=f"{self._parts.username}@127.0.0.1:{port}").geturl()

    def lose_request(self) -> None:
        """Cut the connection of the next request, which the server never sees."""
        self._loses_request = True

    def lose_answer(self) -> None:
        """Pass the next request on, and cut its connection once the server has answered."""
        self._loses_answer = True

    def hang(self) -> None:
        """Pass nothing on, and keep every connection open."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass everything on again."""
        self._flows.set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self.connections += 1
        try:
            async with _connection(self._parts.hostname, self._parts.port) as (answers, requests):
                await self._relay(reader, requests, answers, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._relays.discard(task)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on in both directions, until one end is closed or something is lost."""
        cut = asyncio.Event()

        async def forth() -> None:
            while data := await reader.read(65536):
                await self._flows.wait()
                if self._loses_request:
                    self._loses_request = False
                    self.lost += 1
                    break
                if self._loses_answer:
                    self._loses_answer = False
                    cut.set()
                requests.write(data)

        async def back() -> None:
            while data := await answers.read(65536):
                await self._flows.wait()
                if cut.is_set():
                    self.lost += 1
                    break
                writer.write(data)

        ways = [asyncio.create_task(forth()), asyncio.create_task(back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


@asynccontextmanager
async def _connection(
    host: str | None, port: int | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
