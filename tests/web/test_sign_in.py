"""What a session knows of its sign-in: lifetimes of its own, when and how its user was authenticated, the device."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import (
    AdapterError,
    HeadersSentError,
    Session,
    SessionEndedError,
    SessionError,
    SessionManager,
    SessionNotLoadedError,
    SessionValueError,
    get_session,
)

from ..support import Barrier, arrive, cookies_of, identifier_in, sending, session_of
from .handlers import run

DAY = 86400
LIFE = 1200
"""The adapter's, in seconds."""
REMEMBER: dict[str, Any] = {
    "expiration": timedelta(days=30),
    "max_lifetime": timedelta(days=90),
    "persistent": True,
    "level": "password",
    "device": {"agent": "Lynx"},
}


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def max_age(response: Any) -> str | None:
    """The ``Max-Age`` of the session cookie that a response carries."""
    (cookie,) = cookies_of(response.headers)
    ages = [part.partition("=")[2] for part in cookie.split("; ") if part.startswith("Max-Age=")]
    return ages[0] if ages else None


async def seen(manager: SessionManager, identifier: str) -> Session:
    """What a further request of the same client sees."""
    session = session_of(arrive(manager, (identifier,)))
    await session.load()
    return session


async def sign_in(manager: SessionManager, **options: Any) -> Session:
    """A session of somebody's."""
    session = session_of(arrive(manager, ()))
    await session.set("n", 1)
    await session.bind("ada", **options)
    return session


def facts(session: Session) -> dict[str, Any]:
    """All that is known of a session but its names."""
    names = ("owner", "created_at", "expires_at", "authenticated_at", "level", "device")
    return {name: getattr(session, name) for name in names}


# Lifetimes of its own.


async def bind(request: web.Request) -> web.Response:
    """Sign in as somebody who is to be remembered."""
    await get_session(request).bind("ada", **REMEMBER)
    return web.Response()


def doing(name: str) -> Any:
    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        if name == "grace":
            await session.rotate(grace=30)
        elif name == "streamed":
            await session.renew()
            response = web.StreamResponse()
            await response.prepare(request)
            return response  # type: ignore[return-value]
        elif name != "rolling":
            await getattr(session, name)()
        else:
            await session.get("n")
        return web.Response()

    return handler


@pytest.mark.parametrize("name", ["renew", "streamed", "rolling", "rotate", "grace", "confirm"])
async def test_own_lifetimes_hold(serve, make_manager, store, clock, name):
    """In every request and process after the sign-in, by the record and by the cookie."""
    here = make_manager(persistent=False, max_lifetime=DAY)
    elsewhere = make_manager(persistent=False, max_lifetime=DAY, rolling=name == "rolling")
    client = await serve(here, bind)
    other = await serve(elsewhere, doing(name))
    began = clock()
    response = await client.get("/")
    assert max_age(response) == str(30 * DAY)
    clock.advance(16 * DAY)
    response = await other.get("/", headers=sending(identifier_in(response.headers)))
    assert response.status == 200
    renews = name in ("renew", "streamed", "rolling")
    assert max_age(response) == str((30 if renews else 14) * DAY)
    session = await seen(here, identifier_in(response.headers))
    assert session.expires_at == moment(began + (46 if renews else 30) * DAY)
    assert session.created_at == moment(began)
    clock.advance((30 if renews else 14) * DAY - 1)
    assert (await seen(elsewhere, session.identifier)).owner == "ada"
    clock.advance(1)
    assert (await seen(elsewhere, session.identifier)).owner is None


async def test_own_absolute_limit_holds(make_manager, clock):
    """No renewal passes it, whether the manager's is shorter, longer or none."""
    for limit in (DAY, 400 * DAY, None):
        manager = make_manager(max_lifetime=limit)
        async with manager:
            identifier = (await sign_in(manager, **REMEMBER)).identifier
            began = clock()
            for day in (25, 50, 75, 89):
                clock.now = began + day * DAY
                life = arrive(manager, (identifier,))
                await session_of(life).renew()
                await life.commit()
                assert session_of(life).expires_at == moment(min(clock() + 30 * DAY, began + 90 * DAY))
            clock.advance(DAY)
            assert (await seen(manager, identifier)).owner is None


