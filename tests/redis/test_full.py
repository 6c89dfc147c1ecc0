"""A server that is full and takes no more (``noeviction``): what is there can be ended, and stays otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from aiohttp_spry_session import SessionManager, SessionRecord, get_session, setup
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import a_retired_record, rotate
from tests.servers.redis import RedisServer

from .steps import Steps
from .visits import get, increment, login, read

MakeRecord = Callable[..., SessionRecord]


@pytest.fixture(scope="module")
def server(_guardian: None) -> Iterator[RedisServer]:
    """A server of its own, which tests fill up."""
    server = RedisServer("--maxmemory-policy", "noeviction")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        yield client
        await client.config_set("maxmemory", 0)


@pytest.fixture
async def adapter(server: RedisServer, prefix: str, clock: FakeClock) -> AsyncIterator[RedisSessionAdapter]:
    adapter = RedisSessionAdapter(server.url, prefix=prefix)
    adapter.clock = clock
    await adapter.open()
    yield adapter
    await adapter.close()


async def fill(client: Redis) -> None:
    """Let there be no room, and make sure of it."""
    await client.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        await client.set("x", "y")


@pytest.mark.parametrize("forgotten", [False, True])
async def test_sessions_end(
    adapter: RedisSessionAdapter, client: Redis, clock: FakeClock, record: MakeRecord, *, forgotten: bool
) -> None:
    """By handle and by owner, also where the server does not know the scripts; an index loses what is gone."""
    manager = SessionManager(adapter, clock=clock)
    for handle in ("a" * 43, "b" * 43, "c" * 43):
        await adapter.create(handle, record(owner="ada"))
    await adapter.create("nobodys", record())
    await adapter.create("gone", record(owner="ada"))
    await adapter.destroy("gone")
    await client.zincrby(f"{adapter.prefix}o:ada", -3600, "gone")
    await fill(client)
    if forgotten:
        await client.script_flush()
    assert await manager.revoke("a" * 43)
    assert await adapter.load("a" * 43) is None
    assert await manager.revoke_owner("ada") == 2
    assert await adapter.find("ada") == {}
    assert await client.zscore(f"{adapter.prefix}o:ada", "gone") is None
    assert await adapter.update("nobodys", a_retired_record(clock))
    assert await adapter.destroy("nobodys")


async def test_what_needs_room_is_refused(adapter: RedisSessionAdapter, client: Redis, record: MakeRecord) -> None:
    """And changes nothing: a write that would be half done is not begun."""
    await adapter.create("h", record(owner="ada"))
    await adapter.create("free", record())
    await fill(client)
    for operation in (
        adapter.create("new", record()),
        adapter.create("new", record(owner="ada")),
        adapter.update("free", record(2)),
        adapter.renew("free", None),
        rotate(adapter, "free", "new", record(2)),
    ):
        with pytest.raises(ResponseError, match="command not allowed"):
            await operation
    assert await adapter.load("free") == record()
    assert await adapter.load("new") is None
    assert list(await adapter.find("ada")) == ["h"]


async def test_a_rotation_under_way_is_finished_and_ended(
    adapter: RedisSessionAdapter, client: Redis, clock: FakeClock, record: MakeRecord
) -> None:
    """The server is full once the new handle is reserved: the rest of it needs no room, and neither does its end."""
    manager = SessionManager(adapter, clock=clock)
    steps = Steps(adapter)
    for old, new, lost in (("1", "a" * 43, None), ("2", "b" * 43, scripts.ACTIVATE)):
        await adapter.create(old, record(owner="ada"))
        steps.before(scripts.UPDATE, lambda: fill(client))
        if lost is not None:
            steps.cut(lost)
        assert await rotate(adapter, old, new, record(2, owner="ada"))
        steps.mend()
        assert await manager.revoke(new)
        assert await adapter.load(new) is None
        await client.config_set("maxmemory", 0)


async def logout(request: web.Request) -> web.Response:
    await get_session(request).destroy(regenerate=False)
    return web.Response()


@pytest.fixture
async def browser(aiohttp_client: Callable[..., object], server: RedisServer, prefix: str) -> TestClient:
    app = web.Application()
    for path, handler in (("/increment", increment), ("/login", login), ("/read", read), ("/logout", logout)):
        app.router.add_get(path, handler)
    setup(app, SessionManager(RedisSessionAdapter(server.url, prefix=prefix)))
    return await aiohttp_client(app)  # type: ignore[misc]


async def test_a_logout(browser: TestClient, client: Redis, prefix: str) -> None:
    """It is answered 200 and nothing is left; whoever does not leave stays signed in."""
    assert await get(browser, "/increment") == (200, "1")
    assert (await get(browser, "/login"))[0] == 200
    await fill(client)
    assert (await get(browser, "/increment"))[0] == 503
    assert await get(browser, "/read") == (200, '{"new": false, "n": 1}')
    assert (await get(browser, "/logout"))[0] == 200
    assert await get(browser, "/read") == (200, '{"new": true}')
    kept = [key async for key in client.scan_iter(f"{prefix}s:*")]
    assert len(kept) == 1, "but for what remembers the identifier before the login"
