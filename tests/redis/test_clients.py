"""What the adapter can be given: URLs, and clients of every kind."""

from __future__ import annotations

import asyncio
import logging
import secrets
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis
from redis.asyncio import Redis, RedisCluster, Sentinel

from aiohttp_spry_session import AdapterError, SessionRecord, adapter_from_url
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import connections as redis_connections
from aiohttp_spry_session.adapters.redis.scripts import Script
from aiohttp_spry_session.testing import FakeClock
from tests.servers.redis import RedisCluster as ClusterServers
from tests.servers.redis import RedisSentinel, RedisServer

MakeRecord = Callable[..., SessionRecord]


async def round_trip(adapter: RedisSessionAdapter, clock: FakeClock, record: SessionRecord) -> None:
    """Use an adapter for everything once."""
    adapter.clock = clock
    await adapter.open()
    try:
        assert await adapter.create("h", record)
        assert await adapter.load("h") == record
        assert list(await adapter.find("ada")) == ["h"]
        assert await adapter.renew("h", record.expires_at)
        await adapter.destroy("h")
        assert await adapter.load("h") is None
        assert await adapter.purge() == 0
    finally:
        await adapter.close()


@pytest.mark.parametrize("form", ["redis://{host}:{port}/0", "redis://{host}:{port}?db=1", "unix://{folder}/socket"])
async def test_urls(form: str, redis_server: RedisServer, prefix: str, clock: FakeClock, record: MakeRecord) -> None:
    """Every form of URL leads to the server."""
    url = form.format(host=redis_server.host, port=redis_server.port, folder=redis_server.folder)
    await round_trip(RedisSessionAdapter(url, prefix=prefix), clock, record(owner="ada"))


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_adapter_from_url(redis_server: RedisServer, clock: FakeClock, scheme: str) -> None:
    """The public function makes this adapter, for Valkey's name too."""
    adapter = adapter_from_url(redis_server.url.replace("redis", scheme), expiration=60)
    assert isinstance(adapter, RedisSessionAdapter)
    await adapter.open()
    assert await adapter.load("missing") is None
    await adapter.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@host",
        "redis://:s3cret@host:port/0",
        "redis://user:s3cret/@host:1/0",
        "redis://:s3cret@host/0?db=zero",
        "redis://:s3cret@host/0?no_such_option=1",
    ],
)
def test_an_unusable_url_is_refused_without_its_password(url: str) -> None:
    """What is refused may hold a password, which is not repeated, in no chained exception either."""
    with pytest.raises(ValueError, match="redis://") as caught:
        RedisSessionAdapter(url)
    assert str(caught.value) == (
        "the URL must be redis://[user:password@]host[:port][/database], rediss://... or "
        "unix://[user:password@]/path[?db=database], with options that redis-py knows"
    )
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("client", [None, 1, redis.Redis()])
def test_anything_else_is_refused(client: object) -> None:
    """A client has to be one of redis-py's asynchronous ones."""
    with pytest.raises(
        ValueError, match=r"^client_or_url must be a redis\.asyncio\.Redis or RedisCluster client, or "
    ) as e:
        RedisSessionAdapter(client)  # type: ignore[arg-type]
    assert str(e.value).endswith(f" a URL, not {type(client).__module__}.{type(client).__qualname__}")