async def test_shorter_lifetimes_hold(make_manager, clock):
    """A session may live for less than the others, and roll by its own half."""
    manager = make_manager(rolling=True)
    async with manager:
        session = await sign_in(manager, expiration=100, max_lifetime=250)
        for elapsed, end in ((40, 100), (60, 160), (120, 220), (180, 250), (230, 250)):
            clock.now = session.created_at.timestamp() + elapsed
            life = arrive(manager, (session.identifier,))
            await session_of(life).get("n")
            await life.commit()
            assert life.record.expires_at == session.created_at.timestamp() + end
        clock.advance(20)
        assert (await seen(manager, session.identifier)).owner is None


async def test_never(make_manager, clock):
    """``expiration=None`` is never, ``max_lifetime=None`` is no limit, also where the others have both."""
    manager = make_manager(max_lifetime=DAY, rolling=True)
    async with manager:
        session = await sign_in(manager, expiration=None, max_lifetime=None)
        assert session.expires_at is None
        clock.advance(1000 * DAY)
        later = await seen(manager, session.identifier)
        assert later.owner == "ada"
        await later.rotate()
        assert (later.expires_at, later.owner) == (None, "ada")


async def test_never_has_a_limit(make_manager, clock):
    """Without an expiration of its own the absolute limit is still the manager's."""
    manager = make_manager(max_lifetime=DAY)
    async with manager:
        session = await sign_in(manager, expiration=None)
        assert session.expires_at == moment(clock() + DAY)


@pytest.mark.parametrize("most", [True, False])
@pytest.mark.parametrize("own", [True, False])
async def test_persistent(serve, make_manager, clock, most, own):
    """The session's own word on ``Max-Age`` holds against the manager's, also when it is renewed or rotated."""

    async def enter(request: web.Request) -> web.Response:
        await get_session(request).bind("ada", persistent=own)
        return web.Response()

    client = await serve(
        make_manager(persistent=most), enter, renew=doing("renew"), rotate=doing("rotate"), confirm=doing("confirm")
    )
    response = await client.get("/")
    for path in ("/renew", "/rotate", "/confirm", "/renew"):
        assert max_age(response) == (str(LIFE) if own else None)
        response = await client.get(path, headers=sending(identifier_in(response.headers)))
    assert max_age(response) == (str(LIFE) if own else None)


async def test_the_next_bind_returns_to_the_defaults(serve, make_manager, clock):
    """What it is not given comes from adapter and manager again."""

    async def plain(request: web.Request) -> web.Response:
        await get_session(request).bind("ada")
        return web.Response()

    manager = make_manager(persistent=False)
    client = await serve(manager, bind, plain=plain)
    identifier = identifier_in((await client.get("/")).headers)
    clock.advance(100)
    response = await client.get("/plain", headers=sending(identifier))
    assert max_age(response) is None
    session = await seen(manager, identifier_in(response.headers))
    assert facts(session) == {
        "owner": "ada",
        "created_at": moment(clock()),
        "expires_at": moment(clock() + LIFE),
        "authenticated_at": moment(clock()),
        "level": None,
        "device": None,
    }


