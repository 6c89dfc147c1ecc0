"""What stands in Redis, and what the adapter makes of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis.records import decode, decode_plain, encode, time_to_live
from aiohttp_spry_session.record import RETIRED_SECONDS
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.servers.redis import RedisServer

MakeRecord = Callable[..., SessionRecord]


async def ttl(client: Redis, key: str) -> float:
    """Seconds until Redis forgets a key; -1 for never."""
    left = await client.pttl(key)
    return left / 1000 if left > 0 else left


def follows(left: float, seconds: float) -> bool:
    """Whether a key lives as long as its record, and hardly longer."""
    return seconds <= left <= seconds + 1


async def test_the_time_to_live_follows_the_end(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """Creating, updating, renewing and rotating set it, to a time and to never."""
    key = f"{prefix}s:h"
    await adapter.create("h", record())
    assert follows(await ttl(client, key), 100)
    clock.advance(50)
    await adapter.update("h", record(2, expires_at=clock.now + 10))
    assert follows(await ttl(client, key), 10)
    assert await adapter.renew("h", clock.now + 5)
    assert follows(await ttl(client, key), 10)
    assert await adapter.renew("h", clock.now + 20)
    assert follows(await ttl(client, key), 20)
    assert await adapter.renew("h", None)
    assert await ttl(client, key) == -1
    assert await rotate(adapter, "h", "h2", record(6, expires_at=clock.now + 30))
    assert follows(await ttl(client, key), RETIRED_SECONDS)
    assert follows(await ttl(client, f"{prefix}s:h2"), 30)
    assert await rotate(adapter, "h2", "h3", record(7, expires_at=None), grace=120)
    assert follows(await ttl(client, f"{prefix}s:h2"), 120)
    assert await ttl(client, f"{prefix}s:h3") == -1


async def test_a_session_without_an_end_is_kept(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """``expires_at=None`` is a key without a time to live, and one may be given later."""
    assert await adapter.create("h", record(expires_at=None, owner="ada"))
    assert await ttl(client, f"{prefix}s:h") == -1
    assert await ttl(client, f"{prefix}o:ada") == -1
    assert await adapter.update("h", record(2))
    assert follows(await ttl(client, f"{prefix}s:h"), 100)


async def test_an_expired_record_is_not_served_while_its_key_is_there(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """The record's own end decides, for every operation; then the handle is free."""
    await adapter.create("h", record(owner="ada"))
    clock.advance(100)
    assert await client.exists(f"{prefix}s:h")
    assert await adapter.load("h") is None
    assert not await adapter.update("h", record(2))
    assert not await adapter.renew("h", clock.now + 10)
    assert not await rotate(adapter, "h", "h2", record(2))
    assert await adapter.find("ada") == {}
    assert await adapter.create("h", record(payload=b"new"))


async def test_prefixes_keep_applications_apart(
    adapter: RedisSessionAdapter, redis_server: RedisServer, prefix: str, clock: FakeClock, record: MakeRecord
) -> None:
    """The same handle and the same owner under another prefix are others."""
    other = RedisSessionAdapter(redis_server.url, prefix=f"{prefix}other:")
    other.clock = clock
    await other.open()
    assert await adapter.create("h", record(owner="ada"))
    assert await other.load("h") is None
    assert await other.find("ada") == {}
    assert await other.create("h", record(owner="ada", payload=b"other"))
    await other.destroy("h")
    await other.close()
    assert list(await adapter.find("ada")) == ["h"]


