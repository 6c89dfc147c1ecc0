"""Every order of the calls of both stores: requests with one old cookie, beside logouts, rotations and revocations."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement, product
from typing import Any

import pytest
from aiohttp import hdrs, web
from msgspec.structs import replace
from redis.asyncio import Redis

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionAdapter,
    SessionManager,
    SessionRecord,
    arrivals,
    get_session,
    setup,
)
from aiohttp_spry_session.arrivals import claims, visitors
from aiohttp_spry_session.arrivals.old import OldSession
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.explorer.explorer import _follow, _next
from aiohttp_spry_session.testing.explorer.gate import ACTOR, Gate, Scheduler
from aiohttp_spry_session.testing.explorer.requests import bare_request

from ..minimal import MinimalAdapter
from .conftest import OLD

VALUE = "0123456789abcdef"
WHAT = ("read", "write", "rotate", "bind", "destroy", "revoke owner", "revoke")
PAIRS = list(combinations_with_replacement(WHAT, 2))
Choose = Callable[[Sequence[str]], int]


class OldStore(arrivals.AiohttpSessionRedis):
    """An old storage whose calls wait for their turns; it may be one that nobody can remove anything from."""

    def __init__(self, world: World, *, removes: bool) -> None:
        super().__init__(Redis(), owner="user")
        self.removes = removes  # type: ignore[misc]
        self.world = world
        self.there = True

    async def find(self, value: str, now: float) -> OldSession | None:
        async def look() -> bool:
            return self.there and value == VALUE

        scheduler = self.world.gate.scheduler
        found = await (look() if scheduler is None else scheduler.pass_gate(ACTOR.get(), look))
        return OldSession(VALUE, int(now), {"user": "ada", "canary": "alive"}, None) if found else None

    async def remove(self, value: str) -> None:
        async def go() -> None:
            self.there = not self.removes

        assert self.world.gate.scheduler is not None
        await self.world.gate.scheduler.pass_gate(ACTOR.get(), go)


class World:
    """A site with an old cookie that nobody has used yet."""

    def __init__(self, adapter: SessionAdapter, *, removes: bool, lazy: bool = False) -> None:
        self.gate = Gate(adapter)
        self.clock = FakeClock()
        adapter.clock = self.gate.clock = self.clock
        self.manager = SessionManager(self.gate, clock=self.clock, timeout=None, lazy=lazy)
        self.app = web.Application()
        setup(self.app, self.manager)
        arrivals.setup(self.app, self.manager, OldStore(self, removes=removes))
        self.created: list[str] = []
        self.manager.on_created.append(self._note)
        self.ended: set[str] = set()
        """Who ended the session, and has come back."""
        self.answers: dict[str, Any] = {}

    async def _note(self, event: Any) -> None:
        if event.reason == "arrived":
            self.created.append(event.handle)

    async def request(self, what: str) -> tuple[Any, str | None]:
        """Send a request with the old cookie; return what it saw, and the cookie that it was given."""
        seen: Any = None

        async def handler(request: web.Request) -> web.Response:
            nonlocal seen
            session = get_session(request)
            seen = await session.get("canary")
            if what == "write" and seen:
                await session.set("canary", seen)
                await session.set("written", 1)
            elif what == "rotate" and seen:
                await session.rotate()
            elif what == "bind":
                await session.bind("ada")
            elif what == "destroy":
                await session.destroy(regenerate=False)
            return web.Response()

        request = bare_request({hdrs.COOKIE: f"{OLD}={VALUE}"})
        response: web.StreamResponse
        try:
            response = await self.app.middlewares[0](request, handler)
            await self.app.on_response_prepare[0](request, response)
        except web.HTTPConflict as raised:
            response = raised
        cookies = [header for header in response.headers.getall("Set-Cookie", ()) if header.startswith("SPRY")]
        return seen, cookies[0].partition("=")[2].partition(";")[0] if cookies else None

    async def act(self, name: str, what: str) -> None:
        """Do one thing, from its beginning, which others may come before, to its end."""
        assert self.gate.scheduler is not None
        await self.gate.scheduler.pass_gate(name, _nothing)
        before = set(self.ended)
        if what == "revoke owner":
            if self.gate.finds_owners:
                await self.manager.revoke_owner("ada")
        elif what == "revoke":
            for handle in self.created[:]:
                await self.manager.revoke(handle)
        else:
            self.answers[name] = await self.request(what)
            seen, _ = self.answers[name]
            assert not (before and seen), f"{name}: an ended session is back"
        if what == "destroy":
            self.ended.add(name)


async def _nothing() -> None:
    """Wait for the turn alone."""


async def play(adapter: SessionAdapter, what: Sequence[str], choose: Choose, **options: Any) -> list[tuple[int, int]]:
    """Let actors do this in one order, and hold what comes of it to the laws."""
    world = World(adapter, **options)
    choices: list[tuple[int, int]] = []
    told = ""

    def note(waiting: Sequence[str]) -> int:
        nonlocal told
        choices.append((choose(waiting), len(waiting)))
        told += waiting[choices[-1][0]]
        return choices[-1][0]

    world.gate.scheduler = Scheduler(note)
    acts = {name: lambda name=name, does=does: world.act(name, does) for name, does in zip("abcd", what, strict=False)}
    try:
        await world.gate.scheduler.run(acts)
        world.gate.scheduler = None
        await check(world, what)
    except AssertionError as error:
        raise AssertionError(f"{what} {told}: {error}") from error
    finally:
        world.gate.scheduler = None
        for call in world.gate.calls:
            for handle in (call.handle, call.new):
                await adapter.destroy(handle)
    return choices


async def check(world: World, what: Sequence[str]) -> None:
    """When all are through."""
    assert len(world.created) == 1, f"it arrived {len(world.created)} times"
    seen, _ = await world.request("read")
    cookies = {cookie for _, cookie in world.answers.values() if cookie}
    if world.ended:
        assert seen is None, "the old cookie brings it back"
        assert "bind" in what or await live(world) == 0, "an ended session lives"
    elif set(what) <= {"read", "write"}:
        assert [given[0] for given in world.answers.values()] == ["alive"] * len(what), "not all were let in"
        assert len(cookies) == 1
        assert seen == "alive"
    if "bind" not in what:
        assert await live(world) <= 1, "one cookie is two sessions"


async def live(world: World) -> int:
    """How many live sessions the store has."""
    handles = {handle for call in world.gate.calls for handle in (call.handle, call.new) if handle}
    records = [await world.gate._adapter.load(handle) for handle in handles]
    return len([record for record in records if record is not None and not record.retired])


async def every_order(adapter: SessionAdapter, what: Sequence[str], limit: int, **options: Any) -> int:
    """Try orders depth first; return how many there were."""
    tried = 0
    schedule: list[int] | None = []
    while schedule is not None and tried < limit:
        schedule = _next(await play(adapter, what, _follow(schedule), **options))
        tried += 1
    return tried


async def some_orders(adapter: SessionAdapter, what: Sequence[str], number: int, **options: Any) -> None:
    """Try random orders."""
    generator = random.Random(repr(what))
    for _ in range(number):
        # One that is slow at a time: that is what a late arrival needs.
        weights = {name: generator.choice((1, 1, 20)) for name in "abcd"}

        def choose(waiting: Sequence[str], weights: dict[str, int] = weights) -> int:
            return generator.choices(range(len(waiting)), [weights[name] for name in waiting])[0]

        await play(adapter, what, choose, **options)


def requests_only(what: Sequence[str]) -> bool:
    """Whether somebody arrives."""
    return any(not one.startswith("revoke") for one in what)


@pytest.mark.parametrize("removes", [True, False], ids=["removes", "stays"])
@pytest.mark.parametrize("what", [pair for pair in PAIRS if requests_only(pair)], ids="-".join)
async def test_every_order_of_two(what: tuple[str, str], removes: bool) -> None:
    """One session arrives; what was ended, or rotated away, does not come back by the old cookie."""
    await every_order(MemorySessionAdapter(), what, 60, removes=removes)
    await some_orders(MemorySessionAdapter(), what, 30, removes=removes)


@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
async def test_orders_of_four(adapter: type[SessionAdapter], lazy: bool) -> None:
    """Likewise, where one of them is late."""
    for what in [
        ("read", "read", "read", "read"),
        ("read", "read", "destroy", "read"),
        ("read", "destroy", "destroy", "write"),
        ("read", "rotate", "destroy", "read"),
        ("read", "bind", "destroy", "read"),
        ("write", "revoke", "destroy", "read"),
    ]:
        for removes in (True, False):
            await some_orders(adapter(), what, 30, removes=removes, lazy=lazy)


async def late_ones(adapter: SessionAdapter, **options: Any) -> None:
    """One begins to arrive, and waits somewhere; another logs out meanwhile; while a third looks the first goes on."""
    for before, looked, steps in product(range(1, 9), range(7), range(1, 4)):
        phases = [*"a" * before, *"b" * 99, *"c" * looked, *"a" * steps, *"c" * 99]

        def choose(waiting: Sequence[str], phases: list[str] = phases) -> int:
            while phases and phases[0] not in waiting:
                phases.pop(0)
            return waiting.index(phases.pop(0)) if phases else 0

        await play(adapter, ("read", "destroy", "read"), choose, **options)


@pytest.mark.parametrize("removes", [True, False], ids=["removes", "stays"])
@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
async def test_a_late_arrival(adapter: type[SessionAdapter], removes: bool) -> None:
    """Wherever it waits, it brings nothing back, for no moment."""
    await late_ones(adapter(), removes=removes)


async def claim_first(self: visitors.Visitor, value: str, sources: Any, store: Any, clock: Any) -> Any:
    """Look at the claim, and then ask the old storage."""
    claim = await store.load(claims.claim_of(value))
    if claim is not None and claim.retired:
        return claims.arrived_as(claim, value)
    session = await self._visitors.find(sources[0], value, clock())
    return None if session is None else visitors.Candidate(session, sources[0], claim)


def over_at_once(salt: bytes, now: float, ends_at: float | None) -> SessionRecord:
    """A claim that does not last."""
    return replace(claims.done(salt, now, ends_at), expires_at=now)


async def play_much() -> None:
    """Play what a bug shows in."""
    for adapter in (MemorySessionAdapter(), MinimalAdapter()):
        for what in ("read", "read", "read"), ("read", "destroy", "read"), ("read", "read", "destroy", "read"):
            await some_orders(adapter, what, 100, removes=True)
        await late_ones(adapter, removes=True)


BUGS: dict[str, tuple[Any, str, Any]] = {
    "the claim asked first": (visitors.Visitor, "_look", claim_first),
    "claims that do not last": (visitors, "done", over_at_once),
    "claims that are not found": (visitors, "claim_of", lambda value: secrets.token_hex(32)),
    "no salt": (visitors, "new_salt", bytes),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these has an order that breaks a law."""
    monkeypatch.setattr(*BUGS[bug])
    with pytest.raises((AssertionError, web.HTTPServiceUnavailable)):
        await play_much()


@pytest.mark.long
@pytest.mark.parametrize("what", [pair for pair in PAIRS if requests_only(pair)], ids="-".join)
@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
async def test_really_every_order_of_two(adapter: type[SessionAdapter], what: tuple[str, str]) -> None:
    """All of them, or 1,000, and others with one more."""
    for removes in (True, False):
        await every_order(adapter(), what, 1000, removes=removes)
        await some_orders(adapter(), ("read", *what), 100, removes=removes)
