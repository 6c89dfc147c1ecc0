"""Operations and limits of a session, on every adapter of the core alike (promise 11)."""

from __future__ import annotations

import math

import msgspec
import pytest
from aiohttp import web

from aiohttp_spry_session import (
    Session,
    SessionKey,
    SessionTooLargeError,
    SessionValueError,
    get_session,
)

from ..support import identifier_in
from .handlers import run


class Item(msgspec.Struct):
    """Something in a basket."""

    name: str
    count: int = 1


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


@pytest.mark.parametrize("owner", ["", None, 7, b"user", "\ud800"])
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


async def test_handle_of_a_new_session(visit, manager):
    """There is none before the session is there; reading it starts nothing."""
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        seen.append(session.handle)
        if "start" in request.query:
            await session.renew()
            seen.append(session.handle)
            await session.save()
            seen.append(session.handle)
            await session.destroy(regenerate=False)
            seen.append(session.handle)
            await session.renew()
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    assert identifier_in((await visitor.ask("/x")).headers) is None
    await visitor.ask("/x?start")
    first = visitor.handle
    await visitor.ask("/x")
    assert seen[:3] == [None, None, None]
    assert seen[4:] == [None, first]
    assert seen[3] not in (None, first)
