"""What version 1.0 left in the stores, and a site that both versions serve while it is deployed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zlib import crc32

import asyncpg
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace
from redis.asyncio import Redis

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionAdapter,
    SessionManager,
    SessionRecord,
    SQLiteSessionAdapter,
    get_session,
    setup,
)
from aiohttp_spry_session.codec import pack, unpack_session
from aiohttp_spry_session.facts import FACTS_KEY, NO_FACTS, Facts, authenticated_at
from aiohttp_spry_session.testing import FakeClock
from tests.postgres.conftest import namespace  # noqa: F401 - a fixture
from tests.redis.conftest import prefix  # noqa: F401 - a fixture
from tests.released.write import DAY, NOW, VALUES, write

LEFT = json.loads(Path(__file__).with_name("version_1_0.json").read_text(encoding="utf-8"))
SEEN = {
    "visitor-0": (None, VALUES),
    "signed_in-1": ("ada", {"n": 2}),
    "rotated-0": (None, {"n": 3}),
    "rotated-1": (None, {"n": 3}),
    "empty-0": ("ada", {}),
}
"""Whose session each identifier leads to, and what is in it."""


def data(text: str) -> bytes:
    return base64.b64decode(text)


def rows() -> dict[str, SessionRecord]:
    """What 1.0 left in PostgreSQL, as records."""
    return {
        data(handle).decode(): SessionRecord(data(payload), *rest[:3], owner and data(owner).decode(), retired)
        for handle, payload, *rest, owner, retired in LEFT["postgres"]
    }


async def into_memory() -> SessionAdapter:
    adapter = MemorySessionAdapter(expiration=400 * DAY)
    adapter.clock = FakeClock(NOW)
    for handle, record in rows().items():
        assert await adapter.create(handle, record)
    return adapter


async def into_sqlite(tmp_path: Path) -> SessionAdapter:
    path = tmp_path / "sessions.db"
    path.write_bytes(zlib.decompress(data(LEFT["sqlite"])))
    return SQLiteSessionAdapter(path, expiration=400 * DAY)


async def into_redis(url: str, prefix: str) -> SessionAdapter:  # noqa: F811
    from aiohttp_spry_session.adapters.redis import RedisSessionAdapter

    async with Redis.from_url(url) as client:
        for key, kept in LEFT["redis"].items():
            name = prefix + key.removeprefix("p:")
            if isinstance(kept, str):
                await client.set(name, data(kept))
            else:
                await client.zadd(name, {data(member): score for member, score in kept})
    return RedisSessionAdapter(url, prefix=prefix, expiration=400 * DAY)


async def into_postgres(dsn: str, namespace: str) -> SessionAdapter:  # noqa: F811
    from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter

    adapter = PostgresSessionAdapter(dsn, schema=namespace, create_schema=True, expiration=400 * DAY)
    await adapter.open()
    await adapter.close()
    connection = await asyncpg.connect(dsn)
    kept = [[data(value) if isinstance(value, str) else value for value in row] for row in LEFT["postgres"]]
    await connection.executemany(f"INSERT INTO {namespace}.sessions VALUES ($1, $2, $3, $4, $5, $6, $7)", kept)
    await connection.close()
    return adapter


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def left(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionAdapter]:
    """A store as version 1.0 left it."""
    need = request.getfixturevalue
    if request.param == "memory":
        yield await into_memory()
    elif request.param == "sqlite":
        yield await into_sqlite(tmp_path)
    elif request.param == "redis":
        yield await into_redis(need("redis_server").url, need("prefix"))
    else:
        yield await into_postgres(need("postgres_server").dsn, need("namespace"))


async def see(request: web.Request) -> web.Response:
    """Show the whole session, change it, and keep the change."""
    session = get_session(request)
    values = {key: await session.get(key) for key in await session.keys()}
    await session.increment("seen")
    return web.json_response([session.owner, session.created_at.timestamp(), values])


async def test_sessions_go_on(left: SessionAdapter, aiohttp_client: Any) -> None:
    """On every store, whoever had a session has it still, values and owner, and can go on writing in it."""
    app = web.Application()
    app.router.add_get("/", see)
    manager = SessionManager(left, clock=FakeClock(NOW + 100))
    setup(app, manager)
    client = await aiohttp_client(app)
    seen: dict[str, int] = {}
    for name, (owner, values) in SEEN.items():
        cookie = {"Cookie": f"{manager.name}={name}-{'x' * 22}"}
        was = await (await client.get("/", headers=cookie)).json()
        session = name.partition("-")[0]
        before = {"seen": seen[session]} if session in seen else {}
        assert was == [owner, NOW if session in ("visitor", "signed_in") else NOW + 30, values | before]
        seen[session] = seen.get(session, 0) + 1
    infos = await manager.find("ada")
    assert [info.values for info in infos] == [{"seen": 1}, {"n": 2, "seen": 1}]
    assert await manager.revoke_owner("ada") == 2


async def test_without_facts_nothing_is_written_otherwise() -> None:
    """The same visitors leave the same sessions, byte for byte, but for the last use of those that were written to."""
    adapter = MemorySessionAdapter(expiration=400 * DAY)
    await write(adapter)
    adapter.clock = FakeClock(NOW)
    live = {handle: record for handle, record in rows().items() if not record.retired}
    used = 0
    for handle, record in live.items():
        now = await adapter.load(handle)
        assert now is not None
        values, facts, _ = unpack_session(now.payload, now.created_at)
        assert replace(now, payload=pack(values)) == record
        assert facts == replace(NO_FACTS, last_used_at=facts.last_used_at)
        used += facts != NO_FACTS
    assert 0 < used < len(live)


def test_who_had_signed_in_was_authenticated_then() -> None:
    """Nothing says so but the creation, which a bind moves."""
    for record in rows().values():
        if record.retired:
            continue
        values, facts, size = unpack_session(record.payload, record.created_at)
        assert (facts, size) == (NO_FACTS, len(record.payload))
        assert pack(values) == pack(values, facts) == record.payload
        assert authenticated_at(facts, record.owner, record.created_at) == (record.owner and record.created_at)


class Version10:
    """What version 1.0 does with a payload, as its ``codec`` and ``commits`` had it."""

    _unpack = msgspec.msgpack.Decoder(dict[str, bytes]).decode

    @classmethod
    def read(cls, payload: bytes) -> dict[str, bytes]:
        body = payload[5:]
        assert (payload[0], int.from_bytes(payload[1:5], "big")) == (1, crc32(body))
        return cls._unpack(body)

    @classmethod
    def write(cls, payload: bytes, changes: dict[str, bytes | None]) -> bytes:
        values = dict(cls.read(payload))
        for key, value in changes.items():
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        body = msgspec.msgpack.encode(values)
        return b"\x01" + crc32(body).to_bytes(4, "big") + body


FACTS = Facts(
    expiration=None,
    max_lifetime=2 * DAY,
    persistent=True,
    authenticated_at=NOW,
    level="passkey",
    last_used_at=NOW + 1,
    device={"agent": "\u00fc"},
    binding=b"\xff\0",
)


def test_1_0_reads_the_values_beside_facts() -> None:
    """As they are, and facts under a name of their own, which its codec can read: ``find`` leaves nobody out."""
    values = {"n": b"1", "cart": b"[]"}
    read = Version10.read(pack(values, FACTS))
    facts = read.pop(FACTS_KEY)
    assert read == values
    assert msgspec.json.decode(facts)["l"] == "passkey"


def test_1_0_carries_facts_along() -> None:
    """Whatever it sets or removes; only its ``clear`` loses them, which falls back on what 1.0 knew."""
    values = {str(number): b"1" for number in range(14)}
    payload = pack(values, FACTS)
    for change in ({"15": b"1"}, {"0": None}, {"16": b"", "1": b"2"}, {str(number): None for number in range(17)}):
        payload = Version10.write(payload, change)
        for key, value in change.items():
            values.pop(key, None) if value is None else values.update({key: value})
        assert unpack_session(payload, NOW) == (values, FACTS, len(pack(values)))
    payload = Version10.write(payload, dict.fromkeys(Version10.read(payload)))
    assert unpack_session(payload, NOW) == ({}, NO_FACTS, len(pack({})))


def test_facts_of_another_owner_do_not_hold() -> None:
    """1.0 hands the payload over to whoever signs in next; that moves the creation, and tells."""
    values, facts, _ = unpack_session(pack({"n": b"1"}, FACTS), NOW + 0.001)
    assert (values, facts) == ({"n": b"1"}, Facts(last_used_at=NOW + 1))
    assert authenticated_at(facts, "eve", NOW + 0.001) == NOW + 0.001
