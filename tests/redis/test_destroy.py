"""What ``destroy`` answers: whether a live or retired record was there, told to one of all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate

from .steps import Steps

MakeRecord = Callable[..., SessionRecord]


async def test_a_record_that_was_there(adapter: RedisSessionAdapter, record: MakeRecord) -> None:
    """Live or retired: ``True``, and a second time there is nothing."""
    assert await adapter.create("live", record())
    assert await adapter.create("endless", record(expires_at=None))
    assert await adapter.create("retired", record(retired=True))
    for handle in ("live", "endless", "retired"):
        assert await adapter.destroy(handle) is True
        assert await adapter.destroy(handle) is False
    assert await adapter.destroy("missing") is False


async def test_an_expired_record_is_none(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """It is removed all the same, where its key is there."""
    assert await adapter.create("h", record())
    clock.advance(100)
    assert await client.exists(f"{prefix}s:h")
    assert await adapter.destroy("h") is False
    assert not await client.exists(f"{prefix}s:h")


async def test_one_of_many_is_told(adapter: RedisSessionAdapter, record: MakeRecord) -> None:
    """Of all who remove one record."""
    assert await adapter.create("h", record())
    answers = await asyncio.gather(*(adapter.destroy("h") for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]


async def test_a_reservation_is_no_record(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """The rotation has not happened: what was reserved is removed, and was never a session."""
    assert await adapter.create("old", record())
    steps = Steps(adapter)
    for end in (100, -1):
        steps.cut(scripts.UPDATE)
        with pytest.raises(LostConnectionError):
            await rotate(adapter, "old", "new", record(2, expires_at=clock.now + end))
        steps.mend()
        assert await client.exists(f"{prefix}s:new")
        assert await adapter.destroy("new") is False
        assert not await client.exists(f"{prefix}s:new")
    assert await adapter.load("old") == record()


async def test_a_rotation_that_was_not_confirmed_is_a_record(adapter: RedisSessionAdapter, record: MakeRecord) -> None:
    """It has happened, so what is removed is a session, and one of all is told."""
    steps = Steps(adapter)
    assert await adapter.create("old", record())
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2))
    steps.mend()
    answers = await asyncio.gather(*(adapter.destroy("new") for _ in range(5)))
    assert sorted(answers) == [False] * 4 + [True]
    assert await adapter.load("new") is None
    assert await adapter.destroy("old") is True


async def test_a_lost_race_leaves_no_reservation(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """It takes one step to remove it: the origin is known not to lead there."""
    assert await adapter.create("old", record())
    steps = Steps(adapter)
    assert not await rotate(adapter, "old", "new", record(7))
    assert steps.scripts == [scripts.CREATE, scripts.UPDATE, scripts.DESTROY]
    assert not await client.exists(f"{prefix}s:new")
