"""A pool whose connections turn values into something else is refused when the adapter opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from aiohttp_spry_session import AdapterError, SessionRecord
from aiohttp_spry_session.adapters.postgres.examination import check_codecs
from tests.postgres.conftest import MakePostgres
from tests.servers.postgres import PostgresServer


def _fail(value: Any) -> Any:
    raise LookupError("on purpose")


CODECS: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "decoded as text": ("float8", str, str),
    "of another type that is equal": ("int8", str, float),
    "encoded as what the server refuses": ("float8", lambda value: f"<{value}>", float),
    "that cannot encode": ("bytea", _fail, str),
    "that cannot decode": ("bool", str, _fail),
    "another way to write bytes": ("bytea", bytes.hex, bytes.fromhex),
}


@pytest.mark.parametrize(("name", "encode", "decode"), CODECS.values(), ids=CODECS)
async def test_a_codec_of_the_pools_is_told(
    make_postgres: MakePostgres,
    postgres_server: PostgresServer,
    name: str,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
) -> None:
    """The error names the type and what to do; the pool goes on."""

    async def init(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(name, encoder=encode, decoder=decode, schema="pg_catalog")

    async with asyncpg.create_pool(postgres_server.dsn, min_size=1, max_size=1, init=init) as pool:
        with pytest.raises(AdapterError) as caught:
            await make_postgres(pool).open()
        assert str(caught.value) == (
            f"session store: open: the pool's connections have a codec of their own for {name} (set_type_codec): "
            "pass a pool without it, or a URL"
        )
        assert await pool.fetchval("SELECT 1::int4") == 1


async def test_codecs_for_other_types_are_no_matter(
    make_postgres: MakePostgres, postgres_server: PostgresServer
) -> None:
    """Nor is a class of its own for rows."""

    class Row(asyncpg.Record):  # type: ignore[misc]
        """An application's."""

    async def init(connection: asyncpg.Connection) -> None:
        for name in ("jsonb", "int4", "timestamptz", "numeric"):
            await connection.set_type_codec(name, encoder=_fail, decoder=_fail, schema="pg_catalog")

    async with asyncpg.create_pool(
        postgres_server.dsn, min_size=1, max_size=1, init=init, record_class=Row, statement_cache_size=0
    ) as pool:
        adapter = make_postgres(pool)
        await adapter.open()
        record = SessionRecord(b"data", 1, 1_700_000_000.5, None, "owner")
        assert await adapter.create("handle", record)
        assert await adapter.load("handle") == record
        assert await adapter.find("owner") == {"handle": record}
        assert await adapter.purge() == 0
        await adapter.close()


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), asyncpg.AdminShutdownError("x"), asyncpg.InsufficientResourcesError("x")],
    ids=lambda error: type(error).__name__,
)
async def test_a_server_in_trouble_is_no_codec(error: Exception) -> None:
    """What the server or the network does is told as it is."""

    class Connection:
        async def fetchrow(self, *args: object) -> object:
            raise error

    with pytest.raises(type(error)):
        await check_codecs(Connection())
