"""Records that nobody can have written count as absent, are reported, and fail no neighbour."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis.records import decode, decode_plain, encode
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate

MakeRecord = Callable[..., SessionRecord]

VERSION, CREATED, END, INDEXED = 3, 11, 19, 27


def with_number(offset: int, number: float) -> Callable[[bytes], bytes]:
    """Return what puts a number into a record's header."""
    return lambda data: data[:offset] + struct.pack(">d", number) + data[offset + 8 :]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "byte": lambda data: b"\x00",
    "garbage": lambda data: b"garbage",
    "format": lambda data: b"\x02" + data[1:],
    "state": lambda data: data[:1] + b"\x03" + data[2:],
    "header": lambda data: data[:40],
    "owner": lambda data: data[:44],
    "encoding": lambda data: data[:43] + b"\xff\xff\xff" + data[46:],
    "version nan": with_number(VERSION, math.nan),
    "version inf": with_number(VERSION, math.inf),
    "version -inf": with_number(VERSION, -math.inf),
    "version half": with_number(VERSION, 1.5),
    "created nan": with_number(CREATED, math.nan),
    "created inf": with_number(CREATED, math.inf),
    "end nan": with_number(END, math.nan),
    "indexed nan": with_number(INDEXED, math.nan),
}
OF_ANYBODY = [name for name in SPOILT if name not in ("owner", "encoding", "byte", "garbage", "header")]
REPORT = "the stored session h is corrupt and counts as absent"


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_corrupt_record_is_absent_and_reported(
    adapter: RedisSessionAdapter,
    client: Redis,
    prefix: str,
    clock: FakeClock,
    record: MakeRecord,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[bytes], bytes],
) -> None:
    """It is not served and not overwritten, and an error is logged; it can be removed."""
    key = f"{prefix}s:h"
    spoilt = spoil(encode(record(owner="ada")))
    await client.set(key, spoilt)
    await client.zadd(f"{prefix}o:ada", {"h": 1})
    assert await adapter.load("h") is None
    assert [(entry.levelno, entry.getMessage()) for entry in caplog.records] == [(logging.ERROR, REPORT)]
    assert not await adapter.create("h", record(owner="ada"))
    assert await adapter.find("ada") == {}
    assert {entry.getMessage() for entry in caplog.records} == {REPORT}
    if len(spoilt) > 46 and spoil is not SPOILT["encoding"]:  # a script does not look at the text
        assert not await adapter.update("h", record(2, owner="ada"))
        assert not await adapter.renew("h", clock.now + 1000)
        assert not await rotate(adapter, "h", "new", record(2, owner="ada"))
        assert await client.get(key) == spoilt
        assert await adapter.destroy("h") is False
    await adapter.destroy("h")
    assert not await client.exists(key)


async def test_what_cannot_be_read_keeps_its_entry(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord
) -> None:
    """Whoever can read it, such as a newer version beside this one, finds it under its owner."""
    await adapter.create("h", record(owner="ada"))
    await client.setrange(f"{prefix}s:h", 0, b"\x02")
    await client.zincrby(f"{prefix}o:ada", -3600, "h")
    assert await adapter.find("ada") == {}
    await adapter.create("other", record(owner="ada"))
    assert await client.zscore(f"{prefix}o:ada", "h") is not None
    await client.setrange(f"{prefix}s:h", 0, b"\x01")
    assert sorted(await adapter.find("ada")) == ["h", "other"]


@pytest.mark.parametrize("name", OF_ANYBODY)
def test_the_short_way_sees_the_same(record: MakeRecord, name: str) -> None:
    """A record without an owner is read by another function, which passes on what is odd."""
    spoilt = SPOILT[name](encode(record()))
    assert decode_plain(encode(record())) == record()
    assert decode_plain(spoilt) is None
    assert decode(spoilt) is None


@pytest.mark.parametrize("owner", [None, "ada"])
async def test_a_corrupt_neighbour_fails_nobody(
    adapter: RedisSessionAdapter, client: Redis, prefix: str, record: MakeRecord, owner: str | None
) -> None:
    """Operations that travel with one on a corrupt record go on; so does a look at all of an owner's."""
    for name in OF_ANYBODY:
        await client.set(f"{prefix}s:{name}", SPOILT[name](encode(record(owner=owner))))
        await client.zadd(f"{prefix}o:ada", {name: 1})
    await adapter.create("h", record(owner="ada"))
    loads = await asyncio.gather(*map(adapter.load, [*OF_ANYBODY, "h"]))
    assert loads == [None] * len(OF_ANYBODY) + [record(owner="ada")]
    updates = await asyncio.gather(*(adapter.update(name, record(2, owner=owner)) for name in [*OF_ANYBODY, "h"]))
    assert updates == [False] * len(OF_ANYBODY) + [True]
    assert sorted(await adapter.find("ada")) == (["h"] if owner else [])
