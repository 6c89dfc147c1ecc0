"""One connection to a Redis server, for commands that travel together and are never sent twice.

redis-py makes the connection: address, TLS, user, database, Sentinel. From then on its streams, its time limit for each
answer and its pool's accounting would cost more than the commands, so the connection is spoken to directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import hiredis
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import InvalidResponse, RedisError

from .failures import is_lost

__all__ = ["INCOMPLETE", "Pipe", "privates_of"]

_PUSHES: Any = getattr(hiredis, "PushNotification", ())
"""What a server tells of its own accord, in version 3 of the protocol; hiredis before 3.2 has no type for it."""

INCOMPLETE: Any = object()


class Pipe:
    """A connection that is made when it is needed, and anew after it was lost. One conversation at a time.

    :param make: returns a connection of redis-py's that is not connected yet.
    :param probe: a command that a new connection is tried with; nothing for none. Where it fails in a way that another
        connection might not, the connection is not used.
    """

    def __init__(self, make: Callable[[], Any], probe: bytes = b"") -> None:
        self._make = make
        self._probe = probe
        self._link: _Link | None = None
        self._is_left = False
        self.connections = 0
        """How many it has made."""

    async def converse(self, commands: bytes, count: int, seconds: float) -> list[Any]:
        """Send so many commands; return their answers, each a value or the exception that the server answered with.

        Where the connection is lost, or has not answered after so many seconds, the answers that are missing are the
        exception for that. Where nothing was sent, because there was no way to connect, this raises.
        """
        link = self._link
        if link is None or self._is_left or link.is_closing():
            async with asyncio.timeout(seconds):
                link = await self._connect(seconds)
        try:
            return await link.ask(commands, count, seconds)
        except BaseException:
            # Nobody waits for the answers any more, and they are not to be taken for those of the next conversation.
            await self.close()
            raise

    def leave(self) -> None:
        """Let the next conversation make another connection; one that is under way goes on."""
        self._is_left = True

    async def close(self) -> None:
        """Give up the connection; the next conversation makes another one."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _connect(self, seconds: float) -> _Link:
        """Make another connection, and try it."""
        await self.close()
        self._is_left = False
        connection = self._make()
        try:
            await connection.connect()
        except BaseException:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        link = self._link = _Link(connection)
        try:
            if self._probe:
                (answer,) = await link.ask(self._probe, 1, seconds)
                if is_lost(answer):
                    raise answer
        except BaseException:
            await self.close()
            raise
        self.connections += 1
        return link


def privates_of(connection: Any) -> tuple[asyncio.Transport, Any, Callable[[str], Exception]]:
    """Return a connection's transport, its streams' protocol, and what makes an exception of an error's text.

    redis-py promises none of these. They were found in 6.4, 7.1 and 8.1; the tests of this adapter fail without them.
    """
    transport = connection._writer.transport  # noqa: SLF001 - the one way to it
    return transport, transport.get_protocol(), BaseParser.parse_error


class _Link(asyncio.Protocol):
    """Takes a connection over from redis-py's streams."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transport, self._streams, parse_error = privates_of(connection)
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=INCOMPLETE)
        self._awaited: asyncio.Future[list[Any]] | None = None
        self._answers: list[Any] = []
        self._count = 0
        self._seconds = self._due = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self.is_closing: Callable[[], bool] = self._transport.is_closing
        self._transport.set_protocol(self)

    def ask(self, commands: bytes, count: int, seconds: float) -> asyncio.Future[list[Any]]:
        """Return the future answers."""
        loop = asyncio.get_running_loop()
        self._answers, self._count = [], count
        self._seconds, self._due = seconds, time.monotonic() + seconds
        if self._alarm is None:
            self._alarm = loop.call_later(seconds, self._ring)
        self._awaited = awaited = loop.create_future()
        self._transport.write(commands)
        return awaited

    async def close(self) -> None:
        """Close the connection, without waiting for the other side."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._transport.abort()
        await self._connection.disconnect()

    def data_received(self, data: bytes) -> None:
        answers, gets = self._answers, self._reader.gets
        try:
            self._reader.feed(data)
            while (answer := gets(False)) is not INCOMPLETE:
                if not isinstance(answer, _PUSHES):
                    answers.append(answer)
        except InvalidResponse as error:
            self._fail(error)
            return
        if len(answers) == self._count:
            awaited, self._awaited = self._awaited, None
            self._answers, self._count = [], 0
            if awaited is not None and not awaited.done():
                awaited.set_result(answers)
        elif len(answers) > self._count:
            self._fail(LostConnectionError("the server sent more than it was asked for"))

    def eof_received(self) -> None:
        """Let the transport close."""

    def connection_lost(self, exc: Exception | None) -> None:
        # The streams wait for this where redis-py closes them.
        self._streams.connection_lost(exc)
        self._fail(exc or LostConnectionError("the server closed the connection"))

    def _ring(self) -> None:
        """Look whether the answers are late; one alarm does for many conversations."""
        self._alarm = None
        if self._awaited is not None:
            left = self._due - time.monotonic()
            if left > 0:
                self._alarm = asyncio.get_running_loop().call_later(left, self._ring)
            else:
                self._fail(TimeoutError(f"Redis did not answer within {self._seconds} s"))

    def _fail(self, error: Exception) -> None:
        """Give the connection up; what was answered before counts."""
        self._transport.abort()
        awaited, self._awaited = self._awaited, None
        if awaited is not None and not awaited.done():
            missing = self._count - len(self._answers)
            awaited.set_result(self._answers[: self._count] + [error] * missing)
