"""Promise 11: every adapter behaves alike; here the two of the core, over HTTP."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiohttp import web

from aiohttp_spry_session import (
    JSONCodec,
    Session,
    SessionKey,
    SessionTooLargeError,
    SessionValueError,
    get_session,
)

from ..support import identifier_in


class Item(msgspec.Struct):
    name: str
    count: int = 1


@dataclass
class Address:
    street: str
    since: date


async def run(visitor_of, manager, *steps) -> None:
    """Run steps, each in a request of its own, on one session."""
    left = list(steps)
    failures: list[BaseException] = []

    async def handler(request: web.Request) -> web.Response:
        try:
            await left.pop(0)(get_session(request))
        except BaseException as failure:  # noqa: BLE001 - it is raised again, out of the server
            failures.append(failure)
        return web.Response()

    visitor = await visitor_of(manager, new=True, x=handler)
    while left:
        response = await visitor.ask("/x")
        for failure in failures:
            raise failure
        assert response.status == 200


PLAIN_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.1,
    -0.0,
    1e308,
    5e-324,
    "",
    "text",
    "\x00\u2028\U0001f600",
    [],
    {},
    {"": {"nested": [1, [2, {"x": None}]]}},
    "x" * 60_000,
]


async def test_plain_values_come_back_exactly(visit, manager):
    """What has an exact JSON form comes back equal, and of the same type."""

    async def first(session: Session) -> None:
        for number, value in enumerate(PLAIN_VALUES[:-1]):
            await session.set(str(number), value)
            assert await session.get(str(number)) == value
        await session.set("", "under an empty key")

    async def then(session: Session) -> None:
        for number, value in enumerate(PLAIN_VALUES[:-1]):
            found = await session.get(str(number), "nothing")
            assert (found, type(found)) == (value, type(value))
            assert await session.has(str(number))
        assert await session.get("") == "under an empty key"
        await session.clear()
        await session.set("large", PLAIN_VALUES[-1])

    async def last(session: Session) -> None:
        assert await session.keys() == ["large"]
        assert await session.get("large") == PLAIN_VALUES[-1]

    await run(visit, manager, first, then, last)


TYPED_VALUES: list[tuple[Any, Any, Any]] = [
    ({1, 2}, set[int], [1, 2]),
    ((1, "a"), tuple[int, str], [1, "a"]),
    (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), datetime, "2024-01-02T03:04:05.000006Z"),
    (UUID(int=5), UUID, str(UUID(int=5))),
    (Decimal("1.10"), Decimal, "1.10"),
    (b"\x00\xff", bytes, "AP8="),
    (Item("a", 2), Item, {"name": "a", "count": 2}),
    ([Item("a")], list[Item], [{"name": "a", "count": 1}]),
    (Address("here", date(2020, 2, 29)), Address, {"street": "here", "since": "2020-02-29"}),
]


async def test_typed_values_come_back_as_their_type(visit, manager):
    """With type= (or a SessionKey) a value is what it was; without, it is its JSON form."""

    async def first(session: Session) -> None:
        for number, (value, _, _) in enumerate(TYPED_VALUES):
            await session.set(str(number), value)

    async def then(session: Session) -> None:
        for number, (value, kind, plain) in enumerate(TYPED_VALUES):
            assert await session.get(str(number), type=kind) == value
            assert await session.get(SessionKey(str(number), kind)) == value
            assert await session.get(str(number)) == plain

    await run(visit, manager, first, then)


cycle: list[Any] = []
cycle.append(cycle)
deep: list[Any] = []
for _ in range(100):
    deep = [deep]
very_deep: list[Any] = []
for _ in range(100_000):
    very_deep = [very_deep]

REFUSED: dict[str, Any] = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity inside": {"a": [1.0, -math.inf]},
    "nan in a struct": Item("a", math.nan),  # type: ignore[arg-type]
    "nan in a set": {math.nan},
    "surrogate": "\ud800",
    "surrogate inside": ["a", "\udfff"],
    "surrogate in a key": {"\ud800": 1},
    "past 64 bits": 2**64,
    "past 64 bits, negative": [-(2**63) - 1],
    "very large": 10**5000,
    "int key": {1: "a"},
    "None key": {"a": {None: 1}},
    "bytes key": {b"a": 1},
    "uuid key": {UUID(int=1): 1, str(UUID(int=1)): 2},
    "date key": {date(2020, 1, 1): 1},
    "Decimal key": [{Decimal(1): 1}],
    "tuple key": {("a", "b"): 1},
    "cycle": cycle,
    "too deep": deep,
    "much too deep": very_deep,
    "object": object(),
    "function": print,
    "class": Item,
    "generator": (x for x in "ab"),
    "complex": 1j,
}


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
async def test_refused_values_leave_everything_as_it_was(visit, make_manager, store, lazy):
    """The error comes at the call and names the key; the old value stays, in the request and in the store."""

    async def first(session: Session) -> None:
        await session.set("key", "old")

    async def then(session: Session) -> None:
        for value in REFUSED.values():
            for operation in (
                lambda value=value: session.set("key", value),
                lambda value=value: session.update("key", lambda old: value),
                lambda value=value: session.set(SessionKey("key", Any), value),
            ):
                with pytest.raises(SessionValueError, match="'key' cannot be stored") as caught:
                    await operation()
                assert isinstance(caught.value, ValueError)
                assert caught.value.key == "key"
        assert await session.get("key") == "old"
        assert store.counted.get("update", 0) == 0

    async def last(session: Session) -> None:
        assert await session.get("key") == "old"

    await run(visit, make_manager(lazy=lazy), first, then, last)


@pytest.mark.parametrize("key", [None, 1, b"key", ("a",), "\ud800", object()], ids=str)
async def test_unusable_keys(visit, manager, key):
    """Every operation refuses a key that is no text, with an error that does not pretend to know its name."""

    async def step(session: Session) -> None:
        for operation in (
            lambda: session.has(key),
            lambda: session.get(key),
            lambda: session.set(key, 1),
            lambda: session.remove(key),
            lambda: session.pop(key),
            lambda: session.increment(key),
            lambda: session.update(key, lambda value: value),
        ):
            with pytest.raises(SessionValueError) as caught:
                await operation()
            assert caught.value.key is None
        with pytest.raises(SessionValueError):
            SessionKey(key, int)

    await run(visit, manager, step, step)


async def test_values_are_copied_in_and_out(visit, manager):
    """Changing what was set, or what get returned, changes nothing until it is set."""

    async def first(session: Session) -> None:
        basket = ["apple"]
        await session.set("basket", basket)
        basket.append("stone")
        assert await session.get("basket") == ["apple"]

    async def then(session: Session) -> None:
        found = await session.get("basket")
        found.append("stone")
        assert await session.get("basket") == ["apple"]
        updated = await session.update("basket", lambda basket: [*basket, "pear"])
        updated.append("stone")
        assert await session.get("basket") == ["apple", "pear"]
        key = SessionKey("absent", list[str], default=[])
        (await session.get(key)).append("stone")
        assert await session.get(key) == []

    async def last(session: Session) -> None:
        assert await session.get("basket") == ["apple", "pear"]
        (await session.pop("basket")).append("stone")
        assert await session.get("basket") is None

    await run(visit, manager, first, then, last)


async def test_typed_reads_are_checked(visit, manager):
    """A value that is not of the type asked for is an error that names the key, for every kind of read."""

    async def step(session: Session) -> None:
        await session.set("n", "not a number")
        number = SessionKey("n", int)
        for operation in (
            lambda: session.get("n", type=int),
            lambda: session.get(number),
            lambda: session.update(number, lambda value: value + 1),
            lambda: session.increment(number),
            lambda: session.get("n", type=list[Item]),
            lambda: session.get("n", type=object()),
        ):
            with pytest.raises(SessionValueError, match="'n' cannot be read") as caught:
                await operation()
            assert caught.value.key == "n"
        assert await session.get("n") == "not a number"

    await run(visit, manager, step)


async def test_increment(visit, manager):
    """It adds whole numbers and others, starts at 0 or at the key's default, and refuses what is no number."""

    async def first(session: Session) -> None:
        assert await session.increment("n") == 1
        assert await session.increment("n", 5) == 6
        assert await session.increment("n", -10) == -4
        assert await session.increment("ratio", 0.5) == 0.5
        assert await session.increment(SessionKey("from ten", int, default=10)) == 11
        assert await session.increment(SessionKey("price", float), 2.5) == 2.5
        await session.set("most", 2**64 - 1)
        for key, value in {"text": "a", "flag": True, "nothing": None, "list": []}.items():
            await session.set(key, value)
            with pytest.raises(SessionValueError, match="only a number can be incremented") as caught:
                await session.increment(key)
            assert caught.value.key == key
        for by in (1, math.inf, math.nan):
            with pytest.raises(SessionValueError, match="'most' cannot be stored"):
                await session.increment("most", by)

    async def then(session: Session) -> None:
        assert await session.get("n") == -4
        assert await session.get("most") == 2**64 - 1

    await run(visit, manager, first, then)


