"""Which old cookies are let in, and for how long the store remembers them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from cryptography.fernet import Fernet
from redis.asyncio import Redis

from aiohttp_spry_session import SessionManager, arrivals
from aiohttp_spry_session.arrivals.claims import claim_of
from aiohttp_spry_session.arrivals.old import read_old
from aiohttp_spry_session.arrivals.visitors import _unquoted
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock

from ..support import Recorder, WatchedAdapter
from .conftest import KEY, LIFE, OLD, VALUES, Site, new_cookie, put, record_of, token

DAY = 86_400.0


@pytest.mark.parametrize(("age", "there"), [(LIFE, True), (LIFE + 1, False)])
@pytest.mark.parametrize("which", ["created", "token"])
async def test_expired_cookie(
    cookie_site: Site, manager: SessionManager, clock: FakeClock, which: str, age: int, there: bool
) -> None:
    """A session is over when the token is too old, or ``created`` is: in the same second as at the old site."""
    browser = await cookie_site.new(manager)
    created = int(clock.now) - (age if which == "created" else 0)
    old = token(clock, record_of(created, n=1), age=age if which == "token" else 0)
    assert await browser.values(f"{OLD}={old}") == ({"n": 1} if there else {})
    assert await manager.count() == there


@pytest.mark.parametrize(("age", "there"), [(LIFE, True), (LIFE + 1, False)])
async def test_expired_redis(
    redis_site: Site, manager: SessionManager, clock: FakeClock, old_redis: Redis, age: int, there: bool
) -> None:
    """Although its key is there: the old site asks for ``created`` as well."""
    browser = await redis_site.new(manager)
    old = await put(old_redis, record_of(int(clock.now) - age, n=1))
    assert await browser.values(f"{OLD}={old}") == ({"n": 1} if there else {})


async def test_as_the_old_site_says(cookie_site: Site, manager: SessionManager, clock: FakeClock) -> None:
    """Once the old site takes a cookie no more, neither does the new one."""
    browser = await cookie_site.new(manager)
    old = await cookie_site.old()
    clock.advance(LIFE + 3)
    assert await browser.values(f"{OLD}={old}") == {}


@pytest.mark.parametrize("max_age", [None, timedelta(hours=1)])
async def test_how_long_a_claim_stays(
    make_site: Callable[..., Site],
    store: WatchedAdapter,
    manager: SessionManager,
    clock: FakeClock,
    kind: str,
    old_redis: Redis,
    max_age: timedelta | None,
) -> None:
    """As long as the old cookie could live, and a day; for ever, where nothing ends it."""
    site = make_site(kind, max_age=LIFE if max_age else None)
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    assert await browser.values(f"{OLD}={old}") == VALUES
    claim = await store.load(claim_of(old))
    assert claim is not None
    assert claim.retired
    if max_age is None:
        assert claim.expires_at is None
    else:
        assert claim.expires_at == pytest.approx(clock.now + LIFE + DAY, abs=3)
    clock.advance(LIFE + DAY - 5)
    assert (await store.load(claim_of(old))) is not None


async def test_a_claim_by_a_key_that_is_nearly_over(
    redis_site: Site, store: WatchedAdapter, manager: SessionManager, clock: FakeClock, old_redis: Redis
) -> None:
    """An old process that still runs may write the key again, with its whole lifetime."""
    browser = await redis_site.new(manager)
    old = await put(old_redis, record_of(int(clock.now), n=1), seconds=5)
    assert await browser.values(f"{OLD}={old}") == {"n": 1}
    claim = await store.load(claim_of(old))
    assert claim is not None
    assert claim.expires_at == clock.now + LIFE + DAY
    long = await put(old_redis, record_of(int(clock.now), n=1), seconds=10 * LIFE)
    assert await browser.values(f"{OLD}={long}") == {"n": 1}
    claim = await store.load(claim_of(long))
    assert claim is not None
    assert claim.expires_at == pytest.approx(clock.now + 10 * LIFE + DAY, abs=3)


async def test_written_again_by_an_old_process(
    redis_site: Site, manager: SessionManager, clock: FakeClock, old_redis: Redis
) -> None:
    """A session that has ended stays so, whatever the old site still writes."""
    browser = await redis_site.new(manager)
    old = await put(old_redis, record_of(int(clock.now), n=1))
    await browser.ask("/do/destroy", **{OLD: old})
    await old_redis.set(f"{OLD}_{old}", record_of(int(clock.now), n=2), ex=LIFE)
    assert await browser.values(f"{OLD}={old}") == {}


NONE: dict[str, str | bytes] = {
    "no text": b"\xff",
    "no JSON": "nonsense",
    "deep": "[" * 3000,
    "a list": "[]",
    "empty": "{}",
    "null": "null",
    "a float": '{"created": 1e9, "session": {"n": 1}}',
    "a truth": '{"created": true, "session": {"n": 1}}',
    "no time": '{"created": null, "session": {"n": 1}}',
    "never": '{"session": {"n": 1}}',
    "long ago": '{"created": 1, "session": {"n": 1}}',
    "no values": '{"created": NOW, "session": {}}',
    "a list of values": '{"created": NOW, "session": [1]}',
    "no session": '{"created": NOW}',
}


@pytest.mark.parametrize("record", NONE.values(), ids=NONE)
async def test_records_that_are_none(
    make_site: Callable[..., Site],
    manager: SessionManager,
    clock: FakeClock,
    old_redis: Redis,
    kind: str,
    record: str | bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What cannot be read, is over, or has nothing in it, is as no cookie at all."""
    if isinstance(record, str):
        record = record.replace("NOW", str(int(clock.now)))
    old = await put(old_redis, record) if kind == "redis" else token(clock, record)
    browser = await make_site(kind).new(manager)
    response = await browser.ask(**{OLD: old})
    assert (await response.json())["values"] == {}
    assert new_cookie(response) is None
    assert await manager.count() == 0
    assert caplog.text == ""


