"""The command line on a real store of each kind."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from aiohttp_spry_session import SessionAdapter, SessionManager, SessionRecord, adapter_from_url
from aiohttp_spry_session.cli import main
from aiohttp_spry_session.codec import pack
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """What it printed for programs."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process."""
    for name in ("SPRY_SESSION_STORE", "SPRY_SESSION_TARGET", "SPRY_SESSION_KEYS"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **environment: str) -> Ran:
        with monkeypatch.context() as context:
            for name, value in environment.items():
                context.setenv(name, value)
            try:
                code = main(arguments)
            except SystemExit as end:  # --help
                code = end.code
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


def run_program(*arguments: str, **environment: str) -> Ran:
    """Run the program, in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SPRY_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "aiohttp_spry_session", *arguments],
        env={**inherited, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def make_url(kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty store of a kind."""
    name = secrets.token_hex(4)
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return f"{server.url}?prefix={name}:"
    if kind == "postgres":
        database: PostgresServer = request.getfixturevalue("postgres_server")
        return f"{database.dsn}?schema=test_{name}"
    folder: Path = request.getfixturevalue("tmp_path")
    return f"sqlite:///{folder / name}.db"


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """A store that is made, and empty."""
    url = make_url(request.param, request)
    on(url, nothing)
    return url


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest) -> str:
    """A store, where it does not matter which."""
    url = make_url("sqlite", request)
    on(url, nothing)
    return url


async def nothing(adapter: SessionAdapter) -> None:
    """Leave a store as it is."""


def on(url: str, use: Callable[[SessionAdapter], Awaitable[T]]) -> T:
    """Use a store, and return what comes of it."""

    async def used() -> T:
        adapter = adapter_from_url(url, expiration=None)
        async with SessionManager(adapter):
            return await use(adapter)

    return asyncio.run(used())


def a_session(owner: str | None = None, *, version: int = 1, lifetime: float | None = 3600.0, **values: Any) -> Any:
    """A handle and a record."""
    now = 1_800_000_000.0
    payload = pack({name: json.dumps(value).encode() for name, value in values.items()})
    return secrets.token_hex(32), SessionRecord(
        payload, version, now, None if lifetime is None else FAR + lifetime, owner
    )


FAR = 4_000_000_000.0
"""A time that has not come."""


def put(url: str, *sessions: tuple[str, SessionRecord]) -> list[str]:
    """Put sessions into a store; return their handles."""

    async def create(adapter: SessionAdapter) -> None:
        assert all(await asyncio.gather(*(adapter.create(*session) for session in sessions)))

    on(url, create)
    return [handle for handle, _ in sessions]


def held(url: str) -> dict[str, SessionRecord]:
    """What a store holds that is live."""

    async def scan(adapter: SessionAdapter) -> dict[str, SessionRecord]:
        return {handle: record async for handle, record in adapter.scan()}

    return on(url, scan)


__all__ = ["Ran", "Run", "a_session", "held", "on", "put", "run_program"]
