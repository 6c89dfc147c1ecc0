"""How a session starts, moves on to a new identifier, gets an owner, and ends: within a request's turn."""

from __future__ import annotations

from collections.abc import Callable

from ..exceptions import AdapterError
from ..identifiers import IdentifierSource
from ..store.guard import GuardedStore
from ..store.trails import Trails
from .landing import Landing
from .plan import next_move, next_step, start
from .state import SessionState
from .status import ABSENT, RETIRED, LostError, News, Status

__all__ = ["Lifecycle"]


class Lifecycle:
    """Carries out what makes the session of a request another one."""

    def __init__(
        self,
        store: GuardedStore,
        trails: Trails,
        landing: Landing,
        identifiers: IdentifierSource,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._trails = trails
        self._landing = landing
        self._identifiers = identifiers
        self._clock = clock

    async def destroy(self, state: SessionState, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        if regenerate:
            state.check_cookie_possible()
        existed = bool(state.handles) or state.has_changes
        await self._end_all(state, reason="destroy")
        state.ended()
        await self.prepare_identifier(state)
        if regenerate and existed:
            try:
                await self._landing.start(state, lambda: start(state, self._clock(), reason="destroy"))
            except AdapterError:
                # (promise 3) A logout needs no room: on a store that is full the cookie is removed instead.
                state.ended()

    async def rotate(self, state: SessionState, *, grace: float) -> None:
        """Give the session a new identifier; the old one is dead, or will be in ``grace`` seconds."""
        state.check_cookie_possible()
        if state.status is RETIRED or state.status is ABSENT:
            await self._begin_anew(state, None, "started")
        # Within its grace an identifier has been rotated by the clock already, and goes on working.
        elif grace and state.place is not None and state.place.follows:
            await self._land_changes(state)
        else:
            await self._move(state, "rotate", grace=grace)

    async def _move(self, state: SessionState, reason: str, *, grace: float = 0.0, owner: str | None = None) -> None:
        # What is in doubt is tried again under the same identifier: the client can be given one beside its own.
        spare = state.cookie.spare
        identifier = await self._identifiers.new() if spare is None else spare.identifier
        late = state.place is not None and state.place.follows
        await self._landing.land(
            state,
            lambda: next_move(
                state, self._clock(), identifier, grace=grace, owner=owner, reason=reason, arrived_late=late
            ),
        )
        await self._land_changes(state)

    async def _land_changes(self, state: SessionState) -> None:
        """Store what was changed since the last commit point, or while that was under way."""
        if state.view.changes:
            await self._landing.land(state, lambda: next_step(state, self._clock()))

    async def bind(self, state: SessionState, owner: str) -> None:
        """Bind the session, or begin one: who has just proved who they are is never told to try again."""
        state.check_cookie_possible()
        record = state.record
        if record is not None and record.owner not in (None, owner):
            await self._end_all(state, reason="bind")
            state.ended()
        elif record is not None:
            try:
                await self._move(state, "bind", owner=owner)
            except LostError as lost:
                await self._let_go(state, lost, owner)
            else:
                return
        elif state.status is ABSENT and state.known:
            # (promise 4) Several live ones were presented, and none is used: nobody stays caught between two cookies.
            await self._end_all(state, reason="bind")
            state.known = ()
        elif state.status is Status.ENDED:
            state.leave(Status.ENDED, values=False)
        await self._begin_anew(state, owner, "bind")

    async def _let_go(self, state: SessionState, lost: LostError, owner: str) -> None:
        """Let go of a session that was lost while it was to be bound.

        Where another ``bind`` of the same owner, or a rotation, was faster, the values that this request saw stay.
        """
        place = state.place
        values = False
        if lost.reason == "rotated" and place is not None:
            last = await self._store.load((await self._trails.trail(place.handle))[-1])
            values = last is not None and not last.retired and last.owner in (None, owner)
        if not values:
            state.lost(lost.reason)
        state.leave(RETIRED if lost.reason == "rotated" else Status.ENDED, values=values)

    async def _end_all(self, state: SessionState, *, reason: str) -> None:
        for handle in dict.fromkeys(state.handles):
            ended = await self._trails.end(handle)
            if ended is not None:
                state.news.append(News("destroyed", ended.handle, ended.owner, reason))

    async def _begin_anew(self, state: SessionState, owner: str | None, reason: str) -> None:
        arrived, state.status = state.status, ABSENT
        try:
            if state.cookie.spare is None:
                state.exchange(await self._identifiers.new())
            await self._landing.start(state, lambda: start(state, self._clock(), owner=owner, reason=reason))
        finally:
            if state.status is ABSENT:  # it failed, and a plain write must not start what this did not (promise 5)
                state.status = arrived

    async def prepare_identifier(self, state: SessionState) -> None:
        """Have the identifier of a session that may be started, where a generator has to be awaited for it."""
        # Properties cannot await an asynchronous generator, so what they may need is made beforehand.
        if not self._identifiers.synchronous:
            state.exchange(await self._identifiers.new())