async def test_missing_keys_give_the_default(visit, manager):
    """None is a value like any other; a missing key gives the default given, or the key's own."""

    async def step(session: Session) -> None:
        await session.set("none", None)
        assert await session.has("none")
        assert not await session.has("absent")
        assert await session.get("none", "default") is None
        assert await session.get("absent") is None
        assert await session.get("absent", "default") == "default"
        assert await session.get("absent", "default", type=int) == "default"
        key = SessionKey("absent", int, default=3)
        assert (await session.get(key), await session.get(key, 4), await session.pop(key)) == (3, 3 + 1, 3)
        assert await session.pop("absent", "default") == "default"
        assert await session.pop("none", "default") is None
        assert not await session.has("none")
        assert await session.update("absent", lambda value: [value], "default") == ["default"]
        assert await session.update(SessionKey("other", int, default=3), lambda value: value + 1) == 4

    await run(visit, manager, step)


class ReversingCodec:
    """Stands for one that encrypts: its bytes are no JSON, and it notices what it did not write."""

    def encode(self, value: Any) -> bytes:
        return base64.b85encode(JSONCodec().encode(value))[::-1] + b"!"

    def decode(self, data: bytes, type: Any = Any) -> Any:
        if not data.endswith(b"!"):
            raise ValueError("not written by this codec")
        return JSONCodec().decode(base64.b85decode(data[-2::-1]), type)


