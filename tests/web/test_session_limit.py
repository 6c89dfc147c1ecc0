"""``max_sessions``: how many live sessions an owner may have, over all processes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import (
    AdapterError,
    Session,
    SessionEndedError,
    SessionManager,
    TooManySessionsError,
    get_session,
)
from aiohttp_spry_session.testing import FakeClock

from ..minimal import MinimalAdapter
from ..support import Recorder, arrive, identifier_in, sending, session_of
from .handlers import PATHS

DAY = 86400.0


async def sign_in(manager: SessionManager, *presented: str, owner: str = "ada", **options: Any) -> Session:
    """Sign in, as a client that presents this."""
    session = session_of(arrive(manager, presented))
    await session.bind(owner, **options)
    return session


async def visitor(manager: SessionManager, **values: Any) -> Session:
    """A session of nobody's, with values in it."""
    session = session_of(arrive(manager, ()))
    for key, value in values.items():
        await session.set(key, value)
    await session.save()
    return session


async def again(manager: SessionManager, identifier: str) -> Session:
    """What a further request of the same client sees."""
    session = session_of(arrive(manager, (identifier,)))
    await session.load()
    return session


async def living(manager: SessionManager, owner: str = "ada") -> list[str]:
    """The handles of an owner's live sessions, the newest first."""
    return [info.handle for info in await manager.find(owner)]


def at(store: Any, operation: str, number: int, act: Callable[[], Awaitable[Any]], *, after: bool = False) -> None:
    """Let something happen before, or after, the operation's call of this number; its own calls are not counted."""
    left = number

    async def hook(called: str) -> None:
        nonlocal left
        if called == operation:
            left -= 1
            if not left:
                store.work()
                await act()

    if after:
        store.after = hook
    else:
        store.before = hook


def together(store: Any, operation: str, number: int) -> None:
    """Let so many calls of an operation wait for each other, before and after it; then as many again, and so on."""

    def barrier() -> Callable[[str], Awaitable[None]]:
        arrived = 0
        gone = asyncio.Event()

        async def wait(called: str) -> None:
            nonlocal arrived, gone
            if called == operation:
                arrived, mine = arrived + 1, gone
                if arrived % number == 0:
                    mine.set()
                    gone = asyncio.Event()
                await mine.wait()

        return wait

    store.before, store.after = barrier(), barrier()


@pytest.fixture
def ticking(clock: FakeClock) -> Callable[[], float]:
    """Time that goes on whenever somebody looks."""

    def tick() -> float:
        clock.advance(0.001)
        return clock()

    return tick


# The oldest ones end.


async def test_the_oldest_end(make_manager, clock):
    """The newest stay, as many as are allowed; each end is told."""
    manager = make_manager(max_sessions=2)
    recorder = Recorder(manager)
    async with manager:
        sessions = []
        for _ in range(4):
            sessions.append(await sign_in(manager))
            clock.advance(1)
        handles = [session.handle for session in sessions]
        assert await living(manager) == [handles[3], handles[2]]
    ended = [event for event in recorder.events if event.name == "destroyed"]
    assert [(event.handle, event.owner, event.reason) for event in ended] == [
        (handles[0], "ada", "limit"),
        (handles[1], "ada", "limit"),
    ]


async def test_the_limit_is_each_owners_own(make_manager, clock):
    """Others' sessions, and those of nobody, do not count."""
    manager = make_manager(max_sessions=1)
    async with manager:
        await visitor(manager, n=1)
        for owner in ("ada", "eve"):
            await sign_in(manager, owner=owner)
        assert len(await living(manager, "ada")) == len(await living(manager, "eve")) == 1


async def test_who_signs_in_again_ends_nobody(make_manager, clock):
    """Their session counts once, and becomes the newest."""
    manager = make_manager(max_sessions=2)
    async with manager:
        first = await sign_in(manager)
        clock.advance(1)
        second = await sign_in(manager)
        clock.advance(1)
        once_more = await sign_in(manager, first.identifier)
        assert await living(manager) == [once_more.handle, second.handle]
        clock.advance(1)
        third = await sign_in(manager)
        assert await living(manager) == [third.handle, once_more.handle]