async def test_another_type_at_the_key_fails_its_operation_alone(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """A key that somebody else took is an error, never a missing session; operations in the same batch go on."""
    await client.rpush(f"{prefix}s:list", "x")
    await adapter.create("h", record())
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await adapter.load("list")
    loads = await asyncio.gather(*map(adapter.load, ["h", "list", "missing", "h"]), return_exceptions=True)
    assert isinstance(loads[1], ResponseError)
    assert [loads[0], loads[2], loads[3]] == [record(), None, record()]
    writes = await asyncio.gather(
        adapter.create("h2", record()),
        adapter.create("list", record()),
        adapter.update("list", record(2)),
        adapter.renew("list", None),
        adapter.update("h", record(2)),
        return_exceptions=True,
    )
    assert [writes[0], writes[4]] == [True, True]
    assert all(isinstance(write, ResponseError) for write in writes[1:4])


def test_records_survive_their_bytes(record: MakeRecord) -> None:
    """Every field comes back, an owner that is empty or no proper text too."""
    for owner in (None, "", "ada", "\ud800", "\x00ü"):
        for end in (None, 1e300, 0.1):
            for payload in (b"", b"data"):
                original = record(owner=owner, expires_at=end, version=2**53, payload=payload)
                stored = decode(encode(original))
                assert stored is not None
                assert (stored.record, stored.origin, stored.pending) == (original, None, False)
                assert decode_plain(encode(original)) == (original if owner is None else None)


async def test_any_text_is_a_handle(adapter: RedisSessionAdapter, record: MakeRecord) -> None:
    """What has no proper encoding too."""
    assert await adapter.create("\ud800", record(owner="\ud800"))
    assert await adapter.find("\ud800") == {"\ud800": record(owner="\ud800")}


def test_a_record_takes_no_more_than_it_has(record: MakeRecord) -> None:
    """A header of 43 bytes, then the owner, the origin and the payload."""
    assert len(encode(record(payload=b"x" * 10))) == 43 + 10
    assert len(encode(record(payload=b"x" * 10, owner="ada"))) == 43 + 3 + 10
    assert len(encode(record(payload=b"x" * 10, owner="ada"), origin="old")) == 43 + 3 + 3 + 10


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (math.inf, b""),
        (1.0001, b"2001"),
        (0.0, b"1000"),
        (-5.0, b"1000"),
        (1e12, b"1000000000001000"),
        (1e13, b"1000000000001000"),
    ],
)
def test_what_redis_is_told_to_keep(seconds: float, expected: bytes) -> None:
    """Milliseconds, rounded up and a second longer, which Redis can take in any case; nothing for ever."""
    assert time_to_live(seconds) == expected


def test_a_plain_record_is_live_and_has_no_origin(record: MakeRecord) -> None:
    """Whatever else there is to find out is not read the short way."""
    assert decode_plain(encode(record(), origin="old")) is None
    assert decode_plain(encode(record(retired=True))) is None
    assert decode_plain(b"\x02" + encode(record())[1:]) is None
    assert decode_plain(encode(record())[:42]) is None


async def test_loads_that_come_together_are_one_command(
    adapter: RedisSessionAdapter, client: Redis, record: MakeRecord
) -> None:
    """One ``MGET`` for all that are there, and a plain ``GET`` for one alone."""
    await asyncio.gather(*(adapter.create(f"h{number}", record()) for number in range(9)))

    async def counted() -> tuple[int, int]:
        calls = await client.info("commandstats")
        return tuple(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("mget", "get"))

    mget, get = await counted()
    assert await asyncio.gather(*(adapter.load(f"h{number}") for number in range(9))) == [record()] * 9
    assert await counted() == (mget + 1, get)
    assert await adapter.load("h1") == record()
    assert await counted() == (mget + 1, get + 1)


async def test_forgotten_scripts_are_sent_again(
    adapter: RedisSessionAdapter, client: Redis, record: MakeRecord
) -> None:
    """``SCRIPT FLUSH`` costs nothing but a trip, for one operation and for many."""
    await client.script_flush()
    assert await adapter.create("h", record(owner="ada"))
    await client.script_flush()
    created = await asyncio.gather(*(adapter.create(f"h{number}", record()) for number in range(20)))
    assert created == [True] * 20
    await client.script_flush()
    assert await rotate(adapter, "h", "h'", record(2, owner="ada"))
    assert list(await adapter.find("ada")) == ["h'"]