async def test_custom_codec(visit, make_manager, store, tmp_path):
    """Values pass through it on their way to the store and back, in a request and in find()."""
    manager = make_manager(codec=ReversingCodec())

    async def step(session: Session) -> None:
        await session.set("word", "unmistakable")
        await session.bind("user")
        assert await session.increment("n") == 1
        assert await session.get("word", type=str) == "unmistakable"
        with pytest.raises(SessionValueError):
            await session.set("bad", math.nan)

    async def then(session: Session) -> None:
        assert await session.get("word") == "unmistakable"
        (info,) = await manager.find("user")
        assert info.values == {"word": "unmistakable", "n": 1}
        record = await store.inner.load(session.handle)
        assert b"unmistakable" not in record.payload

    await run(visit, manager, step, then)


async def test_changed_codec(visit, make_manager, caplog):
    """Values that another codec wrote are reported, at the read, by their key; find() leaves the session out."""
    visitor = await visit(make_manager())
    await visitor.ask("/do/bind")

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        with pytest.raises(SessionValueError, match="'n' cannot be read"):
            await session.get("n")
        await session.remove("n")
        return web.Response()

    manager = make_manager(codec=ReversingCodec())
    other = await visit(manager, new=True, x=handler)
    other.identifier = visitor.identifier
    assert await manager.find("user") == []
    assert "is corrupt" in caplog.text
    assert (await other.ask("/x")).status == 200
    (info,) = await manager.find("user")
    assert info.values == {}