async def test_sessions_past_the_absolute_limit_do_not_count(make_manager, clock):
    """They are over, though the store still holds them."""
    async with make_manager() as earlier:
        old = await sign_in(earlier)
        clock.advance(100)
        manager = make_manager(max_sessions=1, when_full="refuse", max_lifetime=50)
        new = await sign_in(manager)
        assert await living(manager) == [new.handle]
        assert await living(earlier) == [new.handle, old.handle]


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("order", ["all look together", "one after the other"])
async def test_parallel_sign_ins_in_two_processes(make_manager, store, ticking, most, order):
    """Exactly the limit is left, the newest ones, and whoever was told of a success has one of them."""
    managers = [make_manager(max_sessions=most, clock=ticking) for _ in range(2)]
    async with managers[0], managers[1]:
        await sign_in(managers[0])
        if order == "all look together":
            together(store, "find", 6)
        results = await asyncio.gather(*(sign_in(managers[n % 2]) for n in range(6)), return_exceptions=True)
        store.work()
        left = await living(managers[0])
        assert len(left) == most
        succeeded = [result for result in results if isinstance(result, Session)]
        assert all(isinstance(result, Session | SessionEndedError) for result in results)
        assert set(left) <= {session.handle for session in succeeded}
        if order == "all look together":
            assert {session.handle for session in succeeded} == set(left)


async def test_equal_times_have_an_order(make_manager, store):
    """Those that began at the same moment are ordered by their handles, in every process alike."""
    managers = [make_manager(max_sessions=2) for _ in range(2)]
    async with managers[0], managers[1]:
        seen: list[str] = []
        managers[0].on_created.append(lambda event: seen.append(event.handle))
        managers[1].on_created.append(lambda event: seen.append(event.handle))
        together(store, "find", 5)
        await asyncio.gather(*(sign_in(managers[n % 2]) for n in range(5)), return_exceptions=True)
        store.work()
        assert sorted(await living(managers[0])) == sorted(seen)[-2:]


async def test_who_signs_in_again_meanwhile_is_not_ended(make_manager, store, clock):
    """An old session that its user signs in with, while it is to be ended for its age, is the newest by then."""
    managers = [make_manager(max_sessions=1) for _ in range(2)]
    async with managers[0], managers[1]:
        old = await sign_in(managers[0])
        clock.advance(1)
        renewed: list[Session] = []

        async def meanwhile() -> None:
            clock.advance(1)
            renewed.append(await sign_in(managers[1], old.identifier))

        at(store, "find", 1, meanwhile, after=True)
        await sign_in(managers[0])
        assert await living(managers[0]) == [renewed[0].handle]


async def test_who_is_rotated_meanwhile_is_ended(make_manager, store, clock):
    """A rotation makes no session younger."""
    manager = make_manager(max_sessions=1)
    async with manager:
        old = await sign_in(manager)
        clock.advance(1)
        moved = await again(manager, old.identifier)
        at(store, "find", 1, moved.rotate, after=True)
        new = await sign_in(manager)
        assert await living(manager) == [new.handle]
        assert (await again(manager, moved.identifier)).owner is None


async def test_who_is_beyond_the_limit_is_told(serve, make_manager, clock):
    """A machine whose clock is behind starts sessions that are older than all others: 409, and no cookie."""
    ahead = make_manager(max_sessions=1)
    behind = make_manager(max_sessions=1, clock=lambda: clock() - 100)

    async def enter(request: web.Request) -> web.Response:
        await get_session(request).bind("ada")
        return web.Response()

    client = await serve(behind, enter)
    async with ahead:
        session = await sign_in(ahead)
        response = await client.get("/")
        assert response.status == 409
        assert identifier_in(response.headers) is None
        assert await living(ahead) == [session.handle]


@pytest.mark.parametrize("operation", ["find", "update", "destroy"])
async def test_failure_while_the_oldest_are_ended(make_manager, store, clock, operation):
    """The user is signed in; what is too many for now ends with the next sign-in."""
    manager = make_manager(max_sessions=1)
    async with manager:
        await sign_in(manager)
        clock.advance(1)
        session = session_of(arrive(manager, ()))
        store.fail(operation)
        with pytest.raises(AdapterError, match=operation):
            await session.bind("ada")
        store.work()
        assert (await again(manager, session.identifier)).owner == "ada"
        clock.advance(1)
        last = await sign_in(manager)
        assert await living(manager) == [last.handle]


# One that is too many is refused.


async def enter(request: web.Request) -> web.Response:
    """Sign in."""
    await get_session(request).bind("ada", level="password", expiration=30 * DAY, persistent=True)
    return web.Response()


async def test_one_too_many_is_refused(serve, make_manager, store):
    """409, no cookie, nothing written: the visitor's session goes on as it was."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    client = await serve(manager, enter, **PATHS)
    await sign_in(manager)
    identifier = identifier_in((await client.get("/write?n=1")).headers)
    store.calls.clear()
    response = await client.get("/", headers=sending(identifier))
    assert response.status == 409
    assert "sign out" in await response.text()
    assert identifier_in(response.headers) is None
    assert store.counted == {"load": 1, "find": 1}
    assert await (await client.get("/read", headers=sending(identifier))).json() == {"n": 1}
    assert len(await living(manager)) == 1


async def test_refusal_starts_nothing(make_manager):
    """Who came without a session has none."""
    manager = make_manager(max_sessions=2, when_full="refuse")
    async with manager:
        first, _ = await sign_in(manager), await sign_in(manager)
        session = session_of(arrive(manager, ()))
        with pytest.raises(TooManySessionsError, match="2 live sessions already") as caught:
            await session.bind("ada")
        assert caught.value.most == 2
        assert session.handle is None
        await first.destroy(regenerate=False)
        await session.bind("ada")
        assert session.owner == "ada"


async def test_refusal_keeps_the_previous_owners_session(make_manager):
    """Nobody is signed out by a sign-in that fails."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        await sign_in(manager)
        other = await sign_in(manager, owner="eve")
        session = await again(manager, other.identifier)
        with pytest.raises(TooManySessionsError, match="1 live session already"):
            await session.bind("ada")
        assert (await again(manager, other.identifier)).owner == "eve"


