"""The index of owners: it never lacks a live session, and loses the others by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session import AdapterError, SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate

from .steps import Steps

MakeRecord = Callable[..., SessionRecord]


async def entries(client: Redis, prefix: str, owner: str = "ada") -> list[str]:
    """What an index holds, sessions or not."""
    return sorted(handle.decode() for handle in await client.zrange(f"{prefix}o:{owner}", 0, -1))


async def age(client: Redis, prefix: str, handle: str, seconds: int = 3600) -> None:
    """Make an entry so much older."""
    await client.zincrby(f"{prefix}o:ada", -seconds, handle)


async def test_an_entry_without_a_session_disappears_once_it_is_old(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """A young one may be that of a session about to be written, so it is passed over, and stays."""
    for handle in ("gone", "young", "live"):
        await adapter.create(handle, record(owner="ada"))
    await age(client, prefix, "gone")
    await age(client, prefix, "live")
    await adapter.destroy("gone")
    await adapter.destroy("young")
    assert list(await adapter.find("ada")) == ["live"]
    assert await entries(client, prefix) == ["live", "young"]


@pytest.mark.parametrize("change", ["rotated", "retired", "another owner", "no owner", "expired"])
async def test_an_entry_whose_session_is_not_the_owners_any_more_disappears(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord, change: str
) -> None:
    """Whatever became of the session, the entry goes."""
    await adapter.create("h", record(owner="ada", expires_at=clock.now + 10))
    match change:
        case "rotated":
            assert await rotate(adapter, "h", "h'", record(2, owner="bob"))
        case "retired":
            assert await adapter.update("h", record(2, retired=True))
        case "another owner":
            assert await adapter.update("h", record(2, owner="bob"))
        case "no owner":
            assert await adapter.update("h", record(2))
        case "expired":
            await client.pexpire(f"{prefix}s:h", 1)
            while await client.exists(f"{prefix}s:h"):
                pass
    await age(client, prefix, "h")
    assert await adapter.find("ada") == {}
    assert await entries(client, prefix) == []


async def test_an_index_does_not_outgrow_its_sessions(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """Each new session clears away some of what is gone, also behind others that are live; nobody has to ask."""
    for number in range(10):
        await adapter.create(f"live{number}", record(owner="ada", expires_at=None))
        await age(client, prefix, f"live{number}", 7200)
    for number in range(60):
        await adapter.create(f"gone{number}", record(owner="ada", expires_at=None))
        await adapter.destroy(f"gone{number}")
        await age(client, prefix, f"gone{number}")
    assert len(await entries(client, prefix)) < 20
    assert len(await adapter.find("ada")) == 10


async def test_the_entry_comes_before_the_session(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """A process that dies between the two leaves an entry too many, never one too few."""
    steps = Steps(adapter)
    steps.cut(scripts.CREATE)
    with pytest.raises(LostConnectionError):
        await adapter.create("h", record(owner="ada"))
    assert await entries(client, prefix) == ["h"]
    assert await adapter.find("ada") == {}
    steps.mend()
    steps.lose(scripts.CREATE)
    with pytest.raises(LostConnectionError):
        await adapter.create("h2", record(owner="ada"))
    assert list(await adapter.find("ada")) == ["h2"]
    steps.mend()
    await adapter.create("h3", record())
    steps.lose(scripts.UPDATE)
    with pytest.raises(LostConnectionError):
        await adapter.update("h3", record(2, owner="ada"))
    assert sorted(await adapter.find("ada")) == ["h2"], "the first try said only that the index comes first"


async def test_healing_between_entry_and_session_loses_nothing(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """Somebody looks for the owner's sessions just before one is written: its entry stays."""
    steps = Steps(adapter)

    async def look() -> None:
        assert await adapter.find("ada") == {}

    steps.before(scripts.CREATE, look)
    assert await adapter.create("h", record(owner="ada"))
    assert list(await adapter.find("ada")) == ["h"]


@pytest.mark.parametrize("operation", ["create", "update", "renew"])
async def test_a_writer_that_slept_enters_the_session_again(
    adapter: RedisSessionAdapter,
    client: Redis,
    prefix: str,
    clock: FakeClock,
    record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
) -> None:
    """A pause between entry and session, long enough for the entry to be healed away, is noticed in the server."""
    if operation != "create":
        await adapter.create("h", record(owner="ada" if operation == "renew" else None))
    original = adapter._owners.add
    slept: list[bytes] = []

    async def add(owner: str, handle: str, ttl: bytes) -> bytes:
        lease = await original(owner, handle, ttl)
        if not slept:
            # As if it had slept for an hour now: the entry is gone, the lease is old.
            await client.zrem(f"{prefix}o:{owner}", handle)
            lease = b"%d" % (int(lease) - 3600)
        slept.append(lease)
        return lease

    monkeypatch.setattr(adapter._owners, "add", add)
    if operation == "create":
        assert await adapter.create("h", record(owner="ada"))
    elif operation == "update":
        assert await adapter.update("h", record(2, owner="ada"))
    else:
        assert await adapter.renew("h", clock.now + 1000)
    assert len(slept) == 2
    assert list(await adapter.find("ada")) == ["h"]


