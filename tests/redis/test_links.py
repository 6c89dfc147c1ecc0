"""Where a rotation leads stands in a field of its own: payloads are nobody's business, and may be sealed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.adapters.redis.records import decode, encode
from aiohttp_spry_session.record import Successor, retire, successor_of
from aiohttp_spry_session.testing import FakeClock

from .steps import Steps

MakeRecord = Callable[..., SessionRecord]

SEALED = b"\xc1 nothing that msgpack knows"


def read_as_1_0(data: bytes) -> tuple[int, str, bytes]:
    """The state, the origin and the payload, as version 1.0 took them from a record's bytes."""
    _, state, _, _, _, _, _, owner_size, origin_size = struct.unpack_from(">BBBddddII", data)
    origin_end = 43 + owner_size + origin_size
    return state, data[43 + owner_size : origin_end].decode(), data[origin_end:]


async def sealed_rotation(adapter: RedisSessionAdapter, old: str, new: str, record: SessionRecord) -> bool:
    """Rotate, with payloads that only the manager could read."""
    retired = retire(record, new, now=adapter.clock())
    return await adapter.rotate(old, new, replace(record, payload=SEALED), replace(retired, payload=SEALED))


@pytest.mark.parametrize("look", ["load", "find", "destroy", "update"])
async def test_sealed_payloads_rotate(
    adapter: RedisSessionAdapter, clock: FakeClock, record: MakeRecord, look: str
) -> None:
    """Also where others have to find out that the rotation has happened."""
    await adapter.create("old", record(owner="ada", payload=SEALED))
    steps = Steps(adapter)
    steps.cut(scripts.ACTIVATE)
    assert await sealed_rotation(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    match look:
        case "load":
            assert await adapter.load("new") == record(2, owner="ada", payload=SEALED)
        case "find":
            assert list(await adapter.find("ada")) == ["new"]
        case "destroy":
            assert await adapter.destroy("new")
        case "update":
            assert await adapter.update("new", record(3, owner="ada", payload=SEALED))
    retired = await adapter.load("old")
    assert retired is not None
    assert (retired.payload, retired.retired, retired.owner) == (SEALED, True, None)


async def test_a_lost_answer_is_looked_up_without_the_payload(adapter: RedisSessionAdapter, record: MakeRecord) -> None:
    """The retired record says by itself which rotation it was retired for."""
    await adapter.create("old", record(owner="ada"))
    steps = Steps(adapter)
    steps.lose(scripts.UPDATE)
    assert await sealed_rotation(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    assert await adapter.load("new") is not None


async def test_a_retired_record_by_a_plain_update_leads_nowhere(
    adapter: RedisSessionAdapter, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """Whatever its payload says: only a rotation makes a link."""
    await adapter.create("old", record(owner="ada"))
    steps = Steps(adapter)

    async def fence() -> None:
        assert await adapter.update("old", retire(record(2), "new", now=adapter.clock()))

    steps.before(scripts.UPDATE, fence)
    assert not await sealed_rotation(adapter, "old", "new", record(2, owner="ada"))
    data = await client.get(f"{prefix}s:old")
    stored = decode(data)
    assert stored is not None
    assert stored.successor is None
    assert read_as_1_0(data)[1] == ""


async def test_version_1_0_reads_what_is_written(
    adapter: RedisSessionAdapter, record: MakeRecord, client: Redis, prefix: str, clock: FakeClock
) -> None:
    """It passes over the link, and finds in the payload where the rotation leads."""
    await adapter.create("old", record(owner="ada"))
    next_one = record(2, owner="ada", payload=b"next")
    assert await adapter.rotate("old", "new", next_one, retire(next_one, "new", now=clock.now, grace=9))
    state, link, payload = read_as_1_0(await client.get(f"{prefix}s:old"))
    assert (state, link) == (1, "new")
    assert successor_of(record(payload=payload)) == Successor("new", clock.now + 9)
    assert read_as_1_0(await client.get(f"{prefix}s:new")) == (0, "old", b"next")


async def test_what_version_1_0_wrote_is_read(
    adapter: RedisSessionAdapter, record: MakeRecord, client: Redis, prefix: str, clock: FakeClock
) -> None:
    """A retired record without a link is a retired record; the session that was rotated, and confirmed, is live."""
    retired = retire(record(2), "new", now=clock.now)
    assert read_as_1_0(encode(retired))[1] == ""
    await client.set(f"{prefix}s:old", encode(retired))
    await client.set(f"{prefix}s:new", encode(record(2), origin="old").replace(b"\x01\x02", b"\x01\x00", 1))
    assert await adapter.load("old") == retired
    assert await adapter.load("new") == record(2)
    assert await adapter.find("ada") == {}
    assert not await adapter.update("old", record(3))
    assert await adapter.destroy("old")


def test_links_survive_their_bytes(record: MakeRecord) -> None:
    """A pending record has an origin, a retired one a successor; any text can be one."""
    for link in ("x", "\ud800", "\x00ü" * 30):
        stored = decode(encode(record(owner="ada"), origin=link))
        assert stored == (record(owner="ada"), link, True, None)
        stored = decode(encode(record(retired=True), successor=link))
        assert stored == (record(retired=True), None, False, link)
