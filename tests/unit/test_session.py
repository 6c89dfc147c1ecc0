"""The session object: how values and keys of a type come back, and what is said of those that do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from aiohttp_spry_session import (
    JSONCodec,
    Session,
    SessionKey,
    SessionManager,
    SessionNotLoadedError,
    SessionValueError,
)

from ..support import arrive, session_of

COUNT = SessionKey("count", int, default=3)
DAY = SessionKey("day", date)


@dataclass
class Point:
    """Something with fields."""

    x: int
    y: int = 0


class Level(IntEnum):
    """Numbers with names."""

    HIGH = 2


@pytest.fixture
async def session(memory) -> Session:
    """A new session."""
    manager = SessionManager(memory)
    return session_of(arrive(manager, ()))


async def told(operation) -> str:
    """What an operation that is refused says."""
    with pytest.raises(SessionValueError) as caught:
        await operation
    return f"{caught.value.key}: {caught.value}"


async def test_what_cannot_be_read_is_named(session):
    """Whatever the operation, the error says which key it was, and what is wrong with the value."""
    for operation in (
        lambda: session.get("count", type=int),
        lambda: session.get(COUNT),
        lambda: session.update(COUNT, lambda value: value),
        lambda: session.pop(COUNT),
    ):
        await session.set("count", "three")
        assert await told(operation()) == (
            "count: the stored value of 'count' cannot be read: Expected `int`, got `str`"
        )


async def test_what_cannot_be_stored_is_named(session):
    """Likewise, and nothing is changed."""
    await session.set("count", 1)
    for operation in (session.set("count", float("nan")), session.update("count", lambda value: float("nan"))):
        assert await told(operation) == "count: the value for 'count' cannot be stored: nan has no JSON form"
    assert await session.get("count") == 1


CONVERTED = {
    "a date": (date, "2026-01-02", "2026-01-02", date(2026, 1, 2)),
    "a float": (float, 1, 1.0, 1.0),
    "a set": (set[str], ["a", "a"], ["a"], {"a"}),
    "an object of its fields": (Point, {"x": 1, "z": 2}, {"x": 1}, Point(1)),
    "itself": (Point, Point(1, 2), {"x": 1, "y": 2}, Point(1, 2)),
    "a union": (str | None, "a", "a", "a"),
    "none of a union": (str | None, None, None, None),
    "an enumeration": (int, Level.HIGH, 2, 2),
    "anything": (Any, [1, None], [1, None], [1, None]),
}


@pytest.mark.parametrize(("kind", "value", "stored", "read"), CONVERTED.values(), ids=CONVERTED)
async def test_what_a_typed_key_is_given_is_converted(session, kind, value, stored, read):
    """What is stored is of the key's type, whichever operation brought it."""
    key = SessionKey("key", kind)
    await session.set(key, value)
    assert repr(await session.get("key")) == repr(stored)
    assert await session.get(key) == read
    await session.remove(key)
    assert await session.update(key, lambda current: value) == read
    assert repr(await session.get("key")) == repr(stored)


UNFIT = {
    "text": (COUNT, "four", "Expected `int`, got `str`"),
    "none": (COUNT, None, "Expected `int`, got `null`"),
    "a boolean": (COUNT, True, "Expected `int`, got `bool`"),
    "half": (COUNT, 1.5, "Expected `int`, got `float`"),
    "a part of it": (SessionKey("count", list[int]), [1, "2"], "Expected `int`, got `str` - at `$[1]`"),
    "a missing field": (SessionKey("count", Point), {"y": 1}, "Object missing required field `x`"),
    "out of bounds": (
        SessionKey("count", Annotated[int, msgspec.Meta(ge=0)]),
        -1,
        "Expected `int` >= 0",
    ),
    "nothing of a union": (SessionKey("count", str | None), 1, "Expected `str | null`, got `int`"),
}


