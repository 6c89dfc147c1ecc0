"""The scheduler of the explorer: every store call of every actor waits until it is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar

from ...adapter import SessionAdapter
from ...adapters.hints import Hints
from ...record import SessionRecord

__all__ = ["ACTOR", "Call", "Gate", "Lost", "Scheduler"]

T = TypeVar("T")

Lost = Literal["", "before", "after"]
"""Whether the answer of an actor's first rotation is lost, and if so, before or after it took effect."""

ACTOR: ContextVar[str] = ContextVar("actor", default="")
"""Which actor the running task is; the calls of a task that is none are not held up."""

_QUIET_TURNS = 8
"""So many turns of the loop an actor may take from one store call to the next, or to the wait for another actor."""


@dataclass(frozen=True, slots=True)
class Call:
    """A store call that came back, in the order in which the store carried them out."""

    actor: str
    method: str
    handle: str
    outcome: object
    """What it returned; the exception that it raised."""
    now: float
    """The time, in Unix seconds, when it was carried out."""
    record: SessionRecord | None = None
    new: str = ""
    inner: bool = False
    """Whether it is a part of another call, which the base class makes of it."""


class Scheduler:
    """Lets exactly one store call go at a time, and asks ``choose`` which.

    :param choose: gets the actors that wait at the gate, sorted, and returns the position of one of them.
    """

    def __init__(self, choose: Callable[[Sequence[str]], int]) -> None:
        self._choose = choose
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}  # an actor may have several tasks
        self._unfinished: set[str] = set()
        self._busy: asyncio.Future[None] | None = None
        self._moves = 0

    async def pass_gate(self, actor: str, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for this actor's turn, then carry the call out."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(actor, []).append(turn)
        self._moves += 1
        try:
            await turn
        except asyncio.CancelledError:
            self._forget(actor, turn)
            raise
        try:
            return await call()
        finally:
            if self._busy is not None and not self._busy.done():
                self._busy.set_result(None)

    def _forget(self, actor: str, turn: asyncio.Future[None]) -> None:
        """Take back who was cancelled at the gate."""
        left = [other for other in self._waiting.pop(actor, []) if other is not turn]
        if left:
            self._waiting[actor] = left
        self._moves += 1

    async def run(
        self, actors: Mapping[str, Callable[[], Awaitable[T]]], idle: Callable[[], bool] = lambda: False
    ) -> dict[str, T]:
        """Run the actors to their ends; return what they returned. ``RuntimeError`` where they wait for each other.

        :param idle: called where none is at the gate; returns whether it did something that lets one go on.
        """
        self._unfinished = set(actors)
        tasks = {name: asyncio.create_task(self._act(name, act)) for name, act in actors.items()}
        try:
            while await self._settle():
                if self._waiting:
                    await self._let_go()
                elif not idle():
                    raise RuntimeError(f"these wait for each other, or for something else: {sorted(self._unfinished)}")
            return {name: await task for name, task in tasks.items()}
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _act(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        ACTOR.set(name)
        try:
            return await act()
        finally:
            self._unfinished.discard(name)
            self._moves += 1

    async def _let_go(self) -> None:
        names = sorted(self._waiting)
        actor = names[self._choose(names)]
        turn = self._waiting[actor].pop(0)
        if not self._waiting[actor]:
            del self._waiting[actor]
        if turn.cancelled():  # a moment ago: it does not know yet
            return
        self._busy = asyncio.get_running_loop().create_future()
        turn.set_result(None)
        await self._busy

    async def _settle(self) -> bool:
        """Wait until every actor is at the gate, has ended, or waits for another one; return whether any goes on."""
        seen, quiet = self._moves, 0
        while quiet < _QUIET_TURNS and len(self._waiting) < len(self._unfinished):
            await asyncio.sleep(0)
            seen, quiet = (seen, quiet + 1) if seen == self._moves else (self._moves, 0)
        return bool(self._unfinished)


class Gate(SessionAdapter):
    """An adapter in front of another one: each call is a step of the scheduler.

    The adapter reads the time of the process whose call it carries out: ``clocks`` has those of the actors. Answers
    that are in ``lost`` do not arrive: they are a ``TimeoutError``.

    A method that the adapter leaves to its base class is broken up into the calls which the base class makes of it,
    for these are what other requests can come between.
    """

    def __init__(self, adapter: SessionAdapter) -> None:
        super().__init__(expiration=adapter.expiration)
        self._adapter = adapter
        self.scheduler: Scheduler | None = None
        self.calls: list[Call] = []
        self.clocks: dict[str, Callable[[], float]] = {}
        self.lost: dict[str, Lost] = {}
        self.watching = ""
        """The actor whose calls those are that a manager makes by itself, to see what became of watched sessions."""
        self._hints = Hints()
        self._composing: set[str] = set()

    async def load(self, handle: str) -> SessionRecord | None:
        return await self._step("load", handle, lambda: self._adapter.load(handle))

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self._step("create", handle, lambda: self._adapter.create(handle, record), record)

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self._step("update", handle, lambda: self._adapter.update(handle, record), record)

    async def destroy(self, handle: str) -> bool:
        return await self._step("destroy", handle, lambda: self._adapter.destroy(handle))

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        if type(self._adapter).renew is SessionAdapter.renew:
            return await self._compose("renew", handle, super().renew(handle, expires_at))
        return await self._step("renew", handle, lambda: self._adapter.renew(handle, expires_at))

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        if type(self._adapter).rotate is SessionAdapter.rotate:
            return await self._compose("rotate", old, super().rotate(old, new, record, retired), record, new)
        return await self._step("rotate", old, lambda: self._adapter.rotate(old, new, record, retired), record, new)

    @property
    def rotates_at_once(self) -> bool:
        return self._adapter.rotates_at_once

    @property
    def finds_owners(self) -> bool:
        return self._adapter.finds_owners

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._step("find", "", lambda: self._adapter.find(owner))

    def hints(self) -> AsyncIterator[str | None]:
        return self._hints.listen()

    def look_again(self) -> None:
        """Let all who watch sessions look at them, as they do from time to time."""
        self._hints.connected()

    async def _step(
        self,
        method: str,
        handle: str,
        call: Callable[[], Awaitable[T]],
        record: SessionRecord | None = None,
        new: str = "",
    ) -> T:
        """Make a call when it is its turn, and note what came of it."""
        actor = ACTOR.get() or self.watching
        composing = actor in self._composing
        lost: Lost = self.lost.pop(actor, "") if method == ("update" if composing else "rotate") else ""

        async def carry_out() -> T:
            outcome: object = None
            self._adapter.clock = self.clocks.get(actor, self.clock)
            try:
                if lost == "before":
                    raise TimeoutError
                result = await call()
                outcome = result
                if method in ("destroy", "rotate") or (record is not None and record.retired):
                    self._hints.tell(handle)
            except Exception as error:
                outcome = error
                raise
            finally:
                self._note(Call(actor, method, handle, outcome, self.clock(), record, new, composing))
            if lost:
                raise TimeoutError
            return result

        if not actor or self.scheduler is None:
            return await carry_out()
        return await self.scheduler.pass_gate(actor, carry_out)

    async def _compose(
        self, method: str, handle: str, steps: Awaitable[T], record: SessionRecord | None = None, new: str = ""
    ) -> T:
        actor = ACTOR.get()
        self._composing.add(actor)
        begun = len(self.calls)
        try:
            result = await steps
        except TimeoutError:
            landed = any(
                call.inner and call.actor == actor and call.method == "update" and call.outcome is True
                for call in self.calls[begun:]
            )
            if landed:
                self._note(Call(actor, method, handle, True, self.clock(), record, new))
            raise
        finally:
            self._composing.discard(actor)
        self._note(Call(actor, method, handle, result, self.clock(), record, new))
        return result

    def _note(self, call: Call) -> None:
        self.calls.append(call)
