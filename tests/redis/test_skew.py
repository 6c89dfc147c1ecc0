"""Machines whose clocks differ, on one server: what heals an index goes by the server's time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import SessionManager, SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.servers.redis import RedisServer

from .steps import Steps

MakeRecord = Callable[..., SessionRecord]


@pytest.fixture(params=[120, -120, 300, -300])
async def other(
    request: pytest.FixtureRequest, redis_server: RedisServer, prefix: str, clock: FakeClock
) -> AsyncIterator[RedisSessionAdapter]:
    """The adapter of a machine whose clock is wrong by so many seconds."""
    adapter = RedisSessionAdapter(redis_server.url, prefix=prefix)
    adapter.clock = FakeClock(clock.now + request.param)
    await adapter.open()
    yield adapter
    await adapter.close()


async def age(client: Redis, prefix: str, *handles: str) -> None:
    """Make entries an hour older."""
    for handle in handles:
        await client.zincrby(f"{prefix}o:ada", -3600, handle)


@pytest.mark.parametrize("look", ["find", "sign in"])
async def test_a_look_by_another_clock_takes_nothing_from_an_index(
    adapter: RedisSessionAdapter,
    other: RedisSessionAdapter,
    client: Redis,
    prefix: str,
    clock: FakeClock,
    record: MakeRecord,
    look: str,
) -> None:
    """A session that is over for a machine that is ahead stays in its owner's index, and ends where it is revoked."""
    manager = SessionManager(adapter, clock=clock)
    assert await adapter.create("h", record(owner="ada"))
    await age(client, prefix, "h")
    if look == "find":
        await other.find("ada")
    else:
        assert await other.create("other", record(owner="ada", expires_at=clock.now + 1000))
        await age(client, prefix, "other")
        assert await other.destroy("other")
    await age(client, prefix, "h")
    assert list(await adapter.find("ada")) == ["h"]
    assert await manager.revoke_owner("ada") == 1
    assert await adapter.load("h") is None


async def test_an_index_outlives_its_sessions_whoever_writes_them(
    adapter: RedisSessionAdapter, other: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """A clock that is behind gives a session's key more time than the clock that gave the index its own."""
    assert await adapter.create("h", record(owner="ada", expires_at=adapter.clock() + 600))
    assert await other.update("h", record(2, owner="ada", expires_at=adapter.clock() + 600))
    assert await client.pttl(f"{prefix}s:h") < await client.pttl(f"{prefix}o:ada")
    assert await other.renew("h", adapter.clock() + 600)
    assert await client.pttl(f"{prefix}s:h") < await client.pttl(f"{prefix}o:ada")


async def test_a_rotation_is_confirmed_by_any_clock(
    adapter: RedisSessionAdapter, other: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """The old identifier is remembered for its minute all the same."""
    end = adapter.clock() + 1000
    assert await adapter.create("old", record(owner="ada", expires_at=end))
    steps = Steps(adapter)
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada", expires_at=end))
    steps.mend()
    assert list(await other.find("ada")) == ["new"]
    assert await other.load("new") == record(2, owner="ada", expires_at=end)
    assert await client.pttl(f"{prefix}s:old") > 55_000
    old = await adapter.load("old")
    assert old is not None
    assert old.retired
