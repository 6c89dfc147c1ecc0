"""Connections to a PostgreSQL server: the adapter's own, or borrowed from an application's pool."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg

__all__ = ["Connections", "connections_from", "is_collision", "is_connection_lost", "is_locked", "is_rolled_back"]

_connect: Callable[..., Awaitable[Any]] = asyncpg.connect

_COLLISIONS = "40"
"""The class of SQLSTATE for what the server rolled back on behalf of another transaction: deadlock, serialization."""

_SERIALIZATION = "40001"
"""The SQLSTATE for what only a stricter isolation than READ COMMITTED refuses."""

_LOCKED = "55P03"
"""The SQLSTATE for a lock that was not to be had in time."""

_ROLLED_BACK = ("22", "23", "54", _COLLISIONS, _LOCKED)
"""Classes of SQLSTATE that blame the statement: data, integrity, limits, collisions; and the one for a lock."""

_ENDED = ("08", "57P")
"""Classes of SQLSTATE for a connection that is no more: by the network, or by the server's will."""


def is_rolled_back(error: BaseException) -> bool:
    """Whether a statement certainly took no effect, for a reason of its own: the connection is fine.

    After any other error the connection is given up, and nobody knows whether a write took effect.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _sqlstate(error).startswith(_ROLLED_BACK)
    # The driver's own DataError: the parameters could not be encoded, and nothing was sent.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def is_collision(error: BaseException) -> bool:
    """Whether the server rolled a statement back that may succeed when it is tried again."""
    return isinstance(error, asyncpg.PostgresError) and _sqlstate(error).startswith(_COLLISIONS)


def is_locked(error: BaseException) -> bool:
    """Whether the server rolled a statement back because another transaction holds what it needs."""
    return isinstance(error, asyncpg.PostgresError) and _sqlstate(error) == _LOCKED


def _sqlstate(error: asyncpg.PostgresError) -> str:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def is_connection_lost(error: BaseException) -> bool:
    """Whether it was the connection that failed, so that another one may do better."""
    if isinstance(error, asyncpg.PostgresError):
        return _sqlstate(error).startswith(_ENDED)
    # The driver's InternalClientError: the server's farewell arrived when an answer was not yet, or no longer, awaited.
    lost = ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError
    return isinstance(error, lost) and not is_rolled_back(error)


class Connections(abc.ABC):
    """Where the adapter gets a connection for a batch.

    :param timeout: seconds to get one, and seconds for one use: then it is aborted.
    """

    isolates = False
    """Whether each statement has to ask for READ COMMITTED, because the server's default is another.

    That costs two more round trips, but any other way would be a setting of the connection: PgBouncer refuses it, or
    lets it leak to others, and so does an application's pool. Without it the statements are right, but collide.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    @abc.abstractmethod
    def use(self, *, limited: bool = True) -> AbstractAsyncContextManager[Any]:
        """Lend a connection; where the server is away or does not answer in time, raise.

        :param limited: ``False``: the use may take as long as it likes.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Close what is the adapter's own."""

    async def fetch(self, statement: str, *parameters: object) -> list[Any]:
        """Run a statement in a transaction of its own, and return its rows."""
        async with self.use() as connection:
            return await self._fetch(connection, statement, parameters)

    async def _fetch(self, connection: Any, statement: str, parameters: Sequence[object]) -> list[Any]:
        rows: list[Any]
        if not self.isolates:
            rows = await connection.fetch(statement, *parameters)
            return rows
        async with connection.transaction(isolation="read_committed"):
            rows = await connection.fetch(statement, *parameters)
        return rows

    def _watch(self, connection: Any) -> asyncio.TimerHandle:
        """Abort a connection that does not answer in time.

        The driver's own time limit would ask the server to cancel, and wait for that: a server that hangs never does.
        """
        return asyncio.get_running_loop().call_later(self._timeout, _terminate, connection)

    def _judge(self, error: BaseException, connection: Any, alarm: asyncio.TimerHandle | None) -> BaseException:
        """Return what a use has failed with; a connection whose state nobody knows is aborted."""
        if isinstance(error, asyncpg.PostgresError) and _sqlstate(error) == _SERIALIZATION:
            self.isolates = True
        if not is_rolled_back(error):
            _terminate(connection)
        if alarm is None or alarm.when() > asyncio.get_running_loop().time():
            return error
        timeout = TimeoutError(f"PostgreSQL did not answer within {self._timeout} s")
        timeout.__cause__ = error
        return timeout

    @contextmanager
    def _guard(self, connection: Any, *, limited: bool) -> Iterator[None]:
        alarm = self._watch(connection) if limited else None
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - it is raised again
            raise self._judge(error, connection, alarm)  # noqa: B904 - it is the error, or names it as its cause
        finally:
            if alarm is not None:
                alarm.cancel()


class OwnConnection(Connections):
    """One connection, made when it is first needed and made anew when it was lost. Its users take turns."""

    def __init__(self, dsn: str, timeout: float) -> None:
        super().__init__(timeout)
        self._dsn = dsn
        self._turn = asyncio.Lock()
        self._connection: Any = None

    @asynccontextmanager
    async def use(self, *, limited: bool = True) -> AsyncIterator[Any]:
        async with self._turn:
            connection = await self._connected()
            with self._guard(connection, limited=limited):
                yield connection

    async def fetch(self, statement: str, *parameters: object) -> list[Any]:
        # As inherited, without what the context managers cost, which is a quarter of a batch.
        async with self._turn:
            connection = self._connection
            if connection is None or connection.is_closed():
                connection = await self._connected()
            alarm = self._watch(connection)
            try:
                return await self._fetch(connection, statement, parameters)
            except BaseException as error:  # noqa: BLE001 - as in _guard
                raise self._judge(error, connection, alarm)  # noqa: B904 - as in _guard
            finally:
                alarm.cancel()

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await _connect(self._dsn, timeout=self._timeout)
        return self._connection

    async def close(self) -> None:
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(Exception):
                    await connection.close(timeout=self._timeout)
        # The next loop needs a lock of its own: one that was waited for is bound to its loop.
        self._turn = asyncio.Lock()


class BorrowedConnections(Connections):
    """Connections of the application's pool, each taken for one use."""

    def __init__(self, pool: Any, timeout: float) -> None:
        super().__init__(timeout)
        self._pool = pool

    @asynccontextmanager
    async def use(self, *, limited: bool = True) -> AsyncIterator[Any]:
        connection = await self._pool.acquire(timeout=self._timeout)
        try:
            with self._guard(connection, limited=limited):
                yield connection
        finally:
            # What was done is done, even if the pool fails to reset its connection: it makes another then.
            with suppress(Exception):
                await self._pool.release(connection, timeout=self._timeout)

    async def close(self) -> None:
        """Leave the pool to its owner."""


def _terminate(connection: Any) -> None:
    # A pool takes a connection that was lost out of its user's hands, who may then not even terminate it.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def connections_from(pool_or_dsn: Any, timeout: float) -> Connections:
    """Return connections of the pool, or one to the server that the DSN names."""
    if isinstance(pool_or_dsn, str):
        return OwnConnection(pool_or_dsn, timeout)
    return BorrowedConnections(pool_or_dsn, timeout)
