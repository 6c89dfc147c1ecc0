"""The demo as a process."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.__main__ import label

from .process import ROOT, DemoProcess

CREDENTIALS = {"name": "ada", "password": "analytical engine"}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[DemoProcess]:
    """A demo that is not started yet."""
    process = DemoProcess(tmp_path)
    yield process
    process.kill()


async def ask(client: aiohttp.ClientSession, url: str) -> Any:
    """Return what an address answers in JSON."""
    async with client.get(url, headers={"Accept": "application/json"}) as response:
        return response.status, await response.json()


async def test_survives_being_killed(process: DemoProcess) -> None:
    """After ``kill -9`` and a new start on the same file the visitor is still signed in, with the basket."""
    process.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.post(f"{process.url}/sign-in", json=CREDENTIALS) as response:
            assert response.status == 200
        async with client.post(f"{process.url}/basket/add", json={"product": "cup"}) as response:
            assert response.status == 200
        before = await ask(client, f"{process.url}/devices")
        process.kill()
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(client, f"{process.url}/devices")
        process.start()
        assert await ask(client, f"{process.url}/devices") == before
        assert (await ask(client, f"{process.url}/basket"))[1]["total"] == 1100


async def test_keeps_sessions_in_a_private_file_and_stops_in_order(process: DemoProcess) -> None:
    """The default store is demo.db in the current folder; a stop is clean even while a stream is open."""
    process.start()
    file = process.folder / "demo.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with aiohttp.ClientSession() as client, client.get(f"{process.url}/stream/events"):
        assert process.stop() == 0
    assert "Traceback" not in process.log.read_text()


def test_hides_a_stores_password() -> None:
    """The announcement names the store, but a URL with credentials only by its kind."""
    assert label("sqlite:///demo.db") == "sqlite:///demo.db"
    assert label("postgresql://me:secret@host/db") == "postgresql"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--store", "mysql://user:secret@host"], "must be memory://"),
        (["--store", "sqlite:////nowhere/at/all.db"], "cannot start"),
        (["--port", "999999"], "cannot start"),
    ],
)
def test_says_why_it_cannot_start(tmp_path: Path, options: list[str], message: str) -> None:
    """A wrong option ends in one sentence, not in a traceback."""
    command = [sys.executable, "-m", "demo", *options]
    ended = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


async def test_https(process: DemoProcess) -> None:
    """It makes its certificates, is open at this machine's name, and binds who signs in to a device."""
    process.start("--https")
    assert f"https://localhost:{process.port}/" in process.announcement
    authority = process.folder / "demo-certificates" / "authority.pem"
    context = ssl.create_default_context(cafile=authority)
    url = f"https://localhost:{process.port}/sign-in"
    async with (
        aiohttp.ClientSession() as client,
        client.post(url, json=CREDENTIALS, headers={"Accept": "application/json"}, ssl=context) as response,
    ):
        assert response.status == 200
        assert response.headers["Secure-Session-Registration"].startswith("(ES256 RS256);")
        assert response.headers["Set-Cookie"].startswith("__Host-session=")
