"""What arrives of an old session: its values, its owner, its times."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from aiohttp_spry_session import JSONCodec, MemorySessionAdapter, SessionManager
from aiohttp_spry_session.arrivals.old import OldSession
from aiohttp_spry_session.codec import unpack
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock

from ..support import WatchedAdapter
from .conftest import OLD, VALUES, Site, new_cookie, put, record_of, token


async def test_values_that_cannot_be_stored(
    make_site: Callable[..., Site],
    manager: SessionManager,
    clock: FakeClock,
    old_redis: Redis,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The session arrives without them, and the log says which keys those are, once, and no value."""
    secret = 2**70 + 4711
    record = json.dumps(
        {
            "created": int(clock.now),
            "session": {
                "n": 1,
                "big": secret,
                "nan": float("nan"),
                "sur\nrogate": "\ud800",
                "\ud800": 1,
                "\0facts": {"e": None},
                "user": "ada",
            },
        }
    )
    old = await put(old_redis, record) if kind == "redis" else token(clock, record)
    browser = await make_site(kind, owner="user").new(manager)
    response = await browser.ask(**{OLD: old})
    assert (await response.json())["values"] == {"n": 1, "user": "ada"}
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert all(line.startswith(handle_of(str(new_cookie(response)))) for line in lines)
    for key in ("'big'", "'nan'", r"'sur\nrogate'", r"'\ud800'", r"'\x00facts'"):
        assert len([line for line in lines if key in line]) == 1
    assert str(secret) not in caplog.text
    assert old not in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


@pytest.mark.parametrize(
    ("value", "owner", "told"),
    [
        ("ada", "ada", False),
        (7, "7", False),
        (0, "0", False),
        (None, None, False),
        ("", None, True),
        (True, None, True),
        (1.5, None, True),
        ({"id": 7}, None, True),
        ("\ud800", None, True),
    ],
    ids=["name", "number", "zero", "nobody", "empty", "truth", "fraction", "object", "surrogate"],
)
async def test_owners(
    make_site: Callable[..., Site],
    manager: SessionManager,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    value: Any,
    owner: str | None,
    told: bool,
) -> None:
    """A name or a number; nobody is signed in where it is ``None``, and what is neither is told of."""
    browser = await make_site("cookie", owner="user_id").new(manager)
    old = token(clock, record_of(int(clock.now) - 5, user_id=value, n=1))
    seen = await (await browser.ask(**{OLD: old})).json()
    assert seen["owner"] == owner
    assert seen["values"]["n"] == 1
    assert seen["created"] == clock.now - 5
    assert seen["authenticated"] == (None if owner is None else clock.now - 5)
    assert ("'user_id' in a session of aiohttp-session is no user's" in caplog.text) is told


async def test_an_owner_that_is_not_there(
    make_site: Callable[..., Site], manager: SessionManager, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody was signed in."""
    browser = await make_site("cookie", owner="user_id").new(manager)
    seen = await (await browser.ask(**{OLD: token(clock, record_of(int(clock.now), n=1))})).json()
    assert (seen["owner"], seen["values"]) == (None, {"n": 1})
    assert caplog.text == ""


async def test_created_in_the_future(cookie_site: Site, manager: SessionManager, clock: FakeClock) -> None:
    """A machine whose clock was ahead: the session does not begin later than now."""
    browser = await cookie_site.new(manager)
    seen = await (await browser.ask(**{OLD: token(clock, record_of(int(clock.now) + 30, n=1))})).json()
    assert seen["created"] == clock.now


@pytest.mark.parametrize(("age", "left"), [(100, 900), (999, 1), (1000, None)])
async def test_max_lifetime(
    cookie_site: Site, store: WatchedAdapter, clock: FakeClock, age: int, left: int | None
) -> None:
    """The manager's counts from ``created``; past it nothing arrives."""
    manager = SessionManager(store, clock=clock, max_lifetime=1000)
    browser = await cookie_site.new(manager)
    seen = await (await browser.ask(**{OLD: token(clock, record_of(int(clock.now) - age, n=1))})).json()
    assert seen["values"] == ({} if left is None else {"n": 1})
    assert seen["expires"] == (None if left is None else clock.now + left)
    assert ("rotate" in store.calls) == (left is not None)


async def test_without_an_end(cookie_site: Site, clock: FakeClock) -> None:
    """As the adapter says."""
    manager = SessionManager(MemorySessionAdapter(expiration=None), clock=clock)
    browser = await cookie_site.new(manager)
    seen = await (await browser.ask(**{OLD: await cookie_site.old()})).json()
    assert (seen["values"], seen["expires"]) == (VALUES, None)


async def test_a_large_session(redis_site: Site, store: WatchedAdapter, clock: FakeClock, old_redis: Redis) -> None:
    """One that is larger than ``max_bytes`` arrives, and can be made smaller, as where the option was lowered."""
    browser = await redis_site.new(SessionManager(store, clock=clock, max_bytes=1000))
    old = await put(old_redis, record_of(int(clock.now), text="x" * 5000))
    response = await browser.ask(**{OLD: old})
    assert len((await response.json())["values"]["text"]) == 5000
    assert (await browser.ask("/do/bind", SPRY_SESSION_ID=old)).status == 200


async def test_the_limit_of_sessions(make_site: Callable[..., Site], store: WatchedAdapter, clock: FakeClock) -> None:
    """Who arrives bound is counted at the next sign-in, and the oldest is the one that began first."""
    manager = SessionManager(store, clock=clock, max_sessions=2)
    browser = await make_site("cookie", owner="user").new(manager)
    for age in (30, 10, 20):
        await browser.ask(**{OLD: token(clock, record_of(int(clock.now) - age, user="ada", n=age))})
    assert len(await manager.find("ada")) == 3
    await browser.ask("/do/bind")
    assert [info.values.get("n") for info in await manager.find("ada")] == [None, 10]


async def test_the_payload_is_our_own(cookie_site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """With the manager's codec, in the usual form."""
    browser = await cookie_site.new(manager)
    identifier = new_cookie(await browser.ask(**{OLD: await cookie_site.old()}))
    record = await store.load(handle_of(str(identifier)))
    assert record is not None
    assert {key: json.loads(data) for key, data in unpack(record.payload).items()} == VALUES


@pytest.mark.parametrize("error", [TypeError, ValueError, OverflowError, RecursionError])
async def test_a_codec_that_cannot(
    cookie_site: Site, clock: FakeClock, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a manager's codec raises for a value, the others arrive."""

    class Codec(JSONCodec):
        def encode(self, value: Any) -> bytes:
            if value == "secret":
                raise error(value)
            return super().encode(value)

    browser = await cookie_site.new(SessionManager(clock=clock, codec=Codec()))
    old = token(clock, record_of(int(clock.now), n=1, word="secret"))
    assert await browser.values(f"{OLD}={old}") == {"n": 1}
    assert (
        f"'word' in a session of aiohttp-session cannot be stored: it arrived without ({error.__name__})" in caplog.text
    )
    assert "secret" not in caplog.text


def test_no_value_in_a_repr() -> None:
    """Of a session, or of its cookie."""
    old = OldSession("cookie", 1, {"secret": "value"}, None)
    assert repr(old) == "<OldSession of 1 values>"