async def test_a_plain_bind_writes_no_facts(make_manager, store):
    """A session with none of them is what version 1.0 wrote, but for the end of another's."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager)
        record = await store.load(session.handle)
        assert b"facts" not in record.payload


# What bad input gets.

BAD: dict[str, dict[str, Any]] = {
    "no owner": {"owner": ""},
    "an owner that is no text": {"owner": 7},
    "an owner that is no Unicode": {"owner": "\ud800"},
    "an empty level": {"level": ""},
    "a level that is no text": {"level": 2},
    "a level that is no Unicode": {"level": "\ud800"},
    "a long level": {"level": "x" * 1025},
    "a device that is no mapping": {"device": "Lynx"},
    "a device of numbers": {"device": {"n": 1}},
    "a device that is too large": {"device": {"agent": "x" * 1024}},
    "a device that is no Unicode": {"device": {"agent": "\ud800"}},
    "no expiration": {"expiration": 0},
    "a negative expiration": {"expiration": timedelta(seconds=-1)},
    "an expiration that no cookie holds": {"expiration": timedelta(days=400, seconds=1)},
    "an endless expiration": {"expiration": float("inf")},
    "an expiration that is no number": {"expiration": float("nan")},
    "an expiration that is text": {"expiration": "30"},
    "an expiration that is a flag": {"expiration": True},
    "no limit": {"max_lifetime": 0},
    "a limit that no cookie holds": {"max_lifetime": 401 * DAY},
    "a flag that is none": {"persistent": 1},
    "a flag that is nothing": {"persistent": None},
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_changes_nothing(serve, make_manager, store, case):
    """It is refused before anything happens: the session, the store and the cookie are as they were."""
    bad = {"owner": "eve", **BAD[case]}
    raised: list[Exception] = []
    manager = make_manager()

    async def enter(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        before = facts(session)
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is asked for below
            await session.bind(**bad)
        raised.append(caught.value)
        assert facts(session) == before
        assert await session.get("n") == 1
        return web.Response()

    client = await serve(manager, enter)
    identifier = (await sign_in(manager, **REMEMBER)).identifier
    store.calls.clear()
    response = await client.get("/", headers=sending(identifier))
    assert response.status == 200
    assert identifier_in(response.headers) is None
    assert store.counted == {"load": 1}
    told = str(raised[0])
    assert "must be" in told or "may take 1024 bytes" in told
    expected = {"owner", "level", "device"} & set(BAD[case])
    assert isinstance(raised[0], SessionValueError) is bool(expected)


async def test_bounds_are_allowed(make_manager, clock):
    """What just fits fits."""
    manager = make_manager()
    async with manager:
        session = await sign_in(
            manager,
            expiration=timedelta(days=400),
            max_lifetime=400 * DAY,
            level="x" * 1024,
            device={"a": "x" * (1024 - 8)},
        )
        again = await seen(manager, session.identifier)
        assert (again.level, again.device) == ("x" * 1024, {"a": "x" * 1016})
        assert again.expires_at == moment(clock() + 400 * DAY)


async def test_facts_do_not_count_as_values(make_manager):
    """``max_bytes`` is for the application's own."""
    manager = make_manager(max_bytes=30)
    async with manager:
        session = await sign_in(manager, **{**REMEMBER, "device": {"agent": "x" * 900}})
        assert await session.keys() == ["n"]
        assert (await seen(manager, session.identifier)).device == {"agent": "x" * 900}


async def test_a_device_is_a_copy(make_manager):
    """Whatever becomes of the mapping that was given, or the one that was returned."""
    manager = make_manager()
    async with manager:
        given = {"agent": "Lynx"}
        session = await sign_in(manager, device=given)
        given["agent"] = "w3m"
        session.device["agent"] = "links"
        assert session.device == {"agent": "Lynx"}
        (info,) = await manager.find("ada")
        assert info.device == {"agent": "Lynx"}


async def test_a_list_of_devices(make_manager, clock):
    """``find`` shows what each was told, and when."""
    manager = make_manager()
    async with manager:
        began = clock()
        session = await sign_in(manager, **REMEMBER)
        clock.advance(10)
        await session.confirm("totp")
        (info,) = await manager.find("ada")
        assert (info.level, info.device) == ("totp", {"agent": "Lynx"})
        assert info.authenticated_at == moment(clock())
        assert (info.created_at, info.expires_at) == (moment(began), moment(began + 30 * DAY))


async def test_another_owner_starts_without_facts(make_manager, clock):
    """Nothing that is known of one user is said of another."""
    manager = make_manager()
    async with manager:
        first = await sign_in(manager, **REMEMBER)
        clock.advance(10)
        session = await seen(manager, first.identifier)
        await session.bind("eve")
        assert facts(session) == facts(await seen(manager, session.identifier))
        assert facts(session) == {
            "owner": "eve",
            "created_at": moment(clock()),
            "expires_at": moment(clock() + LIFE),
            "authenticated_at": moment(clock()),
            "level": None,
            "device": None,
        }
        assert await session.keys() == []
        assert session.last_used_at is None


