"""A rotation whose last steps were lost: it has happened, and nothing that it needs goes before it is confirmed."""

from __future__ import annotations

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


@pytest.fixture
async def steps(adapter: RedisSessionAdapter, record: MakeRecord) -> Steps:
    """The steps on a store that holds ``old``, which is ada's."""
    await adapter.create("old", record(owner="ada"))
    return Steps(adapter)


@pytest.mark.parametrize(("end", "grace"), [(10, 0.0), (1000, 300.0), (1000, 0.0), (None, 0.0)])
async def test_what_a_rotation_needs_is_there_until_it_is_confirmed(
    adapter: RedisSessionAdapter,
    steps: Steps,
    clock: FakeClock,
    record: MakeRecord,
    client: Redis,
    prefix: str,
    end: float | None,
    grace: float,
) -> None:
    """Both keys have the session's whole life; once it is confirmed, the old one is remembered as long as it has to."""
    new, old = f"{prefix}s:new", f"{prefix}s:old"
    expires_at = None if end is None else clock.now + end
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, expires_at=expires_at), grace=grace)
    for key, seconds in ((new, end), (old, end and max(end, 60))):
        left = await client.pttl(key)
        assert left == -1 if seconds is None else seconds * 1000 - 5_000 < left <= seconds * 1000 + 1_000
    steps.mend()
    assert await adapter.load("new") == record(2, expires_at=expires_at)
    left = await client.pttl(old)
    assert max(grace, 60) * 1000 - 5_000 < left <= max(grace, 60) * 1000 + 1_000
    left = await client.pttl(new)
    assert left == -1 if end is None else end * 1000 - 5_000 < left <= end * 1000 + 1_000


@pytest.mark.parametrize("lost", [scripts.ACTIVATE, scripts.RELEASE], ids=["confirmation", "release"])
@pytest.mark.parametrize("after", ["cut", "lose"])
async def test_a_lost_last_step_loses_no_session(
    adapter: RedisSessionAdapter, steps: Steps, clock: FakeClock, record: MakeRecord, lost: scripts.Script, after: str
) -> None:
    """The rotation has happened, and is there to be found for as long as the session lives, also after the minute."""
    getattr(steps, after)(lost)
    assert await rotate(adapter, "old", "new", record(2, owner="ada", expires_at=clock.now + 1000))
    steps.mend()
    clock.advance(999)
    assert await adapter.load("old") is None
    assert list(await adapter.find("ada")) == ["new"]
    assert await adapter.load("new") == record(2, owner="ada", created_at=clock.now - 999, expires_at=clock.now + 1)
    clock.advance(1)
    assert await adapter.load("new") is None


async def test_only_the_record_that_was_kept_for_it_is_released(
    adapter: RedisSessionAdapter, steps: Steps, clock: FakeClock, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """A handle that is used again, or leads elsewhere, stays as it is; a record without an end stays for ever."""
    retired = record(2, retired=True, expires_at=clock.now + 60)

    async def left_after_release(of: str) -> float:
        await adapter._kept.confirm("old", retired, of, record())
        return await client.pttl(f"{prefix}s:old") / 1000

    assert await left_after_release("new") > 90, "it is live"
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    assert await left_after_release("other") > 90
    retired = record(2, retired=True, expires_at=None)
    assert await left_after_release("new") > 90
    retired = record(2, retired=True, expires_at=clock.now - 500)
    assert 55 < await left_after_release("new") <= 61, "by a clock that is ahead it would be gone at once"
    retired = record(2, retired=True, expires_at=clock.now + 500)
    assert await left_after_release("new") <= 61, "never longer"


async def test_an_old_reservation_goes_with_the_next_sign_in(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """One that was made in vain is removed once its rotation cannot happen any more; one that was not is confirmed."""
    steps.cut(scripts.UPDATE)
    with pytest.raises(LostConnectionError):
        await rotate(adapter, "old", "vain", record(2, owner="ada", expires_at=None))
    steps.mend()
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    await adapter.create("young", record(owner="ada"))
    assert await client.exists(f"{prefix}s:vain")
    for handle in ("old", "vain", "new"):
        await client.zincrby(f"{prefix}o:ada", -61, handle)
    await adapter.create("next", record(owner="ada"))
    assert not await client.exists(f"{prefix}s:vain")
    assert sorted(await client.zrange(f"{prefix}o:ada", 0, -1)) == [b"new", b"next", b"young"]
    await client.delete(f"{prefix}s:old")
    assert sorted(await adapter.find("ada")) == ["new", "next", "young"]
