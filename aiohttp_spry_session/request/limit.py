"""How many live sessions an owner may have, over all processes: looked after at each ``bind``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from ..exceptions import TooManySessionsError
from ..facts import Facts
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

    def restore(self, record: SessionRecord, facts: Facts, now: float) -> tuple[SessionRecord, Facts]:
        """Return the session without an owner again, with the times and facts that it had."""
        before = record if self.record is None else self.record
        return replace(record, owner=None, created_at=before.created_at, expires_at=before.expires_at), self.facts


class SessionLimit:
    """Keeps the sessions of each owner within the limit."""

    def __init__(self, store: GuardedStore, trails: Trails, policy: Policy, clock: Callable[[], float]) -> None:
        assert policy.max_sessions is not None  # noqa: S101 - else there is no limit
        self.most = policy.max_sessions
        self.refuses = policy.when_full == "refuse"
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
        if self.refuses and not counted and await self._count(owner) >= self.most:
            raise TooManySessionsError(self.most)
        return Before(record, state.view.facts, counted)

    async def is_one_too_many(self, owner: str, before: Before, *, went_on: bool) -> bool:
        """Look again after a ``bind`` that may be refused: others may have signed in meanwhile.

        :param went_on: whether the session from before was bound; else one was begun, and that counts in any case.
        """
        return not (before.counted and went_on) and await self._count(owner) > self.most

    async def end_oldest(self, state: SessionState, owner: str) -> None:
        """End what is too many after a ``bind``.

        That is decided by the order of all sessions, this one among them: so of several that do this at the same time
        each ends only what is beyond the limit in the whole.

        :raises LostError: where this one is.
        """
        too_many = (await self._newest_first(owner))[self.most :]
        for created_at, handle in too_many:
            # One that its user has signed in with meanwhile is as new as that.
            ended = await self._trails.end(handle, created_at=created_at)
            if ended is not None:
                state.news.append(News("destroyed", ended.handle, ended.owner, "limit"))
        if state.place is not None and state.place.handle in (handle for _, handle in too_many):
            raise LostError("ended")

    async def _count(self, owner: str) -> int:
        return len(await self._newest_first(owner))

    async def _newest_first(self, owner: str) -> list[tuple[float, str]]:
        now = self._clock()
        found = await self._store.find(owner)
        live = [
            (record.created_at, handle) for handle, record in found.items() if not self._policy.is_over(record, now)
        ]
        return sorted(live, reverse=True)
