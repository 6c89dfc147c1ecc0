"""The server stopped, restarted and frozen under load: 503 meanwhile, and nothing lost, doubled or logged out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from aiohttp_spry_session import SessionManager
from tests.postgres.conftest import MakePostgres
from tests.postgres.counter import application
from tests.servers.postgres import PostgresServer


class Load:
    """Visitors of one session who come again and again, whatever they are answered."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client
        self.counted = 0
        self.refused = 0
        self._changed = asyncio.Event()
        self._going = True

    async def visit(self) -> None:
        while self._going:
            async with self.client.get("/count") as response:
                assert response.status in (200, 503)
                assert "Set-Cookie" not in response.headers
                if response.status == 200:
                    self.counted += 1
                else:
                    self.refused += 1
            self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the figures holds."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_counted(self, more: int) -> None:
        goal = self.counted + more
        await self.until(lambda: self.counted >= goal)

    async def until_refused(self, more: int) -> None:
        goal = self.refused + more
        await self.until(lambda: self.refused >= goal)

    def end(self) -> None:
        self._going = False


async def load(client: TestClient[Any, Any], disturb: Callable[[Load], Awaitable[None]]) -> Load:
    """Put load on the application while the server is disturbed; return the figures."""
    load = Load(client)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(load.visit())
        await load.until_counted(20)
        await disturb(load)
        await load.until_counted(20)
        load.end()
    return load


async def start(client: TestClient[Any, Any]) -> None:
    """Start the client's session."""
    async with client.get("/count") as response:
        assert response.status == 200


async def visits(client: TestClient[Any, Any]) -> int:
    """Return how many visits the session has counted."""
    async with client.get("/visits") as response:
        assert response.status == 200
        return int(await response.text())


@pytest.mark.parametrize("connections", ["own", "pool"])
async def test_a_restart_under_load_costs_nothing_that_was_answered(
    postgres_server: PostgresServer,
    make_postgres: MakePostgres,
    pool: asyncpg.Pool,
    aiohttp_client: Any,
    connections: str,
) -> None:
    """While the server is away each visit is refused; then it goes on, and every visit counted at most once."""
    adapter = make_postgres(*[pool][: connections == "pool"])
    client = await aiohttp_client(application(SessionManager(adapter)))
    await start(client)

    async def restart(load: Load) -> None:
        await asyncio.to_thread(postgres_server.stop)
        await load.until_refused(20)
        await asyncio.to_thread(postgres_server.start)

    done = await load(client, restart)
    assert 1 + done.counted <= await visits(client) <= 1 + done.counted + done.refused


@pytest.mark.parametrize("connections", ["own", "pool"])
async def test_a_frozen_server_is_503_within_the_timeout(
    postgres_server: PostgresServer,
    make_postgres: MakePostgres,
    pool: asyncpg.Pool,
    aiohttp_client: Any,
    connections: str,
) -> None:
    """Nobody waits longer than ``timeout``; once the server goes on so does everything, and nothing counted twice."""
    adapter = make_postgres(*[pool][: connections == "pool"])
    client = await aiohttp_client(application(SessionManager(adapter, timeout=1.0)))
    await start(client)

    async def freeze(load: Load) -> None:
        await asyncio.to_thread(postgres_server.pause)
        began = asyncio.get_running_loop().time()
        await load.until_refused(8)
        assert asyncio.get_running_loop().time() - began < 7  # eight, one after the other, would take longer
        await asyncio.to_thread(postgres_server.resume)

    done = await load(client, freeze)
    assert 1 + done.counted <= await visits(client) <= 1 + done.counted + done.refused


async def test_a_server_that_went_while_nobody_looked_is_not_missed(
    postgres_server: PostgresServer, make_postgres: MakePostgres, aiohttp_client: Any
) -> None:
    """A restart between two requests costs neither of them anything."""
    client = await aiohttp_client(application(SessionManager(make_postgres())))
    await start(client)
    await asyncio.to_thread(postgres_server.stop)
    await asyncio.to_thread(postgres_server.start)
    await start(client)
    assert await visits(client) == 2


async def test_ended_connections_cost_no_read(
    make_postgres: MakePostgres, postgres_server: PostgresServer, aiohttp_client: Any
) -> None:
    """Whoever ends all connections on the server fails no request that reads."""
    client = await aiohttp_client(application(SessionManager(make_postgres())))
    await start(client)
    administrator = await asyncpg.connect(postgres_server.dsn)

    async def end_all() -> None:
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    for _ in range(20):
        *answers, _ = await asyncio.gather(*(visits(client) for _ in range(5)), end_all())
        assert answers == [1] * 5
    await administrator.close()
