"""Several processes, one session."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from tests.servers.process import free_port
from tests.servers.redis import RedisServer

from ..support import COOKIE

_REQUESTS = 240


@asynccontextmanager
async def counting_app(url: str, prefix: str) -> AsyncIterator[str]:
    """Run an application in a process of its own; give its address."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.redis.counting_app", url, prefix, str(port)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
        yield f"http://127.0.0.1:{port}/increment"
    finally:
        process.terminate()
        await process.communicate()


async def test_two_servers_count_exactly(redis_server: RedisServer, prefix: str) -> None:
    """Hundreds of parallel increments through two processes: each is counted, and each number is given once."""
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(counting_app(redis_server.url, prefix)) for _ in range(2)]
        browser = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        async with browser.get(addresses[0]) as response:
            cookie = {"Cookie": f"{COOKIE}={response.cookies[COOKIE].value}"}

        async def increment(number: int) -> int:
            async with browser.get(addresses[number % 2], headers=cookie) as response:
                assert response.status == 200
                return int(await response.text())

        counted = await asyncio.gather(*map(increment, range(_REQUESTS)))
    assert sorted(counted) == list(range(2, _REQUESTS + 2))
