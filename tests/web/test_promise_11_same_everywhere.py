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
    SessionValueError,
    get_session,
)

from .handlers import run


class Item(msgspec.Struct):
    name: str
    count: int = 1


@dataclass
class Address:
    street: str
    since: date


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


@pytest.mark.parametrize("key", [None, 1, b"key", ("a",), "\ud800", ...])
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
