"""The servers' settings that the how-to pages recommend are enough for the adapters to work with."""

from __future__ import annotations

import re

import pytest

from aiohttp_spry_session import SessionAdapter, SessionRecord
from aiohttp_spry_session.testing.contract.base import rotate

from .blocks import ROOT, read_blocks


async def use(adapter: SessionAdapter) -> None:
    """Carry out every operation of an adapter."""
    record = SessionRecord(b"data", 1, adapter.clock(), adapter.clock() + 60, "ann")
    await adapter.open()
    try:
        assert await adapter.create("a" * 64, record)
        assert await adapter.load("a" * 64) == record
        assert await adapter.renew("a" * 64, record.expires_at)
        newer = SessionRecord(b"more", 3, record.created_at, record.expires_at, "ann")
        assert await adapter.update("a" * 64, newer)
        newest = SessionRecord(b"more", 4, record.created_at, record.expires_at, "ann")
        assert await rotate(adapter, "a" * 64, "b" * 64, newest)
        assert list(await adapter.find("ann")) == ["b" * 64]
        assert "b" * 64 in [handle async for handle, _ in adapter.scan()]
        assert await adapter.count() >= 1
        await adapter.destroy("b" * 64)
        assert not await adapter.find("ann")
        await adapter.purge()
    finally:
        await adapter.close()


async def test_redis_user(redis_server) -> None:
    """The access rules on the page let the adapter do its work, with its own keys."""
    redis = pytest.importorskip("redis.asyncio")
    from aiohttp_spry_session.adapters.redis import RedisSessionAdapter

    page = (ROOT / "docs/how-to/redis.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"^user sessions (.+)$", page, re.MULTILINE)
    address = redis_server.url.removeprefix("redis://")
    async with redis.Redis.from_url(redis_server.url) as admin:
        await admin.execute_command("ACL", "SETUSER", "sessions", *rules.split())
        try:
            await use(RedisSessionAdapter(f"redis://sessions:password@{address}", prefix="shop:"))
        finally:
            await admin.execute_command("ACL", "DELUSER", "sessions")


async def test_redis_settings(redis_server) -> None:
    """Redis knows the settings on the page."""
    redis = pytest.importorskip("redis.asyncio")
    (settings,) = (
        block.text for block in read_blocks(ROOT / "docs/how-to/redis.md") if block.text.startswith("maxmemory ")
    )
    async with redis.Redis.from_url(redis_server.url) as admin:
        for line in settings.splitlines():
            name, value = line.split(" ", 1)
            before = await admin.config_get(name)
            await admin.config_set(name, value)
            await admin.config_set(name, before[name])


async def test_postgres_role(postgres_database: str) -> None:
    """The rights on the page let the adapter do its work on a table that an administrator made."""
    asyncpg = pytest.importorskip("asyncpg")
    from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter, schema_sql

    blocks = [block.text for block in read_blocks(ROOT / "docs/how-to/postgresql.md") if block.language == "sql"]
    admin = await asyncpg.connect(postgres_database)
    try:
        await admin.execute("CREATE ROLE app LOGIN")
        await admin.execute("CREATE SCHEMA web")
        await admin.execute(schema_sql("sessions", "web"))
        for block in blocks:
            await admin.execute(block)
        dsn = postgres_database.replace("postgres@", "app@", 1)
        await use(PostgresSessionAdapter(dsn, schema="web"))
    finally:
        await admin.execute("DROP SCHEMA web CASCADE; DROP ROLE app")
        await admin.close()