@pytest.mark.parametrize(("key", "value", "problem"), UNFIT.values(), ids=UNFIT)
async def test_what_does_not_fit_a_typed_key_is_not_stored(session, key, value, problem):
    """Neither set nor update: the old value stays, and nothing is there where nothing was."""
    said = f"count: the value for 'count' cannot be stored: {problem}"
    assert await told(session.set(key, value)) == said
    assert not await session.has(key)
    if key is COUNT:
        await session.set(key, 1)
        assert await told(session.set(key, value)) == said
        assert await told(session.update(key, lambda current: value)) == said
        assert await session.get(key) == 1
    else:
        assert await told(session.update(key, lambda current: value)) == said
        assert not await session.has(key)


async def test_a_sum_fits_the_key(session):
    """Half of one added to an integer is refused, and a number of integers is stored as the float that it is."""
    assert await session.increment(COUNT, 4) == 7
    assert await told(session.increment(COUNT, 0.5)) == (
        "count: the value for 'count' cannot be stored: Expected `int`, got `float`"
    )
    assert await session.get(COUNT) == 7
    assert repr(await session.increment(SessionKey("ratio", float, default=0.0), 2)) == "2.0"
    assert repr(await session.get("ratio")) == "2.0"


async def test_the_codec_is_asked_what_fits(memory):
    """A typed key works with any codec: what it reads is stored."""

    class Upper(JSONCodec):
        def encode(self, value):
            return super().encode(value).upper()

    session = session_of(arrive(SessionManager(memory, codec=Upper()), ()))
    await session.set(SessionKey("flag", Literal["A"]), "a")
    assert await session.get("flag") == "A"
    assert "cannot be stored" in await told(session.set(SessionKey("flag", Literal["a"]), "a"))


@pytest.mark.parametrize("value", ["three", None, True, [1]], ids=repr)
async def test_what_is_no_number(session, value):
    """It is not incremented; the error says what it is."""
    await session.set("count", value)
    assert await told(session.increment("count")) == (
        f"count: 'count' holds a {type(value).__name__}: only a number can be incremented"
    )


async def test_typed_keys(session):
    """Every operation gives and takes values of the key's type, and its default where there is none."""
    assert await session.get(COUNT) == 3
    assert await session.increment(COUNT) == 4
    assert await session.update(COUNT, lambda value: value * 2) == 8
    assert await session.pop(COUNT) == 8
    assert await session.pop(COUNT) == 3
    assert await session.increment("other") == 1
    await session.set(DAY, date(2026, 11, 23))
    assert await session.get(DAY) == date(2026, 11, 23)
    assert await session.update(DAY, lambda day: day.replace(year=2027)) == date(2027, 11, 23)
    assert await session.pop(DAY) == date(2027, 11, 23)


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (7, "an owner must be a non-empty str, such as str(user.id), not int"),
        ("", "an owner must be a non-empty str, such as str(user.id), not str"),
        ("\ud800", "an owner must be valid Unicode"),
    ],
    ids=["a number", "empty", "half a character"],
)
async def test_what_is_no_owner(session, owner, said):
    """The one who logs somebody in reads what an owner has to be."""
    assert await told(session.bind(owner)) == f"None: {said}"


@pytest.mark.parametrize("name", ["identifier", "is_new", "created_at", "expires_at", "owner"])
def test_what_is_not_loaded(memory, name):
    """Nothing is handed out that was not looked up; the error says how to."""
    manager = SessionManager(memory)
    session = session_of(arrive(manager, ("presented",)))
    with pytest.raises(SessionNotLoadedError) as caught:
        getattr(session, name)
    assert str(caught.value) == "the session is not loaded yet: await session.load(), or any operation, first"


def test_handle_of_what_is_not_loaded(memory):
    """There is none yet: a log line may ask for it at any time."""
    manager = SessionManager(memory)
    assert session_of(arrive(manager, ("presented",))).handle is None
