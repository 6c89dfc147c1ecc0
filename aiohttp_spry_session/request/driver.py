"""Everything that is awaited of a request's session: the machine's next step, done on the newest stored state.

One driver serves all requests of a manager, and has no state of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from ..cookies import is_cookie_value
from ..events import Events, logger
from ..exceptions import AdapterError, ConflictError, SessionEndedError, SessionError
from ..identifiers import IdentifierSource, handle_of
from ..policy import Policy
from ..store.guard import GuardedStore
from ..store.trails import MAX_ATTEMPTS, Trails
from .arrival import Sighting
from .state import ABSENT, RETIRED, UNLOADED, LostError, News, SessionState, Status
from .steps import Step
from .view import merged

__all__ = ["Change", "Driver", "check_loaded", "report_corrupt"]

P = ParamSpec("P")
T = TypeVar("T")

Change = Callable[[bytes | None], bytes | None]
"""Computes a key's new value from its newest one; ``None`` is a missing key."""

_MAX_IDENTIFIERS = 8


class Driver:
    """Carries out what the sessions of a manager's requests decide.

    Every method may be awaited from several tasks of one request: they take turns.
    """

    def __init__(
        self,
        store: GuardedStore,
        trails: Trails,
        policy: Policy,
        identifiers: IdentifierSource,
        events: Events,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._trails = trails
        self._policy = policy
        self._identifiers = identifiers
        self._events = events
        self._clock = clock
        self.begin: Callable[[Sequence[str]], SessionState] = partial(SessionState, policy, identifiers)
        """Returns the session of a request that presented these identifiers."""

    async def look_up(self, state: SessionState) -> None:
        """Ask the store for what the client presented: before the handler runs, while nobody else uses the session."""
        await self._look_up(state)
        if state.news:
            await self._tell(state)

    async def _look_up(self, state: SessionState) -> None:
        sightings: list[Sighting] = []
        for identifier in state.presented:
            handle = asked = handle_of(identifier)
            if not is_cookie_value(identifier):
                state.news.append(News("rejected", asked, None, "malformed"))
                continue
            record = await self._store.load(asked)
            if record is not None and record.retired:
                handle, record = await self._trails.follow(asked, record)
            sightings.append(Sighting(identifier, asked, handle, record))
        state.arrive(sightings, self._clock())
        if state.place is None:
            await self._prepare_identifier(state)

    async def load(self, state: SessionState) -> None:
        """Ask the store for what the client presented, unless its answer is known already."""
        if state.status is UNLOADED:
            await self._in_turn(state, self._load)

    async def commit(self, state: SessionState) -> None:
        """Store what is pending; where the session is gone, drop it (``on_rejected`` tells)."""
        try:
            await self._in_turn(state, self._save)
        except SessionEndedError:
            state.discard()

    async def save(self, state: SessionState) -> None:
        """Store what is pending; ``SessionEndedError`` where the session is gone."""
        await self._in_turn(state, self._save)

    async def mutate(self, state: SessionState, key: str, change: Change) -> bytes | None:
        """Change one key atomically in the store, with everything that is pending; return its new value."""
        return await self._in_turn(state, self._mutate, key, change)

    async def take(self, state: SessionState, key: str) -> bytes | None:
        """Remove one key atomically in the store and return its value; of several that try exactly one gets it."""
        if await self._in_turn(state, self._is_missing, key):
            return None
        taken: bytes | None = None

        def remove(value: bytes | None) -> None:
            nonlocal taken
            taken = value

        await self.mutate(state, key, remove)
        return taken

    async def reload(self, state: SessionState) -> None:
        """Take over the newest stored state; ``SessionEndedError`` where the session is gone."""
        await self._in_turn(state, self._reload)

    async def rotate(self, state: SessionState, *, grace: float) -> None:
        """Give the session a new identifier; the old one is dead, or will be in ``grace`` seconds."""
        await self._in_turn(state, self._change_identifier, "rotate", grace=grace)

    async def bind(self, state: SessionState, owner: str) -> None:
        """Give the session an owner, a new identifier and a new beginning."""
        await self._in_turn(state, self._change_identifier, "bind", owner=owner)

    async def destroy(self, state: SessionState, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        await self._in_turn(state, self._destroy, regenerate=regenerate)

    # One task of a request at a time.

    async def _in_turn(
        self,
        state: SessionState,
        work: Callable[Concatenate[SessionState, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do what only one task of the request may do at a time; signals are sent when it is done.

        Where the session is gone, drop what is pending, tell, and raise ``SessionEndedError``.
        """
        if state.busy:
            await self._wait_for_turn(state)
        state.busy = True
        try:
            return await work(state, *args, **kwargs)
        except LostError as lost:
            state.lost(lost.reason)
            raise SessionEndedError(lost.reason) from None
        finally:
            state.busy = False
            if isinstance(state.freed, asyncio.Event):
                state.freed.set()
            if state.news:
                await self._tell(state)

    async def _wait_for_turn(self, state: SessionState) -> None:
        while state.busy:
            if not isinstance(state.freed, asyncio.Event):
                state.freed = asyncio.Event()
            state.freed.clear()
            await state.freed.wait()

    async def _tell(self, state: SessionState) -> None:
        """Send the signals. No turn is held meanwhile, so a receiver may use the session itself."""
        news, state.news = state.news, []
        for name, handle, owner, reason in news:
            if reason == "corrupt":
                report_corrupt(handle)
            await self._events.emit(name, handle, owner, reason=reason)

    # Landing.

    async def _land(self, state: SessionState, plan: Callable[[], Step | None]) -> None:
        """Store what the machine plans, on the newest stored state (promise 2).

        It is tried on what the request knows. Where another one was faster, the newest state is fetched, the plan made
        again on that, and tried again; those of this process that met so take turns.
        """
        step = plan()
        if step is None:
            return
        if step.handle in self._store.turns or not await step.send(self._store):
            async with self._store.turns.take(step.handle):
                step = await self._land_at_last(state, plan)
        if step is not None:
            state.landed(step)

    async def _land_at_last(self, state: SessionState, plan: Callable[[], Step | None]) -> Step | None:
        for _ in range(MAX_ATTEMPTS):
            await self._refresh(state)
            step = plan()
            if step is None or await step.send(self._store):
                return step
        raise ConflictError("other requests kept changing the session: nothing was stored")

    async def _refresh(self, state: SessionState) -> None:
        handle, record = await self._trails.resolve(state.handle)
        state.refreshed(handle, record, self._clock())

    async def _create(self, state: SessionState, plan: Callable[[], Step | None]) -> None:
        """Start a session, under an identifier that is free."""
        for _ in range(_MAX_IDENTIFIERS):
            if state.prospective is None:
                state.exchange(await self._identifiers.new())
            step = plan()
            if step is None:
                return
            if await step.send(self._store):
                state.landed(step)
                return
            if state.handed_out:
                raise SessionError("the new session's identifier is in use already: nothing was stored")
            state.exchange(None)
        raise SessionError("identifier_generator keeps returning identifiers that are in use")

    # Operations; each has its turn.

    async def _load(self, state: SessionState) -> None:
        if state.status is UNLOADED:  # no other task of the request was faster
            await self._look_up(state)
            state.failure = None

    async def _save(self, state: SessionState) -> None:
        if state.status is ABSENT:
            if state.is_pending(self._clock()):
                await self._create(state, lambda: state.next_step(self._clock()))
        else:
            await self._land(state, lambda: state.next_step(self._clock()))

    async def _mutate(self, state: SessionState, key: str, change: Change) -> bytes | None:
        outcome: bytes | None = None

        def compute(values: dict[str, bytes]) -> dict[str, bytes]:
            nonlocal outcome
            outcome = change(values.get(key))
            return merged(values, {key: outcome})

        way = self._create if state.status is ABSENT else self._land
        await way(state, lambda: state.next_step(self._clock(), compute))
        return outcome

    async def _is_missing(self, state: SessionState, key: str) -> bool:
        if not state.is_missing(key, self._clock()):
            return False
        # Another request may have set it since this one looked; another look is cheaper than a write.
        await self._refresh(state)
        return key not in state.view.values

    async def _reload(self, state: SessionState) -> None:
        if state.status is Status.ENDED:
            raise SessionEndedError("ended")
        if state.status is Status.LIVE:
            await self._refresh(state)

    async def _destroy(self, state: SessionState, *, regenerate: bool) -> None:
        if regenerate:
            state.check_cookie_possible()
        handles = dict.fromkeys([*state.known, *(() if state.place is None else (state.place.handle,))])
        existed = bool(handles) or state.is_pending(self._clock())
        for handle in handles:
            ended = await self._trails.end(handle)
            if ended is not None:
                state.news.append(News("destroyed", ended.handle, ended.owner, "destroy"))
        state.ended()
        await self._prepare_identifier(state)
        if regenerate and existed:
            await self._create(state, lambda: state.create(self._clock(), reason="destroy"))

    async def _change_identifier(
        self, state: SessionState, reason: str, *, grace: float = 0.0, owner: str | None = None
    ) -> None:
        state.check_cookie_possible()
        if state.status is RETIRED or state.status is ABSENT:
            await self._begin_anew(state, owner, "started" if owner is None else reason)
            return
        arrived_late = state.place is not None and state.place.follows
        # Within its grace an identifier has been rotated by the clock already, and goes on working.
        if not (grace and arrived_late):
            identifier = await self._identifiers.new()
            await self._land(
                state,
                lambda: state.next_move(
                    self._clock(), identifier, grace=grace, owner=owner, reason=reason, arrived_late=arrived_late
                ),
            )
        if state.view.changes:
            await self._land(state, lambda: state.next_step(self._clock()))

    async def _begin_anew(self, state: SessionState, owner: str | None, reason: str) -> None:
        arrived, state.status = state.status, ABSENT
        try:
            state.exchange(await self._identifiers.new())
            await self._create(state, lambda: state.create(self._clock(), owner=owner, reason=reason))
        finally:
            if state.status is ABSENT:  # it failed, and a plain write must not start what this did not (promise 5)
                state.status = arrived

    async def _prepare_identifier(self, state: SessionState) -> None:
        # Properties cannot await an asynchronous generator, so what they may need is made beforehand.
        if not self._identifiers.synchronous:
            state.exchange(await self._identifiers.new())


def check_loaded(state: SessionState) -> None:
    """Raise ``AdapterError`` where the look-up before the handler failed (promise 9)."""
    if state.failure is not None:
        raise AdapterError(state.failure.operation, "failed when the request began") from state.failure


def report_corrupt(handle: str) -> None:
    """Log a record that cannot be read; it counts as absent."""
    logger.error("the stored session %s is corrupt and counts as absent", handle)