@pytest.mark.parametrize("options", [{}, REMEMBER])
async def test_a_double_click_keeps_the_facts(make_manager, store, options):
    """The second sign-in, which comes too late, has what it was told just so."""
    manager = make_manager()
    async with manager:
        session = session_of(arrive(manager, ()))
        await session.set("n", 1)
        await session.save()
        two = [await seen(manager, session.identifier) for _ in range(2)]
        for each in two:
            await each.bind("ada", **options)
        assert facts(two[0]) == facts(two[1])
        assert facts(two[1]) == facts(await seen(manager, two[1].identifier))
        assert two[0].identifier != two[1].identifier
        assert two[1].level == options.get("level")


async def test_destroy_forgets_the_facts(make_manager):
    """The empty session that follows knows nothing of the one before."""
    manager = make_manager()
    async with manager:
        session = await seen(manager, (await sign_in(manager, **REMEMBER)).identifier)
        await session.destroy()
        assert (session.level, session.device, session.authenticated_at, session.last_used_at) == (None,) * 4
        assert not session.is_fresh(DAY)


# The user proves again who they are.


async def test_confirm(make_manager, clock):
    """It rotates, and sets the time and the level; the session's beginning and end stay, and so does what it holds."""
    manager = make_manager(max_lifetime=2 * LIFE)
    async with manager:
        first = await sign_in(manager, level="password", device={"agent": "Lynx"})
        before = facts(first)
        clock.advance(100)
        session = await seen(manager, first.identifier)
        await session.set("m", 2)
        await session.confirm("totp")
        expected = {**before, "authenticated_at": moment(clock()), "level": "totp"}
        again = await seen(manager, session.identifier)
        assert facts(session) == facts(again) == expected
        assert [await again.get(key) for key in "nm"] == [1, 2]
        assert session.identifier != first.identifier
        assert (await seen(manager, first.identifier)).owner is None


async def test_confirm_keeps_the_level(make_manager, clock):
    """Where it is told of none."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager, level="password")
        clock.advance(1)
        await session.confirm()
        assert (session.level, session.authenticated_at) == ("password", moment(clock()))


async def test_confirm_does_not_move_the_limits(make_manager, clock):
    """Neither the idle limit nor the absolute one (ASVS 7.3.1, 7.3.2)."""
    manager = make_manager(max_lifetime=LIFE + 100)
    async with manager:
        session = await sign_in(manager)
        clock.advance(LIFE - 1)
        await session.confirm()
        session = await seen(manager, session.identifier)
        await session.renew()
        await session.save()
        clock.advance(1)
        assert (await seen(manager, session.identifier)).owner is None


async def test_confirm_by_a_slow_clock(make_manager, clock):
    """What was confirmed on a machine whose clock is behind is no earlier than the session itself."""
    ahead, behind = make_manager(), make_manager(clock=lambda: clock() - 50)
    async with ahead, behind:
        session = await seen(behind, (await sign_in(ahead)).identifier)
        await session.confirm("totp")
        again = await seen(ahead, session.identifier)
        assert (again.authenticated_at, again.level) == (again.created_at, "totp")


async def test_confirm_writes_the_cookie(serve, make_manager):
    """The response carries the new identifier."""
    manager = make_manager()
    client = await serve(manager, doing("confirm"))
    old = (await sign_in(manager)).identifier
    response = await client.get("/", headers=sending(old))
    new = identifier_in(response.headers)
    assert new not in (None, old)
    assert (await seen(manager, new)).owner == "ada"


@pytest.mark.parametrize("values", [{}, {"n": 1}])
async def test_nobody_is_there_to_confirm(make_manager, store, values):
    """A visitor's session has no owner: a ``SessionError``, and nothing is changed."""
    manager = make_manager()
    async with manager:
        first = session_of(arrive(manager, ()))
        for key, value in values.items():
            await first.set(key, value)
        await first.save()
        session = await seen(manager, first.identifier) if values else first
        store.calls.clear()
        with pytest.raises(SessionError, match="no owner") as caught:
            await session.confirm("totp")
        assert type(caught.value) is SessionError
        assert (session.level, session.authenticated_at, store.calls) == (None, None, [])


