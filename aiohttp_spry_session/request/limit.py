"""How many live sessions an owner may have, over all processes: looked after at each ``bind``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from ..exceptions import TooManySessionsError
from ..facts import NO_FACTS, Facts
from ..policy import Policy
from ..record import SessionRecord
from ..store.guard import GuardedStore
from ..store.trails import Trails
from .state import SessionState
from .status import LostError, News

__all__ = ["Before", "SessionLimit"]


class Before(NamedTuple):
    """What a session was before a ``bind``."""

    record: SessionRecord | None
    facts: Facts
    counted: bool
    """Whether it was one of the owner's."""

    def given_up(self, record: SessionRecord, facts: Facts, now: float) -> tuple[SessionRecord, Facts]:
        """Return the session without the owner again, with the times that it had."""
        before = self.record
        if before is None or before.owner is not None:
            return replace(record, owner=None), self.facts
        return replace(record, owner=None, created_at=before.created_at, expires_at=before.expires_at), self.facts


class SessionLimit:
    """Keeps the sessions of each owner within the limit."""

    def __init__(self, store: GuardedStore, trails: Trails, policy: Policy, clock: Callable[[], float]) -> None:
        assert policy.max_sessions is not None  # noqa: S101 - else there is no limit
        self.most = policy.max_sessions
        self._refuses = policy.when_full == "refuse"
        self._store = store
        self._trails = trails
        self._policy = policy
        self._clock = clock

    async def before(self, state: SessionState, owner: str) -> Before:
        """Look before the ``bind``: one that is too many for certain changes nothing.

        :raises TooManySessionsError: where it is, and such a ``bind`` is refused.
        """
        record = state.record
        counted = record is not None and record.owner == owner
        if self._refuses and not counted and len(await self._newest_first(owner)) >= self.most:
            raise TooManySessionsError(self.most)
        kept = record is None or record.owner is None
        return Before(record, state.view.facts if kept else NO_FACTS, counted)

    async def after(self, state: SessionState, owner: str, before: Before) -> bool:
        """Look again after the ``bind``: others may have signed in meanwhile. Return whether it is to be given up.

        What has to end ends in the order of all sessions, this one among them: so of several that do this at the same
        time each ends only what is beyond the limit in the whole.
        """
        handles = await self._newest_first(owner)
        if self._refuses:
            return not before.counted and len(handles) > self.most
        for handle in handles[self.most :]:
            ended = await self._trails.end(handle)
            if ended is not None:
                state.news.append(News("destroyed", ended.handle, ended.owner, "limit"))
        if state.place is not None and state.place.handle in handles[self.most :]:
            raise LostError("ended")
        return False

    async def _newest_first(self, owner: str) -> list[str]:
        now = self._clock()
        found = await self._store.find(owner)
        live = [
            (record.created_at, handle) for handle, record in found.items() if not self._policy.is_over(record, now)
        ]
        return [handle for _, handle in sorted(live, reverse=True)]
