"""Every order of the store calls keeps the promises where a device registers, proves its key, or cookies are stolen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionAdapter,
    SessionEndedError,
    SessionManager,
    SQLiteSessionAdapter,
)
from aiohttp_spry_session.dbsc.binding import Binding, TakenError, read_binding
from aiohttp_spry_session.dbsc.keys import ProofError
from aiohttp_spry_session.dbsc.sessions import UnsettledError
from aiohttp_spry_session.dbsc.stored import StoredSessions
from aiohttp_spry_session.facts import Facts
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.testing.explorer import OPERATIONS, Explorer, Operation
from aiohttp_spry_session.testing.explorer.gate import ACTOR
from aiohttp_spry_session.testing.explorer.operations import Scene
from aiohttp_spry_session.testing.explorer.stage import Stage

from ..minimal import MinimalAdapter

pytestmark = pytest.mark.no_cover

SECRET, KEY = bytes(32), ("ES256", b"{}")
OTHERS = ["read", "set", "increment", "rolling", "rotate", "rotate with grace", "bind", "destroy", "revoke", "expiry"]
STOLEN = ("set", "increment", "renew", "rolling", "rotate", "destroy", "destroy for good")

accepted: list[str] = []
"""What was accepted in the schedule at hand."""
stage: Any = None


def register(facts: Facts) -> Facts:
    """As the endpoint: the first takes it."""
    if facts.binding is not None:
        raise TakenError
    return replace(facts, binding=Binding(SECRET, 1, KEY).packed(), bound_at=1.0)


def refresh(facts: Facts) -> Facts:
    """As the endpoint, of a proof whose challenge was made before any other was accepted."""
    binding = Binding(SECRET) if facts.binding is None else read_binding(facts.binding)
    if binding.counter:
        raise ProofError("used")
    return replace(facts, binding=replace(binding, counter=1).packed())


def endpoint(change: Callable[[Facts], Facts]) -> Callable[[Scene], Any]:
    """What is done to the session that the actor presents."""

    async def run(scene: Scene) -> str:
        try:
            session = await StoredSessions(scene.manager).find([stage._answers[scene.actor].presented])
            if session is None:
                return "ended"
            await session.change(change)
        except (UnsettledError, SessionEndedError, TakenError, ProofError) as error:
            return type(error).__name__
        accepted.append(scene.actor)
        return "accepted"

    return run


class Thief:
    """On top of a request without a bound cookie: what it finds is refused."""

    def arrived(self, state: SessionState, now: float) -> None:
        state.refuse("unproven")

    def offer(self, state: SessionState) -> None:
        """It signs in nowhere."""

    def leaving(self, state: SessionState, headers: MutableMapping[str, str]) -> None:
        """It gets nothing."""


@pytest.fixture(autouse=True)
def operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teach the explorer three more."""
    for name, change in (("register", register), ("refresh", refresh)):
        operation = Operation(name, outside=endpoint(change), changes=False, counts=True)
        monkeypatch.setitem(OPERATIONS, name, operation)
    for name in STOLEN:
        stolen = dataclasses.replace(OPERATIONS[name], name=f"steal, {name}", counts=True)
        monkeypatch.setitem(OPERATIONS, stolen.name, stolen)
    make = Stage._manager

    def make_with_thieves(self: Stage, *args: Any, **options: Any) -> SessionManager:
        global stage
        stage = self
        manager = make(self, *args, **options)

        def companion(request: Any) -> Thief | None:
            answer = self._answers.get(ACTOR.get())
            return Thief() if answer is not None and answer.operation.name.startswith("steal") else None

        requests_of(manager).companions = companion  # type: ignore[assignment]
        return manager

    monkeypatch.setattr(Stage, "_manager", make_with_thieves)


class BindingExplorer(Explorer):
    """Checks after each order what was accepted."""

    async def _run(self, names: Any, choose: Any) -> Any:
        accepted.clear()
        choices = await super()._run(names, choose)
        assert len(accepted) <= 1
        if not any(OPERATIONS[name].ends or OPERATIONS[name].moves or name == "expiry" for name in names):
            assert accepted
        for answer in stage._answers.values():
            if answer.operation.name.startswith("steal"):
                assert answer.cookie in (None, "") or answer.operation.ends
                assert answer.operation.ends or answer.was_told("unproven")
        return choices


@pytest.mark.parametrize("settings", [{}, {"processes": 2}, {"start": "grace"}, {"lazy": True}], ids=str)
@pytest.mark.parametrize("proof", ["register", "refresh"])
async def test_a_proof_beside_everything(proof: str, settings: dict[str, Any]) -> None:
    """It is accepted once, loses nobody's write, and brings nothing back."""
    explorer = BindingExplorer(MemorySessionAdapter(), **settings)
    for other in [*OTHERS, proof]:
        assert await explorer.explore(proof, other)


@pytest.mark.parametrize("adapter", [MemorySessionAdapter, MinimalAdapter])
async def test_three_proofs(adapter: type[SessionAdapter]) -> None:
    """Of the same challenge one is accepted, also beside a write."""
    explorer = BindingExplorer(adapter())
    for names in (("register",) * 3, ("refresh",) * 3, ("refresh", "refresh", "set")):
        assert await explorer.explore(*names, limit=400)
        await explorer.sample(*names, orders=60)


async def test_on_a_file(tmp_path: Any) -> None:
    """Over two processes that share nothing but the store."""
    adapter = SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF")
    await adapter.open()
    try:
        explorer = BindingExplorer(adapter, processes=2)
        for other in ("register", "set", "rotate", "destroy"):
            await explorer.sample("register", other, orders=15)
    finally:
        await adapter.close()


@pytest.mark.parametrize("stolen", STOLEN)
async def test_a_theft_beside_everything(stolen: str) -> None:
    """What a thief does reaches nothing but an end, and clobbers no cookie."""
    explorer = Explorer(MemorySessionAdapter())
    for other in OTHERS:
        assert await explorer.explore(f"steal, {stolen}", other)


async def test_the_thief_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does anything fail."""
    explorer = BindingExplorer(MemorySessionAdapter())
    await explorer.explore("steal, set", "register")
    assert caplog.text == ""