@pytest.mark.parametrize("limit", [50, 200])
async def test_max_bytes(visit, make_manager, limit):
    """A value that would make the session too large fails at set, names its key, and the old one stays."""

    async def first(session: Session) -> None:
        await session.set("key", "old")
        with pytest.raises(SessionTooLargeError, match="with 'key' the session would take") as caught:
            await session.set("key", "x" * limit)
        assert (caught.value.limit, caught.value.key) == (limit, "key")
        assert caught.value.size > limit
        with pytest.raises(SessionTooLargeError):
            await session.update("key", lambda value: "x" * limit)
        assert await session.get("key") == "old"

    async def then(session: Session) -> None:
        assert await session.get("key") == "old"
        frame = 5 + 1 + 4 + 2 + 2  # format and checksum, map, "key", the value's length, its quotes
        fits = "x" * (limit - frame)
        await session.set("key", fits)
        with pytest.raises(SessionTooLargeError):
            await session.set("key", fits + "x")
        with pytest.raises(SessionTooLargeError):
            await session.set("\xe9", 1)

    async def last(session: Session) -> None:
        assert set(await session.get("key")) == {"x"}

    await run(visit, make_manager(max_bytes=limit), first, then, last)


async def test_no_max_bytes(visit, make_manager):
    """With None there is no limit."""

    async def first(session: Session) -> None:
        await session.set("key", "x" * 10**6)

    async def then(session: Session) -> None:
        assert len(await session.get("key")) == 10**6

    await run(visit, make_manager(max_bytes=None), first, then)


OWNERS = ["user", "\u00fc\U0001f600", "'; DROP TABLE sessions; --", "x" * 10_000, " ", "a\nb"]


async def test_any_text_is_an_owner(visit, manager):
    """Whoever the application's users are, each is found by exactly their own name."""
    for owner in OWNERS:

        async def step(session: Session, owner: str = owner) -> None:
            await session.bind(owner)
            assert session.owner == owner

        await run(visit, manager, step)
    for owner in OWNERS:
        (info,) = await manager.find(owner)
        assert info.owner == owner
    assert await manager.find("USER") == []


@pytest.mark.parametrize("owner", ["", None, 7, b"user", "\ud800"], ids=repr)
async def test_unusable_owners(visit, manager, store, owner):
    """No empty owner ever matches (CVE-2015-3982), and nothing is stored for one that is no text."""

    async def step(session: Session) -> None:
        with pytest.raises(SessionValueError, match="owner"):
            await session.bind(owner)

    await run(visit, manager, step)
    for operation in (manager.find, manager.revoke_owner):
        with pytest.raises(SessionValueError, match="owner"):
            await operation(owner)
    assert store.calls == []


async def test_identifier_of_a_new_session_is_kept(visit, manager):
    """Reading session.identifier starts the session: what was handed out is what the cookie says."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        seen.extend([session.identifier, session.identifier])
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    assert identifier_in((await visitor.ask("/x")).headers) == seen[0] == seen[1]
    assert (await visitor.ask("/x")).status == 200
    assert len(set(seen)) == 1


async def test_handle_of_a_new_session_is_kept(visit, manager):
    """The handle of a session that is not there yet is the one that it will have; reading it starts nothing."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        seen.append(session.handle)
        if "start" in request.query:
            await session.renew()
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    assert identifier_in((await visitor.ask("/x")).headers) is None
    await visitor.ask("/x?start")
    assert visitor.handle == seen[-1]