@pytest.mark.parametrize(
    "forged",
    ["x", "", '""', '"', "gAAAAA==", "ü", "a\\054b", "=", "k" * 4000],
    ids=["one", "empty", "quotes", "quote", "base64", "umlaut", "octal", "equals", "long"],
)
async def test_forged(
    make_site: Callable[..., Site], manager: SessionManager, old_redis: Redis, kind: str, forged: str
) -> None:
    """Whatever is no old cookie is nobody's, and nothing is stored for it."""
    browser = await make_site(kind).new(manager)
    response = await browser.send("/", f"{OLD}={forged}")
    assert response.status == 200
    assert (await response.json())["values"] == {}
    assert await manager.count() == 0


async def test_bytes_that_are_no_text(
    make_site: Callable[..., Site], manager: SessionManager, old_redis: Redis, kind: str
) -> None:
    """Nobody's, as no storage ever wrote them."""
    client = (await make_site(kind).new(manager)).client
    reader, writer = await asyncio.open_connection(client.host, client.port)
    request = f"GET / HTTP/1.1\r\nHost: test\r\nCookie: {OLD}=a\xff\r\nConnection: close\r\n\r\n"
    writer.write(request.encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    writer.close()
    await writer.wait_closed()


async def test_another_key(cookie_site: Site, manager: SessionManager, clock: FakeClock) -> None:
    """A token of somebody else's is nobody's; one from a clock that is far ahead likewise, as there."""
    browser = await cookie_site.new(manager)
    record = record_of(int(clock.now), n=1)
    for old in token(clock, record, key=bytes(32)), token(clock, record, age=-61), token(clock, record)[:-8]:
        assert await browser.values(f"{OLD}={old}") == {}
    assert await browser.values(f"{OLD}={token(clock, record, age=-60)}") == {"n": 1}


@pytest.mark.parametrize("key", [KEY, bytearray(KEY), "text", "fernet"], ids=["bytes", "bytearray", "text", "fernet"])
async def test_keys(make_site: Callable[..., Site], manager: SessionManager, key: Any) -> None:
    """Whatever the old storage was given."""
    text = Fernet.generate_key().decode()
    given = {"text": text, "fernet": Fernet(text)}.get(key, key) if isinstance(key, str) else key
    site = Site(
        EncryptedCookieStorage(given, max_age=LIFE), arrivals.AiohttpSessionEncryptedCookie(given, max_age=LIFE)
    )
    make_site("cookie").clients = site.clients  # to be closed
    browser = await site.new(manager)
    assert await browser.values(f"{OLD}={await site.old()}") == VALUES


async def test_several_old_cookies(
    make_site: Callable[..., Site], manager: SessionManager, clock: FakeClock, old_redis: Redis, kind: str
) -> None:
    """One that is vouched for counts among four; of two none does, though they arrive (promise 4)."""
    recorder = Recorder(manager)

    async def old(**values: Any) -> str:
        record = record_of(int(clock.now), **values)
        return await put(old_redis, record) if kind == "redis" else token(clock, record)

    browser = await make_site(kind).new(manager)
    forged = [f"{OLD}=forged{number}" for number in range(4)]
    one, two = await old(n=1), await old(n=2)
    assert await browser.values(*forged, f"{OLD}={one}") == {}
    assert await manager.count() == 0
    assert await browser.values(f"{OLD}={one}", f"{OLD}={two}") == {}
    assert await manager.count() == 2
    assert recorder.told[-1] == ("rejected", "ambiguous")
    response = await browser.send("/", *forged[:3], f"{OLD}={one}", f"{OLD}={one}")
    assert (await response.json())["values"] == {"n": 1}
    ours = new_cookie(response)
    # Both live; then the first has ended, and counts no more.
    response = await browser.send("/", f"{OLD}={one}", f"{OLD}={two}")
    assert (await response.json())["values"] == {}
    assert (recorder.events[-1].handle, recorder.events[-1].reason) == (handle_of(str(ours)), "ambiguous")
    await browser.send("/do/destroy", f"SPRY_SESSION_ID={ours}")
    assert await browser.values(f"{OLD}={one}", f"{OLD}={two}") == {"n": 2}
    three = await old(n=3)
    assert await browser.values(f"{OLD}={three}") == {"n": 3}
    assert await browser.values(f"{OLD}={three}", f"{OLD}={two}") == {}


@pytest.mark.parametrize("action", ["destroy", "bind"])
@pytest.mark.parametrize("arrived", [0, 1, 2])
async def test_an_end_among_several(site: Site, manager: SessionManager, action: str, arrived: int) -> None:
    """It is the end of all, so that a cookie that the browser keeps signs nobody in again (promise 4)."""
    browser = await site.new(manager)
    old = [await site.old(), await site.old()]
    for cookie in old[:arrived]:
        assert await browser.values(f"{OLD}={cookie}") == VALUES
    response = await browser.send(f"/do/{action}", *(f"{OLD}={cookie}" for cookie in old))
    assert new_cookie(response, OLD) == ""
    for cookie in old:
        assert await browser.values(f"{OLD}={cookie}") == {}
    assert await manager.count() == (action == "bind")


async def test_several_sources(manager: SessionManager, clock: FakeClock, old_redis: Redis, cookie_site: Site) -> None:
    """One for each key, and for each cookie name; the first that vouches for a cookie says whose it is."""
    sources = [
        arrivals.AiohttpSessionEncryptedCookie(KEY, max_age=LIFE, owner="user"),
        arrivals.AiohttpSessionEncryptedCookie(bytes(32), max_age=LIFE),
        arrivals.AiohttpSessionRedis(old_redis, max_age=LIFE),
        arrivals.AiohttpSessionEncryptedCookie(KEY, max_age=LIFE, cookie_name="other", owner="name"),
    ]
    browser = await cookie_site.new(manager, *sources)
    record = record_of(int(clock.now), user="ada", name="bob")
    for value, name, owner in [
        (token(clock, record), OLD, "ada"),
        (token(clock, record, key=bytes(32)), OLD, None),
        (await put(old_redis, record), OLD, None),
        (token(clock, record), "other", "bob"),
    ]:
        response = await browser.ask(**{name: value})
        seen = await response.json()
        assert (seen["owner"], seen["values"]) == (owner, {"user": "ada", "name": "bob"})
        assert new_cookie(response, name) == ""
        assert new_cookie(response, "other" if name == OLD else OLD) is None
    assert await browser.values(f"{OLD}={token(clock, record)}", f"other={token(clock, record)}") == {}


async def test_a_client_that_decodes(
    manager: SessionManager, clock: FakeClock, old_redis: Redis, redis_server: Any, redis_site: Site
) -> None:
    """Redis answers text then."""
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        browser = await redis_site.new(manager, arrivals.AiohttpSessionRedis(client, max_age=LIFE))
        old = await put(old_redis, record_of(int(clock.now), name="Zoë"))
        assert await browser.values(f"{OLD}={old}") == {"name": "Zoë"}


async def test_a_key_that_goes_in_this_moment(
    manager: SessionManager, clock: FakeClock, old_redis: Redis, redis_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two questions: it is not there."""
    browser = await redis_site.new(manager)
    old = await put(old_redis, record_of(int(clock.now), n=1))
    ask = old_redis.pttl

    async def pttl(key: str) -> int:
        await old_redis.delete(key)
        return await ask(key)

    monkeypatch.setattr(old_redis, "pttl", pttl)
    assert await browser.values(f"{OLD}={old}") == {}


async def test_a_key_of_odd_characters(
    manager: SessionManager, clock: FakeClock, old_redis: Redis, make_site: Callable[..., Site]
) -> None:
    """A ``key_factory`` of a site's own: aiohttp quotes the cookie; no identifier of ours, so it gets a digest."""
    site = make_site("redis", key_factory=lambda: f'a,b;"c" {secrets.token_hex(8)}')
    browser = await site.new(manager)
    old = await site.old()
    assert "\\054" in old
    response = await browser.ask(**{OLD: old})
    assert (await response.json())["values"] == VALUES
    assert len(str(new_cookie(response))) == 43
    assert not await site.still_there(old)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('"a=b"', "a=b"),
        (r'"a\054\"\\\073"', 'a,"\\;'),
        (r'"\400\1\x"', "4001x"),
        ('"', '"'),
        ('""', ""),
        ('"a', '"a'),
        ('a"', 'a"'),
        (r"\054", r"\054"),
    ],
)
def test_quotes(sent: str, read: str) -> None:
    """As the library of cookies reads them that the old site uses."""
    assert _unquoted(sent) == read == SimpleCookie().value_decode(sent)[0]


def test_a_cookie_of_backslashes_costs_as_much_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own took the square of its length (CVE-2024-7592), and each request may bring four of 8 KB."""
    monkeypatch.setattr("http.cookies._unquote", None)
    assert _unquoted('"' + "\\" * 8000 + '"') == "\\" * 4000


def test_a_truth_is_no_time() -> None:
    """Although Python takes it for a number."""
    assert read_old("cookie", '{"created": true, "session": {"n": 1}}', max_age=None, now=9.0, ends_at=None) is None
    assert read_old("cookie", '{"created": 1, "session": {"n": 1}}', max_age=None, now=9.0, ends_at=None) is not None
