"""What an error says about the statement and its connection, and how a connection is given up."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session.adapters.postgres import connections as postgres_connections
from aiohttp_spry_session.adapters.postgres.connections import (
    OwnConnection,
    is_collision,
    is_connection_lost,
    is_locked,
    is_rolled_back,
)


class UnknownError(asyncpg.PostgresError):
    """What the server did not give a state to."""

    sqlstate: Any = None


class RefusedError(asyncpg.InterfaceError, ValueError):
    """As the driver's own for parameters that it cannot send."""


@pytest.mark.parametrize(
    ("error", "rolled_back", "collision", "lost"),
    [
        (asyncpg.DeadlockDetectedError("x"), True, True, False),
        (asyncpg.SerializationError("x"), True, True, False),
        (asyncpg.LockNotAvailableError("x"), True, False, False),
        (asyncpg.DataError("x"), True, False, False),
        (asyncpg.UniqueViolationError("x"), True, False, False),
        (asyncpg.StatementTooComplexError("x"), True, False, False),
        (asyncpg.AdminShutdownError("x"), False, False, True),
        (asyncpg.ConnectionDoesNotExistError("x"), False, False, True),
        (asyncpg.UndefinedTableError("x"), False, False, False),
        (UnknownError("x"), False, False, False),
        (RefusedError("x"), True, False, False),
        (asyncpg.InterfaceError("x"), False, False, True),
        (asyncpg.InternalClientError("x"), False, False, True),
        (ConnectionResetError("x"), False, False, True),
        (TimeoutError("x"), False, False, False),
        (ValueError("x"), False, False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_an_error_says(error: Exception, *, rolled_back: bool, collision: bool, lost: bool) -> None:
    """Whether the statement took no effect, whether it may have one next time, whether another connection may help."""
    assert is_rolled_back(error) is rolled_back
    assert is_collision(error) is collision
    assert is_connection_lost(error) is lost
    assert is_locked(error) is isinstance(error, asyncpg.LockNotAvailableError)


def test_an_error_without_a_state_says_nothing() -> None:
    """The driver's own subclasses may lack one altogether."""

    class StatelessError(asyncpg.PostgresError):
        @property
        def sqlstate(self) -> str:
            raise AttributeError

    assert not is_rolled_back(StatelessError("x"))


class Connection:
    """A connection that does not want to be closed."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def is_closed(self) -> bool:
        return False

    async def close(self, *, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)
        raise TimeoutError


class Hanging(Connection):
    """A connection that answers nothing until it is aborted."""

    async def fetch(self, statement: str, *parameters: object) -> Any:
        self.answer = asyncio.get_running_loop().create_future()
        return await self.answer

    def terminate(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectionAbortedError("terminated"))


async def test_a_statement_that_is_not_answered_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the time, and what the driver made of it."""

    async def connect(dsn: str, *, timeout: float) -> Connection:
        return Hanging()

    monkeypatch.setattr(postgres_connections, "_connect", connect)
    with pytest.raises(TimeoutError, match=r"^PostgreSQL did not answer within 0\.01 s$") as caught:
        await OwnConnection("postgresql://", 0.01).fetch("SELECT 1")
    assert isinstance(caught.value.__cause__, ConnectionAbortedError)


async def test_closing_is_limited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs holds no application up that stops."""
    connection = Connection()

    async def connect(dsn: str, *, timeout: float) -> Connection:
        assert (dsn, timeout) == ("postgresql://", 3.0)
        return connection

    monkeypatch.setattr(postgres_connections, "_connect", connect)
    own = OwnConnection("postgresql://", 3.0)
    async with own.use() as used:
        assert used is connection
    await own.close()
    await own.close()
    assert connection.timeouts == [3.0]