def test_the_prefix_is_a_string() -> None:
    """Bytes would make other keys than they say."""
    with pytest.raises(ValueError, match=r"^prefix must be a str, not bytes$"):
        RedisSessionAdapter("redis://localhost", prefix=b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
async def test_a_given_client_stays_open(
    redis_server: RedisServer, prefix: str, clock: FakeClock, record: MakeRecord, *, protocol: int, decode: bool
) -> None:
    """Its owner goes on using it; payloads are bytes whatever it decodes."""
    async with Redis.from_url(redis_server.url, protocol=protocol, decode_responses=decode) as client:
        adapter = RedisSessionAdapter(client, prefix=prefix)
        await round_trip(adapter, clock, record(owner="ada", payload=b"\xff\x00"))
        assert await client.ping()


async def test_an_adapter_closes_what_it_opened_and_opens_again(
    redis_server: RedisServer, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """No connection is left behind, and a closed adapter can be opened again."""
    adapter = RedisSessionAdapter(redis_server.url + "?client_name=mine", prefix=prefix)
    for _ in range(2):
        await round_trip(adapter, clock, record(owner="ada"))
        async with asyncio.timeout(30):
            while "mine" in {connection["name"] for connection in await client.client_list()}:
                pass


async def test_a_master_that_a_sentinel_names(
    redis_sentinel: RedisSentinel, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """The client of ``master_for`` works."""
    sentinel = Sentinel([(redis_sentinel.host, redis_sentinel.port)])
    master = sentinel.master_for("sessions")
    try:
        await round_trip(RedisSessionAdapter(master, prefix=prefix), clock, record(owner="ada"))
    finally:
        await master.aclose()
        for client in sentinel.sentinels:
            await client.aclose()


@pytest.mark.parametrize("decode", [False, True])
async def test_a_cluster_client(
    redis_cluster: ClusterServers, prefix: str, clock: FakeClock, record: MakeRecord, *, decode: bool
) -> None:
    """A cluster's client works, and stays open."""
    async with RedisCluster.from_url(redis_cluster.url, decode_responses=decode) as client:
        await round_trip(RedisSessionAdapter(client, prefix=prefix), clock, record(owner="ada", payload=b"\xff"))
        assert await client.ping(target_nodes=RedisCluster.ALL_NODES)


async def test_a_cluster_behind_a_client_for_one_server_is_told(redis_cluster: ClusterServers) -> None:
    """The mistake is named when the adapter opens, or at the first key that lives elsewhere."""
    outcomes = []
    for node in redis_cluster.nodes:
        adapter = RedisSessionAdapter(node.url)
        try:
            await adapter.open()
            outcomes += await asyncio.gather(*(adapter.load(f"{n}") for n in range(9)), return_exceptions=True)
            outcomes += await asyncio.gather(*(adapter.destroy(f"{n}") for n in range(9)), return_exceptions=True)
        except AdapterError as error:
            outcomes.append(error)
        await adapter.close()
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert errors
    for error in errors:
        assert isinstance(error, AdapterError)
        assert str(error) == (
            "session store: call: the server is a node of a Redis Cluster: pass a redis.asyncio.RedisCluster client"
        )


async def test_a_refused_user_fails_the_start(redis_server: RedisServer) -> None:
    """A wrong password is told when the application starts, not with its first visitor."""
    adapter = RedisSessionAdapter(f"redis://nobody:s3cret@{redis_server.host}:{redis_server.port}/0")
    with pytest.raises(AdapterError, match=r"^session store: open: the server refuses the adapter \(\w+E") as caught:
        await adapter.open()
    assert "s3cret" not in repr(caught.value)
    with pytest.raises(AdapterError, match="not open"):
        await adapter.load("h")


async def test_a_server_that_is_away_does_not_fail_the_start(
    redis_server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The application starts with a warning, and works as soon as the server does."""
    redis_server.stop()
    adapter = RedisSessionAdapter(redis_server.url, prefix=prefix)
    await adapter.open()
    (entry,) = caplog.records
    assert entry.levelno == logging.WARNING
    assert entry.getMessage().startswith("the session store does not answer yet (ConnectionError): Error ")
    with pytest.raises(redis.exceptions.ConnectionError):
        await adapter.load("h")
    redis_server.start()
    assert await adapter.load("h") is None
    await adapter.close()


async def test_connecting_is_tried_once(caplog: pytest.LogCaptureFixture) -> None:
    """A server that turns away who calls is told of at once, not after redis-py's attempts and their pauses."""
    calls = 0

    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    server = await asyncio.start_server(turn_away, "127.0.0.1", 0)
    adapter = RedisSessionAdapter(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    await adapter.open()
    assert calls == 1
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING]
    await adapter.close()
    server.close()


async def test_the_options_are_kept(redis_server: RedisServer, client: Redis, record: MakeRecord) -> None:
    """The life of a session, the prefix that is given, and the one that is not."""
    adapter = RedisSessionAdapter(redis_server.url, expiration=7)
    assert (adapter.expiration, adapter.prefix) == (7.0, "spry:")
    assert RedisSessionAdapter(redis_server.url, prefix="mine:").prefix == "mine:"
    await adapter.open()
    handle = secrets.token_hex(8)
    await adapter.create(handle, record(expires_at=None))
    assert await client.delete(f"spry:s:{handle}") == 1
    await adapter.close()


async def test_a_script_goes_by_the_name_that_redis_gives_it(client: Redis) -> None:
    """The server knows it by the name that we send."""
    script = Script("return 'text'")
    assert await client.script_load(script.source.decode()) == script.sha.decode()


async def test_a_cancelled_start_leaves_nothing_open(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that is stopped while it starts has nothing to clean up."""
    adapter = RedisSessionAdapter(redis_server.url)

    async def cancelled(handle: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapter._kept, "peek", cancelled)
    with pytest.raises(KeyboardInterrupt):
        await adapter.open()
    assert isinstance(adapter._kept.connections, redis_connections.Closed)


async def test_an_adapter_that_is_not_open_says_so(record: MakeRecord) -> None:
    """Every operation fails before it was opened, and tells what to do."""
    adapter = RedisSessionAdapter("redis://localhost")
    await adapter.close()
    message = "the adapter is not open: use setup(app, manager), or 'async with manager:' in a script"
    operations = {
        "call": (adapter.create("h", record()), adapter.load("h"), adapter.find("ada"), adapter.destroy("h")),
        "purge": (adapter.purge(),),
    }
    for name, called in operations.items():
        for operation in called:
            with pytest.raises(AdapterError) as caught:
                await operation
            assert str(caught.value) == f"session store: {name}: {message}"
            assert caught.value.operation == name


def test_the_core_imports_no_redis() -> None:
    """The driver is imported by its adapter only."""
    script = "import sys, aiohttp_spry_session, aiohttp_spry_session.testing; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