async def test_who_has_a_session_may_sign_in_with_it(make_manager):
    """It is no further one."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        first = await sign_in(manager)
        second = await sign_in(manager, first.identifier)
        assert await living(manager) == [second.handle]


@pytest.mark.parametrize("most", [1, 2])
async def test_parallel_sign_ins_that_may_be_refused(make_manager, store, clock, most):
    """All found room, and together are too many: each goes on without the owner, its values and times as they were."""
    managers = [make_manager(max_sessions=most, when_full="refuse") for _ in range(2)]
    recorder = Recorder(managers[0])
    async with managers[0], managers[1]:
        visitors = [await visitor(managers[0], n=number) for number in range(3)]
        began, ends = visitors[0].created_at, visitors[0].expires_at
        clock.advance(60)
        sessions = [await again(managers[n % 2], each.identifier) for n, each in enumerate(visitors)]
        together(store, "find", 3)
        results = await asyncio.gather(
            *(session.bind("ada", level="password", expiration=30 * DAY, device={"a": "b"}) for session in sessions),
            return_exceptions=True,
        )
        store.work()
        assert [type(result) for result in results] == [TooManySessionsError] * 3
        assert await living(managers[0]) == []
        for number, session in enumerate(sessions):
            seen = await again(managers[0], session.identifier)
            assert await seen.get("n") == number
            assert (seen.owner, seen.level, seen.device, seen.authenticated_at) == (None, None, None, None)
            assert (seen.created_at, seen.expires_at) == (began, ends)
            assert (await again(managers[0], visitors[number].identifier)).owner is None
    rotated = [event for event in recorder.events if event.name == "rotated"]
    assert [(event.reason, event.owner) for event in rotated] == [("bind", "ada"), ("limit", None)] * 2
    assert [event.previous for event in rotated[1::2]] == [event.handle for event in rotated[::2]]


@pytest.mark.parametrize("autostart", [False, True])
async def test_who_began_a_session_for_it_has_none(make_manager, store, autostart):
    """As before: what was only set is there, and starts a session of nobody's if the request goes on."""
    manager = make_manager(max_sessions=1, when_full="refuse", autostart=autostart)
    recorder = Recorder(manager)
    async with manager:
        at(store, "create", 1, lambda: sign_in(make_manager()))
        life = arrive(manager, ())
        session = session_of(life)
        await session.set("n", 1)
        with pytest.raises(TooManySessionsError):
            await session.bind("ada", expiration=None, level="password")
        assert (session.handle, session.owner, session.level) == (None, None, None)
        assert life.cookie.action.name == "KEEP"
        assert len(await living(manager)) == 1
        assert recorder.told == [("created", "bind"), ("destroyed", "limit")]
        await life.commit()
        seen = await again(manager, session.identifier)
        assert (seen.owner, await seen.get("n"), seen.is_new) == (None, 1, False)


@pytest.mark.parametrize("meanwhile", ["rotated", "bound again", "ended"])
async def test_who_loses_their_session_meanwhile_is_one_more(make_manager, store, clock, meanwhile):
    """A session that a late ``bind`` begins counts, also where the one before was the same owner's."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        first = await sign_in(manager)
        life = arrive(manager, (first.identifier,))
        session = session_of(life)
        await session.load()

        async def others() -> None:
            if meanwhile == "ended":
                await manager.revoke(first.handle)
                await sign_in(manager)
            else:
                other = await again(manager, first.identifier)
                await (other.rotate() if meanwhile == "rotated" else other.bind("ada"))

        at(store, "rotate", 1, others)
        with pytest.raises(TooManySessionsError):
            await session.bind("ada")
        assert len(await living(manager)) == 1
        # (promise 5) Nothing replaces the cookie of the one who was faster.
        assert (session.handle, life.cookie.action.name) == (None, "KEEP")
        with pytest.raises(SessionEndedError):
            session.identifier  # noqa: B018 - it raises


async def owners(manager: SessionManager, identifiers: Sequence[str | None]) -> list[str | None]:
    """Whose sessions identifiers lead to."""
    return [None if each is None else (await again(manager, each)).owner for each in identifiers]


@pytest.mark.parametrize("error", [OSError("the store is down"), asyncio.CancelledError()])
async def test_second_look_fails(make_manager, store, error):
    """Nobody knows whether it is one too many: the owner is given up again."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        identifier = (await visitor(manager, n=1)).identifier
        life = arrive(manager, (identifier,))
        session = session_of(life)

        async def fail() -> None:
            raise error

        at(store, "find", 2, fail)
        with pytest.raises(asyncio.CancelledError if isinstance(error, asyncio.CancelledError) else AdapterError):
            await session.bind("ada")
        assert await living(manager) == []
        assert life.cookie.action.name == "SEND"
        seen = await again(manager, session.identifier)
        assert (seen.owner, await seen.get("n")) == (None, 1)


