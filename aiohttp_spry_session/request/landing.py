"""How what is planned gets into the store: on the newest stored state, or as a new session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..exceptions import AdapterError, ConflictError, SessionError
from ..identifiers import IdentifierSource
from ..store.guard import GuardedStore
from ..store.trails import MAX_ATTEMPTS, Trails
from .plan import next_step
from .state import SessionState
from .status import CookieAction
from .steps import Create, Move, Step

__all__ = ["Landing", "Plan"]

Plan = Callable[[], Step | None]
"""Says what is to be stored, on what the request knows by now; ``None`` for nothing."""

_MAX_IDENTIFIERS = 8


class Landing:
    """Lands the steps of a manager's requests, within their turns."""

    def __init__(
        self, store: GuardedStore, trails: Trails, identifiers: IdentifierSource, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._trails = trails
        self._identifiers = identifiers
        self._clock = clock

    async def land(self, state: SessionState, plan: Plan) -> None:
        """Store what is planned, on the newest stored state (promise 2).

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

    async def _land_at_last(self, state: SessionState, plan: Plan) -> Step | None:
        for _ in range(MAX_ATTEMPTS):
            await self.refresh(state)
            step = plan()
            if step is None or await self._send(state, step):
                return step
        raise ConflictError("other requests kept changing the session: nothing was stored")

    async def start(self, state: SessionState, plan: Plan) -> None:
        """Store the session that is planned, under an identifier that is free."""
        for _ in range(_MAX_IDENTIFIERS):
            if state.prospective is None:
                state.exchange(await self._identifiers.new())
            step = plan()
            if step is None:
                return
            if await self._send(state, step):
                self._landed(state, step)
                return
            if state.cookie.spare is not None and await self._store.load(step.handle) is not None:
                # It is there since an attempt whose answer was lost.
                self._landed(state, step)
                state.put_all_again()
                await self.land(state, lambda: next_step(state, self._clock()))
                return
            if state.handed_out:
                raise SessionError("the new session's identifier is in use already: nothing was stored")
            state.exchange(None)
        raise SessionError("identifier_generator keeps returning identifiers that are in use")

    async def prepare_identifier(self, state: SessionState) -> None:
        """Have the identifier of a session that may be started, where a generator has to be awaited for it."""
        # Properties cannot await an asynchronous generator, so what they may need is made beforehand.
        if not self._identifiers.synchronous:
            state.exchange(await self._identifiers.new())

    async def refresh(self, state: SessionState) -> None:
        """Take over the newest stored state; ``LostError`` where the session is over."""
        assert state.place is not None  # noqa: S101 - only what is somewhere has a newest state
        # Who knows the identifier has to be told of a rotation; who came by the handle follows it.
        find = self._trails.resolve if state.place.identifier else self._trails.newest
        handle, record = await find(state.place.handle)
        state.refreshed(handle, record, self._clock())

    async def _send(self, state: SessionState, step: Step) -> bool:
        try:
            return await step.send(self._store)
        except (AdapterError, asyncio.CancelledError):
            if isinstance(step, Create | Move):
                state.doubted(step)
            raise

    def _landed(self, state: SessionState, step: Step) -> None:
        state.landed(step)
        if state.cookie.action is CookieAction.SEND:
            # Should the headers leave before the loop goes on, nobody can have moved the session meanwhile.
            asyncio.get_running_loop().call_soon(state.cookie.go_on)