@pytest.mark.parametrize("level", ["", 7, "\ud800"])
async def test_confirm_with_a_bad_level(make_manager, store, level):
    """It is refused, and nothing is changed."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager, level="password")
        before = facts(session)
        store.calls.clear()
        with pytest.raises(SessionValueError, match="level must be"):
            await session.confirm(level)
        assert (facts(session), store.calls) == (before, [])


@pytest.mark.parametrize("meanwhile", ["rotate", "confirm", "destroy"])
async def test_confirm_that_comes_too_late(make_manager, meanwhile):
    """Another request rotated or ended the session: ``SessionEndedError``, and nobody is confirmed."""
    manager = make_manager()
    async with manager:
        first = await sign_in(manager)
        session, other = await seen(manager, first.identifier), await seen(manager, first.identifier)
        await getattr(other, meanwhile)()
        with pytest.raises(SessionEndedError) as caught:
            await session.confirm("totp")
        assert caught.value.reason == ("ended" if meanwhile == "destroy" else "rotated")
        with pytest.raises(SessionEndedError):
            await session.confirm("totp")
        assert (await seen(manager, other.identifier)).level is None


async def test_confirm_under_a_rotated_identifier(make_manager):
    """Likewise where it was rotated before the request came."""
    manager = make_manager()
    async with manager:
        first = await sign_in(manager)
        await (await seen(manager, first.identifier)).rotate()
        session = await seen(manager, first.identifier)
        with pytest.raises(SessionEndedError):
            await session.confirm()


async def test_confirm_of_what_has_expired(make_manager, clock):
    """Likewise."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager)
        clock.advance(LIFE)
        with pytest.raises(SessionEndedError, match="expired"):
            await session.confirm()


async def test_confirm_after_the_headers(make_manager, store):
    """It needs a cookie: ``HeadersSentError``, and nothing is changed."""
    manager = make_manager()
    async with manager:
        life = arrive(manager, ((await sign_in(manager)).identifier,))
        session = session_of(life)
        await session.load()
        life.state.headers_sent = True
        store.calls.clear()
        for operation in (session.confirm(), session.bind("ada"), session.bind("eve")):
            with pytest.raises(HeadersSentError):
                await operation
        assert store.calls == []
        assert session.owner == "ada"


async def test_confirm_of_unknown_outcome(make_manager, store):
    """An outage logs nobody out: a second cookie keeps both ways open."""
    manager = make_manager()
    async with manager:
        life = arrive(manager, ((await sign_in(manager)).identifier,))
        store.fail("rotate")
        with pytest.raises(AdapterError):
            await session_of(life).confirm()
        assert life.cookie.spare_action.name == "SEND"


async def test_confirm_keeps_others_writes(make_manager, store):
    """What another request stores meanwhile is not lost."""
    manager = make_manager()
    async with manager:
        first = await sign_in(manager)
        session = await seen(manager, first.identifier)
        other = await seen(manager, first.identifier)
        await other.increment("visits")
        await session.confirm("totp")
        again = await seen(manager, session.identifier)
        assert (await again.get("visits"), again.level) == (1, "totp")


# Is it fresh?


