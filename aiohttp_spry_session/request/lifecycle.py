"""How a session starts, moves on to a new identifier, gets an owner, and ends: within a request's turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from ..exceptions import AdapterError, SessionEndedError, SessionError, TooManySessionsError
from ..facts import NO_FACTS, Facts, confirmed, signed_in
from ..identifiers import IdentifierSource
from ..policy import Policy
from ..record import SessionRecord
from ..store.guard import GuardedStore
from ..store.trails import Trails
from .landing import Landing
from .limit import Before, SessionLimit
from .plan import Change, next_move, next_step, start
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
        policy: Policy,
        identifiers: IdentifierSource,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._trails = trails
        self._landing = landing
        self._policy = policy
        self._identifiers = identifiers
        self._clock = clock
        self._limit = None if policy.max_sessions is None else SessionLimit(store, trails, policy, clock)

    async def destroy(self, state: SessionState, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        if regenerate:
            state.check_cookie_possible()
        existed = bool(state.handles) or state.has_changes
        await self._end_all(state, reason="destroy")
        state.ended()
        await self._landing.prepare_identifier(state)
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
            await self._begin_anew(state, None, "started", NO_FACTS)
        # Within its grace an identifier has been rotated by the clock already, and goes on working.
        elif grace and state.place is not None and state.place.follows:
            await self._land_changes(state)
        else:
            await self._move(state, "rotate", grace=grace)

    async def confirm(self, state: SessionState, level: str | None) -> None:
        """Take note that the user proved again who they are, under a new identifier (ASVS 7.2.4)."""
        state.check_cookie_possible()
        record = state.record
        if record is None and state.status is not ABSENT:
            raise SessionEndedError(state.why_over())
        if record is None or record.owner is None:
            raise SessionError("there is nobody to confirm: the session has no owner; bind() says who it is")

        def change(record: SessionRecord, facts: Facts, now: float) -> tuple[SessionRecord, Facts]:
            return record, confirmed(facts, now, record.created_at, level=level)

        await self._move(state, "confirm", change=change)

    async def _move(
        self, state: SessionState, reason: str, *, grace: float = 0.0, change: Change | None = None
    ) -> None:
        # What is in doubt is tried again under the same identifier: the client can be given one beside its own.
        spare = state.cookie.spare
        identifier = await self._identifiers.new() if spare is None else spare.identifier
        late = state.place is not None and state.place.follows
        await self._landing.land(
            state,
            lambda: next_move(
                state, self._clock(), identifier, reason=reason, arrived_late=late, grace=grace, change=change
            ),
        )
        await self._land_changes(state)

    async def _land_changes(self, state: SessionState) -> None:
        """Store what was changed since the last commit point, or while that was under way."""
        if state.view.changes:
            await self._landing.land(state, lambda: next_step(state, self._clock()))

    async def bind(self, state: SessionState, owner: str, facts: Facts) -> None:
        """Bind the session, or begin one: who has just proved who they are is never told to try again."""
        state.check_cookie_possible()
        if state.companion is not None:
            facts = replace(facts, binding=state.companion.offer(state))
        if self._limit is None:
            await self._bind(state, owner, facts)
            return
        before = await self._limit.before(state, owner)
        begun = await self._bind(state, owner, facts)
        if not self._limit.refuses:
            await self._limit.end_oldest(state, owner)
            return
        try:
            refused = await self._limit.is_one_too_many(owner, before, went_on=begun is None)
        except BaseException:
            await self._give_up(state, before, begun)  # nobody knows whether it is one too many
            raise
        if refused:
            await self._give_up(state, before, begun)
            raise TooManySessionsError(self._limit.most)

    async def _give_up(self, state: SessionState, before: Before, begun: Status | None) -> None:
        """Let the session go on without its owner, or end the one that was begun for it.

        Where that fails nobody is given its identifier.
        """
        try:
            if begun is None:
                await self._move(state, "limit", change=before.restore)
            else:
                # (promise 5) Its cookie could replace that of another request, which was let in.
                await self._end_all(state, reason="limit", handles=() if state.place is None else (state.place.handle,))
                state.leave(begun, values=True)
                state.dirty = True
                await self._landing.prepare_identifier(state)
        except BaseException:
            state.leave(Status.ENDED, values=False)
            raise

    async def _bind(self, state: SessionState, owner: str, facts: Facts) -> Status | None:
        """Bind the session that there is: ``None``; or begin one, and return what was true before that."""

        def change(record: SessionRecord, _: Facts, now: float) -> tuple[SessionRecord, Facts]:
            end = self._policy.end(now, now, facts)
            return replace(record, owner=owner, created_at=now, expires_at=end), signed_in(facts, now)

        record = state.record
        if record is not None and record.owner not in (None, owner):
            await self._end_all(state, reason="bind")
            state.ended()
        elif record is not None:
            try:
                await self._move(state, "bind", change=change)
            except LostError as lost:
                await self._let_go(state, lost, owner)
            else:
                return None
        elif state.status is ABSENT and state.known:
            # (promise 4) Several live ones were presented, and none is used: nobody stays caught between two cookies.
            await self._end_all(state, reason="bind")
            state.known = ()
        elif state.status is Status.ENDED:
            state.leave(Status.ENDED, values=False)
        return await self._begin_anew(state, owner, "bind", facts)

    async def _let_go(self, state: SessionState, lost: LostError, owner: str) -> None:
        """Let go of a session that was lost while it was to be bound.

        Where another ``bind`` of the same owner, or a rotation, was faster, the values that this request saw stay.
        """
        place = state.place
        values = False
        if lost.reason == "rotated" and place is not None:
            _, last = await self._trails.newest(place.handle)
            values = last is not None and last.owner in (None, owner)
        if not values:
            state.lost(lost.reason)
        state.leave(RETIRED if lost.reason == "rotated" else Status.ENDED, values=values)

    async def _end_all(self, state: SessionState, *, reason: str, handles: Sequence[str] | None = None) -> None:
        for handle in dict.fromkeys(state.handles if handles is None else handles):
            ended = await self._trails.end(handle)
            if ended is not None:
                state.news.append(News("destroyed", ended.handle, ended.owner, reason))

    async def _begin_anew(self, state: SessionState, owner: str | None, reason: str, facts: Facts) -> Status:
        arrived, state.status = state.status, ABSENT
        try:
            if state.cookie.spare is None:
                state.exchange(await self._identifiers.new())
            await self._landing.start(
                state, lambda: start(state, self._clock(), owner=owner, reason=reason, facts=facts)
            )
        finally:
            if state.status is ABSENT:  # it failed, and a plain write must not start what this did not (promise 5)
                state.status = arrived
        return arrived