async def test_a_writer_that_always_sleeps_fails(
    adapter: RedisSessionAdapter, clock: FakeClock, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not try for ever, and nothing is changed."""
    await adapter.create("old", record(owner="ada"))
    before = await adapter.load("old")

    async def add(owner: str, handle: str, ttl: bytes) -> bytes:
        return b"1"

    monkeypatch.setattr(adapter._owners, "add", add)
    for name, operation in (
        ("create", adapter.create("h", record(owner="ada"))),
        ("update", adapter.update("old", record(2, owner="bob"))),
        ("renew", adapter.renew("old", clock.now + 1000)),
    ):
        with pytest.raises(AdapterError, match=rf"^session store: {name}: .* apart on the server's clock"):
            await operation
    assert await adapter.load("h") is None
    assert await adapter.load("old") == before


async def test_the_index_lives_as_long_as_its_longest_session(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """Each write that moves a session's end moves the index's, which is never shortened."""
    key = f"{prefix}o:ada"
    await adapter.create("h", record(owner="ada"))
    assert 756_000 < await client.pttl(key) <= 761_000, "eleven minutes longer: entries are prepared, and clocks differ"
    assert await adapter.update("h", record(2, owner="ada", expires_at=clock.now + 500))
    assert 1_155_000 < await client.pttl(key) <= 1_161_000
    assert await adapter.renew("h", clock.now + 1000)
    assert 1_655_000 < await client.pttl(key) <= 1_661_000
    assert await adapter.create("short", record(owner="ada", expires_at=clock.now + 1))
    assert await client.pttl(key) > 1_650_000
    assert await adapter.renew("short", None)
    assert await client.pttl(key) == -1
    assert await adapter.create("third", record(owner="ada"))
    assert await client.pttl(key) == -1


async def test_a_plain_write_leaves_the_index_alone(
    adapter: RedisSessionAdapter, clock: FakeClock, record: MakeRecord
) -> None:
    """Only what moves a session's end, or changes its owner, costs more than one call."""
    await adapter.create("h", record(owner="ada"))
    steps = Steps(adapter)
    for version in (2, 3, 4):
        assert await adapter.update("h", record(version, owner="ada"))
    assert await adapter.renew("h", clock.now + 50)
    assert await adapter.update("h", record(6, owner="ada", expires_at=clock.now + 60))
    assert set(steps.scripts) == {scripts.UPDATE, scripts.RENEW}
    assert len(steps.scripts) == 5
    assert await adapter.update("h", record(7, owner="bob"))
    assert steps.scripts[5:] == [scripts.UPDATE, scripts.INDEX, scripts.UPDATE]
    assert list(await adapter.find("bob")) == ["h"]


async def test_a_renewal_within_what_the_index_knows_is_one_call(
    adapter: RedisSessionAdapter, clock: FakeClock, record: MakeRecord
) -> None:
    """The session was to live longer before: the index need not be told."""
    await adapter.create("h", record(owner="ada", expires_at=clock.now + 1000))
    assert await adapter.update("h", record(2, owner="ada", expires_at=clock.now + 100))
    steps = Steps(adapter)
    assert await adapter.renew("h", clock.now + 500)
    assert steps.scripts == [scripts.RENEW]


async def test_find_follows_a_rotation_that_it_meets(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """The session rotates after the index was read and before the session is: it is found under its new handle."""
    await adapter.create("h", record(owner="ada"))
    steps = Steps(adapter)

    async def go_on() -> None:
        assert await rotate(adapter, "h", "h'", record(2, owner="ada"))
        assert await rotate(adapter, "h'", "h''", record(3, owner="ada"))

    steps.before(None, go_on)
    assert list(await adapter.find("ada")) == ["h''"]
    assert list(await adapter.find("ada")) == ["h''"]


async def test_find_reads_each_session_once_and_writes_nothing(
    adapter: RedisSessionAdapter, record: MakeRecord
) -> None:
    """Where every entry leads to a session, and a rotation's two handles are both there, one read each will do."""
    await adapter.create("h", record(owner="ada"))
    await adapter.create("other", record(owner="ada"))
    assert await rotate(adapter, "h", "h'", record(2, owner="ada"))
    assert await adapter.update("h'", record(3, owner="ada"))
    await adapter.find("ada")
    steps = Steps(adapter)
    assert sorted(await adapter.find("ada")) == ["h'", "other"]
    assert [script for script in steps.scripts if script is not None] == [scripts.INDEX_LIST, scripts.INDEX_HEAL]
    assert steps.scripts.count(None) == 3
    await adapter.create("alone", record(owner="bob"))
    steps.scripts.clear()
    assert list(await adapter.find("bob")) == ["alone"]
    assert steps.scripts == [scripts.INDEX_LIST, None]


async def test_a_handle_that_is_used_again_after_a_rotation_is_found(
    adapter: RedisSessionAdapter, record: MakeRecord
) -> None:
    """The session that was rotated from it does not hide it."""
    await adapter.create("h", record(owner="ada"))
    await rotate(adapter, "h", "h'", record(2, owner="ada"))
    await adapter.destroy("h")
    await adapter.create("h", record(owner="ada"))
    assert sorted(await adapter.find("ada")) == ["h", "h'"]


async def test_an_entry_that_was_written_again_is_not_healed_away(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """Whoever looks for sessions sleeps between the look and the healing, and the session is written meanwhile."""
    await adapter.create("h", record(owner="ada"))
    await adapter.destroy("h")
    await age(client, prefix, "h", 7200)
    steps = Steps(adapter)

    async def write() -> None:
        assert await adapter.create("h", record(owner="ada"))
        await age(client, prefix, "h")

    steps.before(scripts.INDEX_HEAL, write)
    assert await adapter.find("ada") == {}
    assert list(await adapter.find("ada")) == ["h"]
