"""The endpoints' way to the stored sessions of a manager: the core's own, so that every promise holds there too."""

from __future__ import annotations

from collections.abc import Sequence

from ..exceptions import SessionEndedError
from ..manager import SessionManager, requests_of
from ..request.arrival import Place
from ..request.driver import Driver
from ..request.state import SessionState
from ..request.status import LIVE, RETIRED
from .sessions import Change, UnsettledError

__all__ = ["StoredSession", "StoredSessions"]


class StoredSession:
    """A live session, as the store knew it."""

    def __init__(self, driver: Driver, state: SessionState, place: Place) -> None:
        self._driver = driver
        self._state = state
        self.handle = place.handle
        self.owner = place.record.owner
        self.since = place.record.created_at
        self.facts = state.view.facts

    async def change(self, change: Change) -> None:
        """Store other facts: a write, and what a conflict costs. It is no use of the session."""
        try:
            await self._driver.amend(self._state, change)
        except SessionEndedError as error:
            if error.reason == "rotated":
                raise UnsettledError from error
            raise


class StoredSessions:
    """The sessions of a manager."""

    def __init__(self, manager: SessionManager) -> None:
        self._driver = requests_of(manager).driver

    async def find(self, identifiers: Sequence[str]) -> StoredSession | None:
        """Return the live session that one of the identifiers leads to: a load for each."""
        if not identifiers:
            return None
        state = self._driver.begin(identifiers)
        await self._driver.look_up(state)
        if state.status is LIVE and state.place is not None:
            return StoredSession(self._driver, state, state.place)
        # Rotated away: the browser will have the newer cookie in a moment. Several: a rotation is in doubt.
        if state.status is RETIRED or state.known:
            raise UnsettledError
        return None
