"""Kills a real server on SQLite under load, again and again."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from .clients import Client, SharedCounter, ask

_CLIENTS = 16


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, aiohttp.ClientSession]]:
    """A server on the file; killed at the end where it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.crash.server", str(path)),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        ) as http:
            yield process, http
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def work_until_killed(
    path: Path, clients: list[Client], shared: list[SharedCounter], answers: int, choice: random.Random
) -> None:
    """Check what the server has, put load on it, and kill it after so many answers, with other requests in flight."""
    async with running(path) as (process, http):
        if not shared:
            shared.append(SharedCounter((await ask(http, "start", ""))[1]))
        for checked in (*shared, *clients):
            await checked.check(http)
        left = answers

        async def work(client: Client) -> None:
            nonlocal left
            while True:
                try:
                    await (shared[0].increment(http) if choice.random() < 0.1 else client.step(http))
                except aiohttp.ClientError:
                    assert left <= 0, "the server failed before it was killed"
                    return
                left -= 1
                if left == 0:
                    process.kill()

        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(work(client))


def check_integrity(path: Path) -> None:
    """Let SQLite examine the file."""
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        database.close()


async def crash(path: Path, *, kills: int, most_answers: int, seed: int) -> None:
    choice = random.Random(seed)
    clients = [Client(choice) for _ in range(_CLIENTS)]
    shared: list[SharedCounter] = []
    for _ in range(kills):
        await work_until_killed(path, clients, shared, choice.randrange(1, most_answers), choice)
        check_integrity(path)
    async with running(path) as (_, http):
        for checked in (*shared, *clients):
            await checked.check(http)


async def test_killed_server_keeps_what_it_answered(tmp_path: Path) -> None:
    """Every write that was answered is there after kill -9, and no ended session is back."""
    await crash(tmp_path / "sessions.db", kills=4, most_answers=600, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_server_killed_dozens_of_times_keeps_what_it_answered(tmp_path: Path, seed: int) -> None:
    """The same law holds over a long series of crashes of one file."""
    await crash(tmp_path / "sessions.db", kills=30, most_answers=2500, seed=100 + seed)
