"""Everything that is awaited of a request's session: the machine's next step, done on the newest stored state.

One driver serves all requests of a manager, and has no state of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from ..cookies import is_cookie_value
from ..events import Events, logger
from ..exceptions import AdapterError, ConflictError, SessionEndedError, SessionError
from ..identifiers import IdentifierSource, handle_of
from ..policy import Policy
from ..store.guard import GuardedStore
from ..store.trails import MAX_ATTEMPTS, Trails
from ..watch.watcher import Watcher
from .arrival import Sighting
from .state import ABSENT, RETIRED, UNLOADED, CookieAction, LostError, News, SessionState, Status
from .steps import Create, Move, Step
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
        self.watcher = Watcher(store, trails, policy, clock)
        """Ends what depends on a session, when that has ended."""
        self.begin: Callable[..., SessionState] = partial(SessionState, policy, identifiers)
        """Returns the session of a request that presented these identifiers."""

    async def look_up(self, state: SessionState) -> None:
        """Ask the store for what the client presented: before the handler runs, while nobody else uses the session."""
        await self._look_up(state)
        if state.news:
            await self._tell(state)

    async def _look_up(self, state: SessionState) -> None:
        sightings = [sighting for identifier in state.presented if (sighting := await self._sight(state, identifier))]
        state.arrive(sightings, self._clock())
        if state.spares:
            await self._look_up_spares(state)
        if state.place is None:
            await self._prepare_identifier(state)

    async def _sight(self, state: SessionState, identifier: str) -> Sighting | None:
        handle = asked = handle_of(identifier)
        if not is_cookie_value(identifier):
            state.news.append(News("rejected", asked, None, "malformed"))
            return None
        record = await self._store.load(asked)
        if record is not None and record.retired:
            handle, record = await self._trails.follow(asked, record)
        return Sighting(identifier, asked, handle, record)

    async def _look_up_spares(self, state: SessionState) -> None:
        """Settle what is in doubt, before anybody is told of the session; where that fails nothing is known yet."""
        status, state.status = state.status, UNLOADED
        try:
            await self._settle(state, status)
        except BaseException as error:
            state.unload()
            if isinstance(error, ConflictError):
                raise AdapterError("update", "the session kept changing while it was looked up") from error
            raise
        if state.status is UNLOADED:
            state.status = status

    async def _settle(self, state: SessionState, status: Status) -> None:
        """Settle a rotation of unknown outcome (promise 9): the client presented the identifiers before and after it.

        Where the one before is live, a write lets the rotation, should it still be under way, find its version gone,
        and what it made is removed. Where it is not, the one after it counts.
        """
        handles = [handle_of(spare) for spare in state.spares]
        try:
            if state.place is not None:
                if state.place.follows or state.place.handle not in handles:
                    await self._land(state, lambda: state.touch(self._clock()))
                    for handle in handles:
                        await self._store.destroy(handle)
                state.settle()
                return
        except LostError:
            pass  # a rotation landed: this one, or one that leaves the other no chance
        spares = await self._successors(state)
        sightings = [sighting for spare in spares if (sighting := await self._sight(state, spare))]
        place = state.place
        if place is not None and place.follows and all(sighting.asked != place.handle for sighting in sightings):
            state.settle()  # it was another rotation, within whose grace the client still is
            return
        news, state.news = state.news, []
        state.leave(ABSENT, values=False)
        known, state.news = state.known, []
        state.arrive(sightings, self._clock())
        state.settle()
        if state.place is None:
            state.news = news
            if status is RETIRED:  # (promise 5) as without a spare: another request has written the newer cookie
                state.leave(RETIRED, values=False)
        elif not state.place.follows:  # else another request rotated it by the clock, and wrote the newer cookie
            state.cookie = CookieAction.SEND
        state.known = [*known, *state.known]

    async def _successors(self, state: SessionState) -> list[str]:
        """Return the spare identifiers that may have taken over from the one before them.

        Where that one says that another took over, what a rotation left half-way is nobody's, and is removed.
        """
        passed = [
            past for identifier in state.presented for past in (await self._trails.trail(handle_of(identifier)))[1:]
        ]
        if not passed:
            return list(state.spares)
        for spare in state.spares:
            if handle_of(spare) not in passed:
                await self._store.destroy(handle_of(spare))
        return [spare for spare in state.spares if handle_of(spare) in passed]

    async def load(self, state: SessionState) -> None:
        """Ask the store for what the client presented, unless its answer is known already."""
        if state.status is UNLOADED:
            await self._in_turn(state, self._load)

    async def commit(self, state: SessionState) -> None:
        """Make the last commit; where the session is gone, what is pending is dropped (``on_rejected`` tells)."""
        await self._in_turn(state, self._commit)

    async def leave(self, state: SessionState, write: Callable[[], None]) -> None:
        """Make the last commit and write the cookie, while what it says is true (promise 5).

        :param write: writes into the response what the state says; called within the turn, so that nothing of this
            request comes between.
        """
        if state.dirty:
            await self._in_turn(state, self._commit)  # its signals are sent now: no receiver comes between what follows
        await self._in_turn(state, self._leave, write)

    async def save(self, state: SessionState, *, last: bool = False) -> None:
        """Store what is pending, with the ``last`` commit a new end too; ``SessionEndedError`` where it is gone."""
        await self._in_turn(state, self._save, last=last)

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
        await self._in_turn(state, self._rotate, grace=grace)

    async def bind(self, state: SessionState, owner: str) -> None:
        """Give the session an owner, a new identifier and a new beginning."""
        with self.watcher.hold():
            await self._in_turn(state, self._bind, owner)

    async def destroy(self, state: SessionState, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        with self.watcher.hold():
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
        if step.handle in self._store.turns or not await self._send(state, step):
            async with self._store.turns.take(step.handle):
                step = await self._land_at_last(state, plan)
        if step is not None:
            self._landed(state, step)

    async def _land_at_last(self, state: SessionState, plan: Callable[[], Step | None]) -> Step | None:
        for _ in range(MAX_ATTEMPTS):
            await self._refresh(state)
            step = plan()
            if step is None or await self._send(state, step):
                return step
        raise ConflictError("other requests kept changing the session: nothing was stored")

    async def _send(self, state: SessionState, step: Step) -> bool:
        try:
            return await step.send(self._store)
        except (AdapterError, asyncio.CancelledError):
            if isinstance(step, Create | Move):
                state.doubted(step)
            raise

    def _landed(self, state: SessionState, step: Step) -> None:
        state.landed(step)
        if state.cookie is CookieAction.SEND:
            # Should the headers leave before the loop goes on, nobody can have moved the session meanwhile.
            asyncio.get_running_loop().call_soon(state.go_on)

    async def _refresh(self, state: SessionState) -> None:
        assert state.place is not None  # noqa: S101 - only what is somewhere has a newest state
        handle, record = await self._trails.resolve(state.place.handle)
        state.refreshed(handle, record, self._clock())

    async def _create(self, state: SessionState, plan: Callable[[], Step | None]) -> None:
        """Start a session, under an identifier that is free."""
        for _ in range(_MAX_IDENTIFIERS):
            if state.prospective is None:
                state.exchange(await self._identifiers.new())
            step = plan()
            if step is None:
                return
            if await self._send(state, step):
                self._landed(state, step)
                return
            if state.spare is not None and await self._store.load(step.handle) is not None:
                # It is there since an attempt whose answer was lost.
                self._landed(state, step)
                state.put_all_again()
                await self._land(state, lambda: state.next_step(self._clock()))
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

    async def _save(self, state: SessionState, *, last: bool = False) -> None:
        if state.status is not ABSENT:
            await self._land(state, lambda: state.next_step(self._clock(), last=last))
        elif state.has_changes:
            await self._create(state, lambda: state.next_step(self._clock()))

    async def _commit(self, state: SessionState) -> None:
        for _ in range(MAX_ATTEMPTS):  # again, where another task changed something meanwhile
            try:
                await self._save(state, last=True)
            except LostError as lost:
                state.lost(lost.reason)
            if not state.has_changes:
                return
        raise ConflictError("tasks of the request kept changing the session: its last changes were not stored")

    async def _leave(self, state: SessionState, write: Callable[[], None]) -> None:
        if state.has_changes:  # another task's, since the commit
            await self._commit(state)
        if state.went_on and state.cookie is CookieAction.SEND:
            await self._look_again(state)
        write()
        state.headers_sent = True

    async def _look_again(self, state: SessionState) -> None:
        assert state.place is not None  # noqa: S101 - its cookie is to be sent
        try:
            record = await self._store.load(state.place.handle)
        except AdapterError:
            state.could_not_look_again()
        else:
            state.looked_again(record, self._clock())

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
        if not state.is_missing(key):
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
        existed = bool(state.known) or state.place is not None or state.has_changes
        await self._end_all(state, reason="destroy")
        state.ended()
        await self._prepare_identifier(state)
        if regenerate and existed:
            try:
                await self._create(state, lambda: state.create(self._clock(), reason="destroy"))
            except AdapterError:
                # (promise 3) A logout needs no room: on a store that is full the cookie is removed instead.
                state.ended()

    async def _rotate(self, state: SessionState, *, grace: float) -> None:
        state.check_cookie_possible()
        if state.status is RETIRED or state.status is ABSENT:
            await self._begin_anew(state, None, "started")
            return
        # Within its grace an identifier has been rotated by the clock already, and goes on working.
        if not (grace and state.place is not None and state.place.follows):
            await self._move(state, "rotate", grace=grace)
        if state.view.changes:
            await self._land(state, lambda: state.next_step(self._clock()))

    async def _move(self, state: SessionState, reason: str, *, grace: float = 0.0, owner: str | None = None) -> None:
        # What is in doubt is tried again under the same identifier: the client can be given one beside its own.
        identifier = await self._identifiers.new() if state.spare is None else state.spare.identifier
        late = state.place is not None and state.place.follows
        await self._land(
            state,
            lambda: state.next_move(
                self._clock(), identifier, grace=grace, owner=owner, reason=reason, arrived_late=late
            ),
        )

    async def _bind(self, state: SessionState, owner: str) -> None:
        """Bind the session, or begin one: who has just proved who they are is never told to try again."""
        state.check_cookie_possible()
        record = state.record
        if record is not None and record.owner not in (None, owner):
            await self._end_all(state, reason="bind")
            state.ended()
        elif record is not None:
            try:
                await self._move(state, "bind", owner=owner)
                if state.view.changes:
                    await self._land(state, lambda: state.next_step(self._clock()))
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
        handles = dict.fromkeys([*state.known, *(() if state.place is None else (state.place.handle,))])
        for handle in handles:
            ended = await self._trails.end(handle)
            if ended is not None:
                state.news.append(News("destroyed", ended.handle, ended.owner, reason))

    async def _begin_anew(self, state: SessionState, owner: str | None, reason: str) -> None:
        arrived, state.status = state.status, ABSENT
        try:
            if state.spare is None:
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
