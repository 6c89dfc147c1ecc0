"""A SQLite file that somebody else has written into."""

from __future__ import annotations

import random

import pytest
from aiohttp import web

from aiohttp_spry_session import SessionManager, SQLiteSessionAdapter, get_session, setup
from aiohttp_spry_session.codec import pack
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing.contract.base import a_record
from aiohttp_spry_session.testing.sessions import start_session

from .support import query

NOT_UTF_8 = "CAST(x'ff00fe' AS TEXT)"

CORRUPT = [
    ("payload", "'text'"),
    ("payload", "17"),
    ("payload", "x''"),
    ("payload", "x'01'"),
    ("payload", "x'0100000000'"),
    ("payload", "zeroblob(70000)"),
    ("version", "'many'"),
    ("version", "1.5"),
    ("version", "x'00'"),
    ("created_at", "'yesterday'"),
    ("created_at", "9e999"),
    ("created_at", "-9e999"),
    ("created_at", "1e300"),
    ("created_at", "x'00'"),
    ("expires_at", "'tomorrow'"),
    ("expires_at", "9e999"),
    ("expires_at", "1e300"),
    ("expires_at", "x'00'"),
    ("owner", NOT_UTF_8),
    ("retired", "1"),
    ("retired", "'yes'"),
    ("retired", "x'00'"),
]
"""Columns and SQL expressions for values in them that this package never writes."""


async def test_text_and_numbers_are_read_for_what_they_are(adapter, path, clock):
    """A value that means the same in another of SQLite's types is accepted."""
    record = a_record(clock, owner="17")
    await adapter.create("a", record)
    query(path, "UPDATE sessions SET owner = 17, payload = 'data', expires_at = CAST(expires_at AS INTEGER)")
    assert await adapter.load("a") == record


@pytest.mark.parametrize(("column", "value"), CORRUPT)
async def test_a_corrupt_record_harms_no_other(adapter, path, clock, caplog, column, value):
    """It is absent or unreadable for itself; its neighbours are loaded and found, and the log names it."""
    sound = a_record(clock, owner="ada")
    for handle in ("a", "b"):
        await adapter.create(handle, sound)
    query(path, f"UPDATE sessions SET {column} = {value} WHERE handle = 'a'")
    assert await adapter.load("b") == sound
    found = await adapter.find("ada")
    assert found["b"] == sound
    loaded = await adapter.load("a")
    if loaded is None:
        assert "'a' is corrupt and counts as absent" in caplog.text
        assert "a" not in found
    await adapter.purge()
    await adapter.destroy("a")
    assert query(path, "SELECT handle FROM sessions") == [("b",)]


async def test_a_handle_that_is_no_text_is_left_out(adapter, path, clock, caplog):
    """Whatever stands in the handle's column, an owner's other sessions are found."""
    await adapter.create("a", a_record(clock, owner="ada"))
    await adapter.create("b", a_record(clock, owner="ada"))
    query(path, f"UPDATE sessions SET handle = {NOT_UTF_8} WHERE handle = 'a'")
    assert set(await adapter.find("ada")) == {"b"}
    assert caplog.messages == [
        "the stored session '\N{REPLACEMENT CHARACTER}\\x00\N{REPLACEMENT CHARACTER}' is corrupt and counts as absent"
    ]


@pytest.mark.parametrize(
    ("column", "seconds", "sound"),
    [
        ("created_at", "-62135596800.0", True),
        ("created_at", "-62135596801.0", False),
        ("created_at", "253402300799.0", True),
        ("created_at", "253402300800.0", False),
        ("expires_at", "-62135596800.0", True),
        ("expires_at", "-62135596801.0", False),
        ("expires_at", "253402300799.0", True),
        ("expires_at", "253402300800.0", False),
    ],
)
async def test_times_are_those_that_can_be_shown(adapter, path, clock, caplog, column, seconds, sound):
    """From the beginning of the year 1 to the end of the year 9999; any other is a corrupt record's."""
    await adapter.create("a", a_record(clock))
    query(path, f"UPDATE sessions SET {column} = {seconds}")
    loaded = await adapter.load("a")
    assert caplog.messages == ([] if sound else ["the stored session 'a' is corrupt and counts as absent"])
    assert (loaded is not None) == (sound and not (column == "expires_at" and float(seconds) < 0))


def make_app(path, clock):
    async def show(request):
        session = get_session(request)
        value = await session.get("n", 0)
        times = f"{session.created_at} {session.expires_at} {session.owner}"
        return web.Response(text=f"{value} {times if value else ''}")

    async def write(request):
        return web.Response(text=str(await get_session(request).increment("n")))

    async def devices(request):
        return web.json_response([info.handle for info in await manager.find("ada")])

    async def logout(request):
        await get_session(request).destroy(regenerate=False)
        return web.Response()

    app = web.Application()
    manager = SessionManager(SQLiteSessionAdapter(path, synchronous="OFF"), clock=clock)
    setup(app, manager)
    app.add_routes(
        [web.get("/", show), web.get("/write", write), web.get("/devices", devices), web.get("/logout", logout)]
    )
    return app


@pytest.mark.parametrize(("column", "value"), CORRUPT)
async def test_nobodys_request_fails_for_a_corrupt_record(aiohttp_client, path, clock, column, value):
    """Its visitor is anonymous, or reads what is there; signed-in others see their own; nothing is a 500."""
    client = await aiohttp_client(make_app(path, clock))
    session = await start_session(client, owner="ada", values={"n": 1})
    query(path, f"UPDATE sessions SET {column} = {value}")
    for page in ("/", "/devices", "/write", "/", "/devices", "/logout"):
        response = await client.get(page)
        # A session that is marked as retired is one that ended: what is written to it is refused.
        assert response.status in ((200, 409) if column == "retired" else (200,)), page
    assert not await session.exists()


@pytest.mark.parametrize("seed", range(3))
async def test_random_payloads(aiohttp_client, path, clock, seed):
    """Random bytes, and sound payloads with some bytes changed or cut, are an absent session at worst."""
    rng = random.Random(seed)
    client = await aiohttp_client(make_app(path, clock))
    sound = pack({"n": b"1", "basket": b'["tea"]'})
    retired = retire(a_record(clock), "0" * 64, now=clock()).payload
    for _ in range(25):
        await start_session(client, owner="ada", values={"n": 1})
        if rng.random() < 0.4:
            payload = rng.randbytes(rng.choice([0, 1, 4, 5, 6, 30, 300]))
        else:
            payload = bytearray(rng.choice([sound, retired]))
            for _ in range(rng.randrange(1, 4)):
                payload[rng.randrange(len(payload))] = rng.randrange(256)
            payload = bytes(payload[: rng.randrange(len(payload) + 1)])
        ended = rng.random() < 0.3
        query(path, "UPDATE sessions SET payload = ?, retired = ?", payload, ended)
        for page in ("/", "/devices", "/write"):
            response = await client.get(page)
            assert response.status in ((200, 409) if ended else (200,)), (page, payload)
        query(path, "DELETE FROM sessions")
