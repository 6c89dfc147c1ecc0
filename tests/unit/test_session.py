"""The session object: how values and keys of a type come back, and what is said of those that do not."""

from __future__ import annotations

from datetime import date

import pytest

from aiohttp_spry_session import Session, SessionKey, SessionManager, SessionNotLoadedError, SessionValueError

from ..support import arrive, session_of

COUNT = SessionKey("count", int, default=3)
DAY = SessionKey("day", date)


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
    await session.set("count", 1)
    assert await told(session.update(COUNT, lambda value: "four")) == (
        "count: the stored value of 'count' cannot be read: Expected `int`, got `str`"
    )


async def test_what_cannot_be_stored_is_named(session):
    """Likewise, and nothing is changed."""
    await session.set("count", 1)
    for operation in (session.set("count", float("nan")), session.update("count", lambda value: float("nan"))):
        assert await told(operation) == "count: the value for 'count' cannot be stored: nan has no JSON form"
    assert await session.get("count") == 1


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
