"""A block of code that ends with its session: what ``session.alive()`` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from types import TracebackType
from typing import Any, Protocol

from ..events import logger
from ..exceptions import SessionEndedError
from ..request.arrival import Place
from .table import Watched
from .watcher import Watcher

__all__ = ["Alive", "Socket", "close_all"]

ENDED = b"session ended"
GOING_AWAY = 1001
STOPPING = b"server shutdown"

CLOSE_SECONDS = 10.0
"""How long the other side may take to read what is on its way and to answer; then the connection is cut."""


class Socket(Protocol):
    """A WebSocket, of a server as a rule."""

    @property
    def closed(self) -> bool: ...
    async def close(self, *, code: int, message: bytes) -> Any: ...


class _State(Protocol):
    @property
    def place(self) -> Place | None: ...


class Alive:
    """Keeps a block running for as long as the session lives. It is entered once.

    It is made as ``asyncio.timeout`` is: it cancels the block's task, and takes that back at the block's end; whoever
    else cancelled the task still has their way.

    :param use: returns the session's state, once it is loaded.
    """

    __slots__ = (
        "_cancelled",
        "_cancelling",
        "_closing",
        "_code",
        "_ending",
        "_entered",
        "_message",
        "_over",
        "_socket",
        "_task",
        "_use",
        "_watcher",
        "owner",
        "watched",
    )

    def __init__(
        self, watcher: Watcher, use: Callable[[], Awaitable[_State]], socket: Socket | None, code: int
    ) -> None:
        if not isinstance(code, int) or not 1000 <= code <= 4999:
            raise ValueError(f"code must be a WebSocket's close code, 1000 to 4999, not {code!r}")
        if socket is not None and not getattr(socket, "prepared", True):
            raise ValueError(
                "the socket is not prepared yet: await socket.prepare(request) before session.alive(socket)"
            )
        self._watcher = watcher
        self._use = use
        self._socket = socket
        self._code = code
        self._message = ENDED
        self.owner: str | None = None
        """Whose session the block depends on."""
        self.watched: Watched | None = None
        """The watcher's."""
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._entered = self._over = self._cancelled = False
        self._ending: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def has_socket(self) -> bool:
        """Whether there is a WebSocket to close."""
        return self._socket is not None

    @property
    def ending(self) -> asyncio.Task[None] | None:
        """Closes the socket and cancels the block, once that is to end."""
        return self._ending

    async def __aenter__(self) -> None:
        """Begin to watch; where the session is over, end at once.

        :raises SessionEndedError: then, without a socket. With one the block is cancelled where it first waits.
        :raises AdapterError: where the store failed.
        """
        if self._task is not None:
            raise RuntimeError("a block of session.alive() is entered once: call alive() for each")
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        try:
            await self._look()
            if self._over and self._socket is not None:
                await self._begin_closing(self._socket)
        except BaseException:
            self._watcher.remove(self)
            if self._closing is not None:
                self._closing.cancel()
            raise
        self._cancelling = task.cancelling()
        self._entered = True
        if self._over:
            self._watcher.remove(self)
            if self._socket is None:
                raise SessionEndedError("ended")
            self._cancel(task)

    async def _look(self) -> None:
        place = (await self._use()).place
        if place is None:
            self._over = True
        else:
            self.owner = place.record.owner
            await self._watcher.add(place.handle, self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Watch no more; where the session has ended, close the socket, or raise ``SessionEndedError``."""
        self._watcher.remove(self)
        if not self._over:
            return False
        ours = isinstance(error, asyncio.CancelledError) and self._cancelled
        outer = await self._take_back(error)
        if self._socket is not None:
            await self._finish_closing(self._socket, at_once=outer)
        if outer and error is None:
            raise asyncio.CancelledError
        if not ours or outer:
            # What failed because the socket was closed is no failure of the block's.
            return self._socket is not None and isinstance(error, ConnectionResetError)
        if self._socket is None:
            raise SessionEndedError("ended") from error
        return True

    def end(self, code: int | None = None, message: bytes = ENDED) -> None:
        """Let the block end: the session has. What the block itself ends it finishes first."""
        if self._over:
            return
        self._over = True
        if code is not None:
            self._code, self._message = code, message
        if self._entered:
            self._ending = asyncio.get_running_loop().create_task(self._end(), context=Context())

    async def _end(self) -> None:
        assert self._task is not None  # noqa: S101 - it is entered
        await self._watcher.released(self._task)
        if self._socket is not None:
            await self._begin_closing(self._socket)
        self._cancel(self._task)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        self._cancelled = True
        task.cancel()

    async def _take_back(self, error: BaseException | None) -> bool:
        """Take the cancellation back; return whether somebody else has cancelled the task too."""
        if self._ending is not None:
            self._ending.cancel()  # for where the block was faster
        if not self._cancelled:
            return False
        if not isinstance(error, asyncio.CancelledError):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # it is still on its way, up to Python 3.12 even after ``uncancel``
        return self._task is not None and self._task.uncancel() > self._cancelling

    async def _begin_closing(self, socket: Socket) -> None:
        """Send the close frame. Nothing else of the loop runs between that and what comes after this."""
        self._closing = asyncio.get_running_loop().create_task(self._close(socket), context=Context())
        await asyncio.sleep(0)

    async def _finish_closing(self, socket: Socket, *, at_once: bool) -> None:
        if self._closing is None:
            await self._begin_closing(socket)
        closing = self._closing
        assert closing is not None  # noqa: S101 - it was begun
        if at_once:
            closing.cancel()
        await asyncio.gather(closing, return_exceptions=at_once)

    async def _close(self, socket: Socket) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await socket.close(code=self._code, message=self._message)
        except Exception:  # noqa: BLE001 - whatever it was, the connection is no more
            logger.debug("closing a socket whose session has ended failed", exc_info=True)


async def close_all(watcher: Watcher) -> None:
    """Close all sockets, since the application stops; return when their blocks are told."""
    endings = []
    for block in watcher.blocks():
        if isinstance(block, Alive) and block.has_socket:
            block.end(GOING_AWAY, STOPPING)
            endings += [] if block.ending is None else [block.ending]
    await asyncio.gather(*endings, return_exceptions=True)
