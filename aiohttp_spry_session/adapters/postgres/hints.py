"""What ended, told by the server: ``NOTIFY`` in a statement of its own, ``LISTEN`` on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ...events import logger
from ..batching import Batcher
from ..hints import Hints
from .connections import Connections
from .schema import Table

__all__ = ["PostgresHints", "listener_of"]

PROBE_SECONDS = 5.0
"""How long a connection is given to show that what it is told arrives, and that it is still there."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to connect."""

_PROBE = "?"
"""Begins what a connection tells itself; a key is hexadecimal there."""

_NOTIFY = """
SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload
WHERE (SELECT set_config('lock_timeout', '500ms', true)) IS NOT NULL
"""
_connect: Callable[..., Awaitable[Any]] = asyncpg.connect
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_LEAST = 2


class BarredError(Exception):
    """There is no way for hints here."""


class PostgresHints(Hints):
    """Hints of what ended, in this process and in others.

    ``NOTIFY`` takes a lock that all who use it share, until the end of the transaction: so it is sent after the commit
    of what it tells of, for that only, and nobody waits for it, or fails with it.

    :param writer: the connections that it is sent on.
    :param listener: makes a connection for ``LISTEN``, for as long as the context is.
    """

    def __init__(
        self, table: Table, writer: Connections, listener: Callable[[], contextlib.AbstractAsyncContextManager[Any]]
    ) -> None:
        super().__init__(self._follow)
        self.channel = f"spry_{table.lock & (2**64 - 1):016x}"
        self._writer = writer
        self._listener = listener
        self._notices: Batcher[str, None] = Batcher(self._send)

    def notify(self, keys: Sequence[bytes]) -> None:
        """Tell of keys under which a session has ended; nobody waits for that."""
        for key in keys:
            self._hear(key)
            self._notices.submit(key.hex()).add_done_callback(_look_at)

    def _hear(self, key: bytes) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # a long handle's digest: looking again finds out
            self.tell(key.decode("utf-8", "surrogatepass"))

    async def drain(self) -> None:
        """Wait until all is told."""
        await self._notices.drain()

    async def _send(self, payloads: list[str]) -> Sequence[None]:
        try:
            await self._writer.fetch(_NOTIFY, self.channel, list(dict.fromkeys(payloads)))
        except _FAILURES as error:
            logger.debug("telling other processes what ended failed: %s", error)
        return [None] * len(payloads)

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._listen()
            except BarredError as error:
                logger.warning("PostgreSQL cannot tell what other processes end, looking again finds out: %s", error)
                return
            except _FAILURES:
                pause = _FIRST_PAUSE if self._is_connected else min(2 * pause, _LONGEST_PAUSE)
            self.lost()
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Tell what the server tells; raise where it does not any more."""
        async with self._listener() as connection:
            ear = _Ear(self._hear)
            connection.add_termination_listener(ear.terminated)
            async with asyncio.timeout(PROBE_SECONDS):
                await connection.add_listener(self.channel, ear.hear)
            try:
                await self._probe(connection, ear, first=True)
                self.connected()
                while True:
                    await asyncio.wait({ear.lost}, timeout=PROBE_SECONDS)
                    if ear.lost.done():
                        raise ConnectionError("the connection was lost")
                    await self._probe(connection, ear)
            finally:
                with contextlib.suppress(*_FAILURES):
                    async with asyncio.timeout(PROBE_SECONDS):
                        connection.remove_termination_listener(ear.terminated)
                        await connection.remove_listener(self.channel, ear.hear)

    async def _probe(self, connection: Any, ear: _Ear, *, first: bool = False) -> None:
        """Find out whether the connection is there; the first time, whether it hears at all.

        Behind PgBouncer in transaction mode the server's connection is another one's as soon as ``LISTEN`` is done.
        """
        if not first:
            async with asyncio.timeout(PROBE_SECONDS):
                await connection.fetchval("SELECT 1")
            return
        token = ear.expect()
        async with asyncio.timeout(PROBE_SECONDS):
            await connection.fetch(_NOTIFY, self.channel, [token])
        await asyncio.wait({ear.heard, ear.lost}, timeout=PROBE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not ear.heard.done() and not ear.lost.done():
            raise BarredError("what is sent to this connection does not arrive: is it PgBouncer in transaction mode?")


class _Ear:
    """What a connection that listens calls."""

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._tell = tell
        self._token = ""
        self.heard: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def expect(self) -> str:
        """Return what the connection is to tell itself."""
        self._token = _PROBE + secrets.token_hex(8)
        return self._token

    def hear(self, connection: Any, pid: int, channel: str, payload: object) -> None:
        """Tell of a key."""
        text = str(payload)
        if text == self._token and not self.heard.done():
            self.heard.set_result(None)
        elif not text.startswith(_PROBE):
            with contextlib.suppress(ValueError):
                self._tell(bytes.fromhex(text))

    def terminated(self, connection: Any) -> None:
        """Take note that the connection is no more."""
        if not self.lost.done():
            self.lost.set_result(None)


def _look_at(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


@asynccontextmanager
async def listener_of(pool_or_dsn: Any, timeout: float) -> AsyncIterator[Any]:
    """Lend a connection to listen on: one of its own, or one of the application's pool.

    :raises BarredError: where the pool has only one, which the sessions need.
    """
    if isinstance(pool_or_dsn, str):
        connection = await _connect(pool_or_dsn, timeout=timeout)
        try:
            yield connection
        finally:
            connection.terminate()
    elif pool_or_dsn.get_max_size() < _LEAST:
        raise BarredError("the pool has one connection only: max_size=2 leaves one to listen on")
    else:
        connection = await pool_or_dsn.acquire(timeout=timeout)
        try:
            yield connection
        finally:
            with contextlib.suppress(Exception):
                await pool_or_dsn.release(connection, timeout=timeout)
