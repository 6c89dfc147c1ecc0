"""A server that asks for TLS, a user and a password, and lets the user do only what the adapter needs."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session import AdapterError, SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.servers.process import absent, free_port
from tests.servers.redis import RedisServer

MakeRecord = Callable[..., SessionRecord]

COMMANDS = (
    "get mget set getrange setrange del pttl pexpire persist time "
    "zadd zrem zscore zrange zrangebyscore eval evalsha exists scan"
)
"""What the adapter needs to be allowed, on the keys of its prefix."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for the loopback, and its key."""
    if shutil.which("openssl") is None:
        absent("openssl", "openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def secured(certificate: Path, _guardian: None) -> Iterator[str]:
    """The URL of a server with TLS and a user who may hardly do anything."""
    port = free_port()
    options = {
        "--tls-port": [str(port)],
        "--tls-cert-file": [str(certificate / "crt")],
        "--tls-key-file": [str(certificate / "key")],
        "--tls-ca-cert-file": [str(certificate / "crt")],
        "--tls-auth-clients": ["no"],
        "--user": ["sessions", "on", ">s3cret", "~mine:*", "-@all", *(f"+{command}" for command in COMMANDS.split())],
    }
    server = RedisServer(*(part for name, values in options.items() for part in (name, *values)))
    try:
        server.start()
        yield f"rediss://sessions:s3cret@127.0.0.1:{port}/0?ssl_ca_certs={certificate / 'crt'}"
    finally:
        server.close()


async def test_tls_with_the_rights_that_are_needed(secured: str, clock: FakeClock, record: MakeRecord) -> None:
    """Every operation works through the URL, with no right beyond the documented ones."""
    adapter = RedisSessionAdapter(secured, prefix="mine:")
    adapter.clock = clock
    adapter._owners.min_age = -1
    await adapter.open()
    assert await adapter.create("h", record(owner="ada"))
    assert await adapter.create("gone", record(owner="ada"))
    await adapter.destroy("gone")
    assert await adapter.update("h", record(2, owner="ada", expires_at=clock.now + 200))
    assert await adapter.renew("h", None)
    assert await rotate(adapter, "h", "h'", record(4, owner="ada", expires_at=None))
    assert list(await adapter.find("ada")) == ["h'"]
    assert len(await asyncio.gather(*(adapter.load(f"{number}") for number in range(5)))) == 5
    await adapter.close()


async def test_other_keys_are_out_of_reach(secured: str) -> None:
    """A prefix that the user has no right to fails the start."""
    with pytest.raises(AdapterError, match="refuses the adapter"):
        await RedisSessionAdapter(secured, prefix="theirs:").open()


async def test_a_certificate_that_nobody_vouches_for_is_refused(secured: str) -> None:
    """Without the certificate's authority there is no connection, and no session."""
    async with Redis.from_url(secured.partition("?")[0]) as client:
        adapter = RedisSessionAdapter(client, prefix="mine:")
        await adapter.open()
        with pytest.raises((LostConnectionError, TimeoutError)):
            await adapter.load("h")
        await adapter.close()
