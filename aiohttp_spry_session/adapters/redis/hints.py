"""What ended, told by the server: a subscription to one channel, on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import hiredis
from redis.exceptions import AuthorizationError, InvalidResponse, NoPermissionError
from redis.exceptions import ConnectionError as LostConnectionError

from ...events import logger
from ...exceptions import AdapterError
from ..hints import Hints
from .connections import ANSWER_SECONDS, pack
from .failures import FAILURES
from .pipe import INCOMPLETE, privates_of
from .sessions import KeptSessions

__all__ = ["RedisHints"]

PING_SECONDS = 1.0
"""Between two questions whether the server is still there."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to connect."""

_REFUSALS = (AuthorizationError, NoPermissionError)


class RedisHints(Hints):
    """Hints of what ended, in this process and in others."""

    def __init__(self, kept: KeptSessions) -> None:
        super().__init__(self._follow)
        self._kept = kept
        self.subscription: _Subscription | None = None

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._subscribe()
            except _REFUSALS as error:
                logger.warning(
                    "this user of Redis may not subscribe to %s, looking again finds out what other processes end: %s",
                    self._channel,
                    error,
                )
                return
            except (*FAILURES, TimeoutError, AdapterError):
                pause = _FIRST_PAUSE if self._is_connected else min(2 * pause, _LONGEST_PAUSE)
            self.lost()
            await asyncio.sleep(pause)

    @property
    def _channel(self) -> str:
        return self._kept.channel.decode("utf-8", "replace")

    async def _subscribe(self) -> None:
        """Tell what the server tells; raise where it does not any more, end where it may not be the right one."""
        connections = self._kept.connections
        connection = connections.connection()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.connect()
                self.subscription = subscription = _Subscription(connection, self._hear)
                await subscription.begin(self._kept.channel)
            losses = connections.losses
            self.connected()
            while losses == connections.losses:  # else it may be a server that was demoted
                await subscription.listen(PING_SECONDS)
        finally:
            with contextlib.suppress(*FAILURES):
                await connection.disconnect(nowait=True)

    def _hear(self, key: bytes) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # none of ours
            handle = self._kept.handle(key)
            if handle is not None:
                self.tell(handle)


class _Subscription(asyncio.Protocol):
    """Takes a connection over from redis-py's streams, whose time limits are for answers.

    :param hear: gets each message.
    """

    def __init__(self, connection: Any, hear: Callable[[bytes], None]) -> None:
        self._transport, self._streams, parse_error = privates_of(connection)
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=INCOMPLETE)
        self._hear = hear
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard_at = asyncio.get_running_loop().time()
        self._transport.set_protocol(self)

    async def begin(self, channel: bytes) -> None:
        """Subscribe; raise what the server answers, if it does not let us."""
        self._transport.write(pack(b"SUBSCRIBE", channel))
        await asyncio.wait({self._begun, self._lost}, return_when=asyncio.FIRST_COMPLETED)
        await (self._begun if self._begun.done() else self._lost)

    async def listen(self, seconds: float) -> None:
        """Listen for so many seconds; raise where the connection is lost, or silent in spite of questions."""
        self._transport.write(pack(b"PING"))
        await asyncio.wait({self._lost}, timeout=seconds)
        if self._lost.done():
            await self._lost
        if asyncio.get_running_loop().time() - self._heard_at > ANSWER_SECONDS:
            raise LostConnectionError(f"Redis was silent for {ANSWER_SECONDS} s")

    def data_received(self, data: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets(False)) is not INCOMPLETE:
                self._take(answer)
        except InvalidResponse as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.connection_lost(exc)  # they wait for this where redis-py closes them
        self._fail(exc or LostConnectionError("the server closed the connection"))

    def _take(self, answer: Any) -> None:
        if isinstance(answer, Exception):
            self._fail(answer)
        elif isinstance(answer, list) and len(answer) == 3:
            kind, _, content = answer
            if kind == b"message":
                self._hear(content)
            elif kind == b"subscribe" and not self._begun.done():
                self._begun.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self._lost.done():
            self._lost.set_exception(error)
            self._lost.exception()  # looked at, for where nobody waits any more
