"""Several server processes on one table."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def counter(dsn: str, namespace: str) -> AsyncIterator[str]:
    """Run a server process; give its URL."""
    command = [sys.executable, "-m", "tests.postgres.counter", dsn, namespace]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    try:
        yield f"http://127.0.0.1:{await _first_line(process)}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
    assert process.returncode == 0


async def _first_line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_parallel_increments_in_two_processes_are_exact(postgres_server: PostgresServer, namespace: str) -> None:
    """Hundreds of parallel requests on one session, through two processes: none fails, and each is counted once."""
    async with AsyncExitStack() as stack:
        # Started together, on a table that neither finds.
        servers = [counter(postgres_server.dsn, namespace) for _ in range(2)]
        urls = await asyncio.gather(*map(stack.enter_async_context, servers))
        jar = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(limit=60)
        client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar, connector=connector))

        async def count(number: int) -> int:
            async with client.get(f"{urls[number % 2]}/count") as response:
                assert response.status == 200
                return int(await response.text())

        assert await count(0) == 1
        answers = await asyncio.gather(*map(count, range(300)))
        assert sorted(answers) == list(range(2, 302))
