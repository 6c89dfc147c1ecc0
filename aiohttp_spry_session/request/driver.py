"""Everything that is awaited of a request's session: the machine's next step, done on the newest stored state.

One driver serves all requests of a manager, and has no state of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from ..events import Events, logger
from ..exceptions import AdapterError, ConflictError, SessionEndedError
from ..facts import Facts
from ..identifiers import IdentifierSource
from ..policy import Policy
from ..store.guard import GuardedStore
from ..store.trails import MAX_ATTEMPTS, Trails
from ..watch.watcher import Watcher
from .landing import Landing
from .lifecycle import Lifecycle
from .look_up import LookUp
from .plan import amended, next_step
from .state import SessionState
from .status import ABSENT, UNLOADED, CookieAction, LostError, Status
from .view import merged

__all__ = ["Change", "Driver", "check_loaded", "report_corrupt"]

P = ParamSpec("P")
T = TypeVar("T")

Change = Callable[[bytes | None], bytes | None]
"""Computes a key's new value from its newest one; ``None`` is a missing key."""


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
        self._events = events
        self.clock = clock
        self._landing = Landing(store, trails, identifiers, clock)
        self._lookup = LookUp(store, trails, self._landing, clock)
        self._lifecycle = Lifecycle(store, trails, self._landing, policy, identifiers, clock)
        self.watcher = Watcher(store, trails, policy, clock)
        """Ends what depends on a session, when that has ended."""
        self.begin: Callable[..., SessionState] = partial(SessionState.begin, policy, identifiers)
        """Returns the session of a request that presented these identifiers."""

    async def look_up(self, state: SessionState) -> None:
        """Ask the store for what the client presented: before the handler runs, while nobody else uses the session."""
        try:
            await self._lookup.look_up(state)
        finally:
            if state.news:
                await self._tell(state)

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

    async def amend(self, state: SessionState, change: Callable[[Facts], Facts]) -> None:
        """Change facts of the session, atomically in the store, and nothing else; it is no use of the session.

        The function gets the newest ones, again where another request was faster; what it raises comes out.
        """
        await self._in_turn(state, self._landing.land, lambda: amended(state, self.clock(), change))

    async def reload(self, state: SessionState) -> None:
        """Take over the newest stored state; ``SessionEndedError`` where the session is gone."""
        await self._in_turn(state, self._reload)

    async def rotate(self, state: SessionState, *, grace: float) -> None:
        """Give the session a new identifier; the old one is dead, or will be in ``grace`` seconds."""
        await self._in_turn(state, self._lifecycle.rotate, grace=grace)

    async def bind(self, state: SessionState, owner: str, facts: Facts) -> None:
        """Give the session an owner, facts, a new identifier and a new beginning."""
        with self.watcher.hold():
            await self._in_turn(state, self._lifecycle.bind, owner, facts)

    async def confirm(self, state: SessionState, level: str | None) -> None:
        """Take note that the user proved again who they are, under a new identifier."""
        await self._in_turn(state, self._lifecycle.confirm, level)

    async def edit(self, state: SessionState, handle: str) -> None:
        """Begin with a session that no client presented; ``SessionEndedError`` where none lives."""
        await self._in_turn(state, self._lookup.look_up_handle, handle)
        if state.place is None:
            raise SessionEndedError("ended")

    async def destroy(self, state: SessionState, *, regenerate: bool) -> None:
        """End the session, wherever it went meanwhile, and begin anew: with a session, or without."""
        with self.watcher.hold():
            await self._in_turn(state, self._lifecycle.destroy, regenerate=regenerate)

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
            if state.waiting:
                for wake in state.waiting:
                    wake()
                state.waiting.clear()
            if state.news:
                await self._tell(state)

    async def _wait_for_turn(self, state: SessionState) -> None:
        while state.busy:
            free = asyncio.Event()
            state.waiting.append(free.set)
            await free.wait()

    async def _tell(self, state: SessionState) -> None:
        """Send the signals. No turn is held meanwhile, so a receiver may use the session itself."""
        news, state.news = state.news, []
        for name, handle, owner, reason, previous in news:
            if reason == "corrupt":
                report_corrupt(handle)
            await self._events.emit(name, handle, owner, reason=reason, previous=previous, request=state.request())

    # Operations; each has its turn.

    async def _load(self, state: SessionState) -> None:
        if state.status is UNLOADED:  # no other task of the request was faster
            await self._lookup.look_up(state)
            state.failure = None

    async def _save(self, state: SessionState, *, last: bool = False) -> None:
        if state.status is not ABSENT:
            await self._landing.land(state, lambda: next_step(state, self.clock(), last=last))
        elif state.has_changes:
            await self._landing.start(state, lambda: next_step(state, self.clock()))

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
        if state.cookie.went_on and state.cookie.action is CookieAction.SEND:
            await self._look_again(state)
        if state.by_header and state.cookie.repeats:
            await self._look_before_repeating(state)
        write()
        state.headers_sent = True

    async def _look_again(self, state: SessionState) -> None:
        assert state.place is not None  # noqa: S101 - its cookie is to be sent
        try:
            record = await self._store.load(state.place.handle)
        except AdapterError:
            state.cookie.could_not_look_again(state.place)
        else:
            state.looked_again(record, self.clock())

    async def _look_before_repeating(self, state: SessionState) -> None:
        """Let the response repeat the client's identifier only where nothing newer is known to be (promise 5).

        A cookie beside another leaves that one alone. A header says at once all that the client is to hold, and would
        take from it what another response gave it meanwhile.
        """
        place, spare = state.place, state.cookie.spare
        overtaken = spare is None
        if place is not None and not (place.follows and spare is None):
            try:
                record = await self._store.load(place.handle)
                if record is not None and record.retired and spare is not None:  # it may have been this request
                    record = await self._store.load(spare.handle)
                overtaken = record is None or record.retired
            except AdapterError:
                pass
        if overtaken:
            state.cookie.keep_all()

    async def _mutate(self, state: SessionState, key: str, change: Change) -> bytes | None:
        outcome: bytes | None = None

        def compute(values: dict[str, bytes]) -> dict[str, bytes]:
            nonlocal outcome
            outcome = change(values.get(key))
            return merged(values, {key: outcome})

        way = self._landing.start if state.status is ABSENT else self._landing.land
        await way(state, lambda: next_step(state, self.clock(), compute))
        return outcome

    async def _is_missing(self, state: SessionState, key: str) -> bool:
        if not state.is_missing(key):
            return False
        # Another request may have set it since this one looked; another look is cheaper than a write.
        await self._landing.refresh(state)
        return key not in state.view.values

    async def _reload(self, state: SessionState) -> None:
        if state.status is Status.ENDED:
            raise SessionEndedError(state.why_over())
        if state.status is Status.LIVE:
            await self._landing.refresh(state)


def check_loaded(state: SessionState) -> None:
    """Raise ``AdapterError`` where the look-up before the handler failed (promise 9)."""
    if state.failure is not None:
        raise AdapterError(state.failure.operation, "failed when the request began") from state.failure


def report_corrupt(handle: str) -> None:
    """Log a record that cannot be read; it counts as absent."""
    logger.error("the stored session %s is corrupt and counts as absent", handle)
