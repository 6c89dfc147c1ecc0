"""Adapters that break the contract of ``find`` and ``purge`` in one narrow place each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from aiohttp_spry_session import MemorySessionAdapter

from .broken import noticed_by
from .broken_ghosts import Ghosts


def find(name: str, answers: Callable[[str, str | None], bool], *tests: str) -> None:
    """Register an adapter that takes another owner for the one that is asked for."""

    async def call(self, owner):
        found = dict(await MemorySessionAdapter.find(self, owner))
        live = {handle: record for handle, record in self._records.items() if self._get(handle) and not record.retired}
        return {**found, **{handle: record for handle, record in live.items() if answers(owner, record.owner)}}

    noticed_by("find_answers_an_owners_live_records", *tests)(type(name, (MemorySessionAdapter,), {"find": call}))


find("FindTakesNothingForAll", lambda asked, owner: asked == "")
find("FindTakesABeginning", lambda asked, owner: asked != "" and owner is not None and owner.startswith(asked))
find("FindIgnoresCase", lambda asked, owner: owner is not None and owner.lower() == asked.lower())
for text in ("None", "null"):
    find(f"FindTakes{text.title()}ForNobody", lambda asked, owner, text=text: owner is None and asked == text)
for text in ("%", "*"):
    find(f"FindTakes{ord(text)}ForAnything", lambda asked, owner, text=text: owner is not None and asked == text)


def find_dead(kind: str, *tests: str) -> None:
    """Register an adapter that finds what is dead."""

    async def call(self, owner):
        dead = {handle: past for handle, past in self.past.items() if self.ghost(handle, kind) and past.owner == owner}
        return {**await MemorySessionAdapter.find(self, owner), **dead}

    noticed_by(*tests)(type(f"FindAnswers{kind.title()}", (Ghosts,), {"find": call}))


find_dead(
    "destroyed",
    "find_answers_nothing_that_is_not_live",
    "find_sees_a_renewed_record_past_its_first_end",
    "nothing_survives_a_parallel_destroy",
)
find_dead("expired", "find_answers_nothing_that_is_not_live")
find_dead("retired", "find_answers_nothing_that_is_not_live", "find_follows_changes", "one_of_parallel_rotations_wins")


@noticed_by("find_sees_a_renewed_record_past_its_first_end")
class FindForgetsTheRenewed(Ghosts):
    async def find(self, owner):
        found = await super().find(owner)
        return {handle: record for handle, record in found.items() if record.created_at + 1200 > self.clock()}


@noticed_by("find_sees_a_renewed_record_past_its_first_end")
class PurgeGoesByTheFirstEnd(MemorySessionAdapter):
    async def purge(self):
        old = [handle for handle, record in self._records.items() if record.created_at + 1200 <= self.clock()]
        for handle in old:
            await self.destroy(handle)
        return len(old)


@noticed_by("find_answers_nothing_that_is_not_live")
class FindAnswersCreatedRetired(MemorySessionAdapter):
    async def find(self, owner):
        return {handle: r for handle, r in self._records.items() if self._get(handle) and r.owner == owner}


@noticed_by("find_answers_an_owners_live_records")
class FindForgetsTheEndless(MemorySessionAdapter):
    async def find(self, owner):
        return {handle: r for handle, r in (await super().find(owner)).items() if r.expires_at is not None}


@noticed_by("find_follows_changes")
class FindRemembersWhoCameBefore(MemorySessionAdapter):
    """Its index keeps the owner of an expired record whose place is taken."""

    def __init__(self):
        super().__init__()
        self.index = defaultdict(set)

    async def create(self, handle, record):
        self.index[record.owner].add(handle)
        return await super().create(handle, record)

    async def find(self, owner):
        late = {handle: self._get(handle) for handle in self.index[owner]}
        return {**await super().find(owner), **{handle: record for handle, record in late.items() if record}}


@noticed_by("purge_deletes_what_has_expired_and_counts_it")
class PurgeKeepsTheOwned(MemorySessionAdapter):
    async def purge(self):
        gone = [h for h, r in self._records.items() if r.is_expired(self.clock()) and r.owner is None]
        for handle in gone:
            await self.destroy(handle)
        return len(gone)


@noticed_by("purge_deletes_what_has_expired_and_counts_it")
class PurgeTakesOnlyWhatEndsNow(MemorySessionAdapter):
    async def purge(self):
        gone = [handle for handle, record in self._records.items() if record.expires_at == self.clock()]
        for handle in gone:
            await self.destroy(handle)
        return len(gone)


@noticed_by("purge_deletes_what_has_expired_and_counts_it")
class PurgeIsEarly(MemorySessionAdapter):
    async def purge(self):
        gone = [handle for handle, record in self._records.items() if record.is_expired(self.clock() + 0.5)]
        for handle in gone:
            await self.destroy(handle)
        return len(gone)