async def test_is_fresh_at_its_bounds(make_manager, clock):
    """Up to and with that time since, by the manager's clock."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager)
        clock.advance(100)
        assert session.is_fresh(100)
        assert session.is_fresh(timedelta(seconds=100))
        assert not session.is_fresh(99.999)
        await session.confirm()
        assert session.is_fresh(0.001)


async def test_is_fresh_at_a_level(make_manager):
    """At just that one: levels are names, not ranks."""
    manager = make_manager()
    async with manager:
        session = await sign_in(manager, level="totp")
        assert session.is_fresh(1, level="totp")
        assert not session.is_fresh(1, level="password")
        session = await sign_in(manager)
        assert session.is_fresh(1)
        assert not session.is_fresh(1, level="totp")


@pytest.mark.parametrize("within", [0, -1, timedelta(0), None, True, "1", float("nan"), timedelta(days=401)])
async def test_is_fresh_within_no_time(make_manager, within):
    """It says what is allowed, also of a session that nobody signed in to."""
    manager = make_manager()
    async with manager:
        for session in (await sign_in(manager), session_of(arrive(manager, ()))):
            with pytest.raises(ValueError, match="within must be a timedelta or a number of seconds"):
                session.is_fresh(within)


async def test_nobody_is_fresh(make_manager):
    """Neither a visitor without a session nor one with."""
    manager = make_manager()
    async with manager:
        session = session_of(arrive(manager, ()))
        assert not session.is_fresh(DAY)
        assert (session.authenticated_at, session.level, session.device, session.last_used_at) == (None,) * 4
        await session.set("n", 1)
        await session.save()
        assert not session.is_fresh(DAY)
        assert session.authenticated_at is None


async def test_facts_of_a_session_that_is_not_loaded(make_manager):
    """With ``lazy=True`` nothing is said of an identifier that nobody has verified."""
    manager = make_manager(lazy=True)
    async with manager:
        identifier = (await sign_in(manager, level="totp")).identifier
        session = session_of(arrive(manager, (identifier,)))
        for name in ("last_used_at", "authenticated_at", "level", "device"):
            with pytest.raises(SessionNotLoadedError):
                getattr(session, name)
        with pytest.raises(SessionNotLoadedError):
            session.is_fresh(1)
        await session.load()
        assert session.is_fresh(1, level="totp")


async def test_facts_of_a_session_that_has_ended(make_manager):
    """There is nothing left to say."""
    manager = make_manager()
    async with manager:
        session = await seen(manager, (await sign_in(manager, **REMEMBER)).identifier)
        await manager.revoke_owner("ada")
        with pytest.raises(SessionEndedError):
            await session.increment("n")
        assert (session.level, session.device, session.authenticated_at, session.last_used_at) == (None,) * 4
        assert not session.is_fresh(1)


async def test_facts_in_an_outage(make_manager, store):
    """They say so, as the other properties do."""
    manager = make_manager()
    async with manager:
        life = arrive(manager, ((await sign_in(manager)).identifier,))
        life.state.failure = AdapterError("load", "failed")
        for name in ("authenticated_at", "level", "device", "last_used_at"):
            with pytest.raises(AdapterError):
                getattr(session_of(life), name)
        assert session_of(life).handle is None


async def test_sign_in_within_one_request(visit, manager):
    """What one request is told the next one knows."""

    async def enter(session: Session) -> None:
        await session.bind("ada", level="password")
        assert session.is_fresh(1, level="password")

    async def look(session: Session) -> None:
        assert session.is_fresh(1, level="password")
        assert session.owner == "ada"

    await run(visit, manager, enter, look)


async def test_a_bind_waits_its_turn(make_manager, store):
    """Two tasks of one request that bind and confirm do it one after the other."""
    manager = make_manager()
    async with manager:
        session = await seen(manager, (await sign_in(manager)).identifier)
        barrier = Barrier(store, "rotate")
        binding = asyncio.create_task(session.bind("ada", level="password"))
        await barrier.reached.wait()
        confirming = asyncio.create_task(session.confirm("totp"))
        barrier.go_on.set()
        await asyncio.gather(binding, confirming)
        assert (await seen(manager, session.identifier)).level == "totp"


async def test_signing_out_needs_no_room(make_manager, store):
    """On a store that is full the cookie is removed instead of exchanged (promise 3)."""
    manager = make_manager()
    async with manager:
        life = arrive(manager, ((await sign_in(manager)).identifier,))
        session = session_of(life)
        store.fail("create")
        await session.destroy()
        assert (session.handle, life.cookie.action.name) == (None, "EXPIRE")
        assert await manager.find("ada") == []