@pytest.mark.parametrize("landed", [False, True])
async def test_owner_cannot_be_given_up(make_manager, store, landed):
    """Nobody is given the identifier of the one too many; a visitor's session, where it is one again, is not lost."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        identifier = (await visitor(manager, n=1)).identifier
        life = arrive(manager, (identifier,))
        session = session_of(life)
        count: Counter[str] = Counter()

        async def fail(operation: str) -> None:
            if count["rotate"] == 2 and (landed or operation == "rotate"):
                raise OSError("no answer")

        async def before(operation: str) -> None:
            count[operation] += 1
            if operation == "find" and count["find"] == 2:
                raise OSError("no answer")
            if not (landed and operation == "rotate"):
                await fail(operation)

        store.before = before
        if landed:
            store.after = fail
        with pytest.raises(AdapterError):
            await session.bind("ada")
        store.work()
        assert life.cookie.action.name == "KEEP"
        for use in (session.renew, session.rotate, session.save):
            with contextlib.suppress(SessionEndedError):
                await use()
        with pytest.raises(SessionEndedError):
            session.identifier  # noqa: B018 - it raises
        assert life.cookie.action.name == "KEEP"
        spare = life.cookie.spare
        assert spare is not None
        assert await owners(manager, [identifier, spare.identifier]) == [None, None]
        if landed:
            assert await (await again(manager, spare.identifier)).get("n") == 1


async def test_one_too_many_is_ended_while_it_is_given_up(make_manager, store):
    """It is gone, and its client is told."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        session = await again(manager, (await visitor(manager, n=1)).identifier)
        rotations = 0

        async def before(operation: str) -> None:
            nonlocal rotations
            rotations += operation == "rotate"
            if operation == "rotate" and rotations == 1:
                await sign_in(make_manager())
            elif rotations == 2:
                store.work()
                await manager.revoke_owner("ada")

        store.before = before
        with pytest.raises(SessionEndedError):
            await session.bind("ada")
        assert await living(manager) == []


async def test_begun_session_cannot_be_ended(make_manager, store):
    """Nobody is given its identifier."""
    manager = make_manager(max_sessions=1, when_full="refuse")
    async with manager:
        life = arrive(manager, ())
        session = session_of(life)
        at(store, "create", 1, lambda: sign_in(make_manager()))
        order = store.before

        async def before(operation: str) -> None:
            if operation == "create":
                await order(operation)
                store.fail("update")

        store.before = before
        with pytest.raises(AdapterError, match="update"):
            await session.bind("ada")
        assert (session.handle, life.cookie.writes) == (None, False)


async def test_no_limit_no_look(make_manager, store):
    """Without the option a sign-in makes one write, and no look for others (promise 6)."""
    manager = make_manager()
    async with manager:
        store.calls.clear()
        await sign_in(manager)
        assert store.counted == {"create": 1}


# What the manager is told.


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_bad_limits_are_refused(make_manager, value):
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="max_sessions must be a whole number above 0, or None"):
        make_manager(max_sessions=value)


@pytest.mark.parametrize("value", ["end-newest", None, True])
def test_bad_answers_to_a_full_house_are_refused(make_manager, value):
    """Likewise."""
    with pytest.raises(ValueError, match="when_full must be 'end-oldest' or 'refuse'"):
        make_manager(when_full=value)


def test_an_adapter_that_cannot_find_is_refused():
    """At once, with its name."""
    with pytest.raises(ValueError, match="MinimalAdapter cannot"):
        SessionManager(MinimalAdapter(), max_sessions=1)
    assert SessionManager(MinimalAdapter()).max_sessions is None


def test_limits_can_be_read_back(make_manager):
    """As every option (ASVS 7.1.1)."""
    manager = make_manager(max_sessions=3, when_full="refuse")
    assert (manager.max_sessions, manager.when_full) == (3, "refuse")
    assert (make_manager().max_sessions, make_manager().when_full) == (None, "end-oldest")
