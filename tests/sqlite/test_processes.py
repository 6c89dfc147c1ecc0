"""Several worker processes on one SQLite file."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar

from .support import query

WORKERS = 2
REQUESTS = 300
AT_ONCE = 40


@asynccontextmanager
async def worker(path):
    """Run a worker; return its URL. It has to end by itself, and in peace."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.sqlite.server",
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        port = (await asyncio.wait_for(process.stdout.readline(), 30)).strip()
        if not port:
            raise RuntimeError((await process.stderr.read()).decode())
        yield f"http://127.0.0.1:{int(port)}"
        _, errors = await asyncio.wait_for(process.communicate(b""), 30)
        assert (process.returncode, errors.decode()) == (0, "")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
async def urls(path):
    """Start the workers at the same moment, on a file that none of them has made yet."""
    async with AsyncExitStack() as stack:
        starting = [worker(path) for _ in range(WORKERS)]
        yield await asyncio.gather(*(stack.enter_async_context(one) for one in starting))


async def ask_all(client, urls, paths):
    """Ask the workers in turn, many requests at a time; return the statuses and texts."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number, path):
        async with gate, client.get(urls[number % len(urls)] + path) as response:
            return response.status, await response.text()

    return await asyncio.gather(*(ask(number, path) for number, path in enumerate(paths)))


async def test_parallel_increments_of_one_session_are_counted_exactly(urls, path):
    """Hundreds of increments through two processes: each sees its own number, none is lost, no request fails."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
        async with client.get(urls[0] + "/login") as response:
            assert response.status == 200
        marks = [f"/mark?key={number}" for number in range(60)]
        paths = ["/increment"] * REQUESTS + marks
        random.Random(5).shuffle(paths)
        answers = await ask_all(client, urls, paths)
        assert {status for status, _ in answers} == {200}
        counted = [int(text) for path, (_, text) in zip(paths, answers, strict=True) if path == "/increment"]
        assert sorted(counted) == list(range(1, REQUESTS + 1))
        for url in urls:
            async with client.get(url + "/show") as response:
                assert await response.json() == {"n": REQUESTS, **{f"{number}": True for number in range(60)}}
    assert query(path, "SELECT count(*), sum(owner = 'ada') FROM sessions WHERE retired = 0") == [(1, 1)]


async def test_processes_that_write_different_sessions_wait_for_each_other(urls, path):
    """Each visitor starts a session in one process and uses it in the other; nobody meets a locked database."""

    async def visit(number):
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
            answers = []
            for step in range(4):
                async with client.get(urls[(number + step) % len(urls)] + "/increment") as response:
                    answers.append((response.status, await response.text()))
            return answers

    visits = await asyncio.gather(*(visit(number) for number in range(40)))
    assert visits == [[(200, "1"), (200, "2"), (200, "3"), (200, "4")]] * 40
    assert query(path, "SELECT count(*) FROM sessions") == [(40,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
