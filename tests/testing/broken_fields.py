"""Adapters that get one field of a record wrong: its version, its end, its owner, its payload."""

from __future__ import annotations

from dataclasses import replace

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.record import RETIRED_SECONDS, latest, retire

from .broken import noticed_by
from .broken_ghosts import Ghosts, late


def changed(given: tuple, **fields: object) -> tuple:
    """Return a method's arguments after the handle with another record: the last one, or the one that lives on."""
    at = max(0, len(given) - 2)
    return (*given[:at], replace(given[at], **fields), *given[at + 1 :])


def keep(method: str, field: str, *tests: str) -> None:
    """Register an adapter on which one field of a record outlives what took its place."""

    async def call(self, handle, *given, **options):
        past = self.past.get(handle)
        record = given[-1]
        if past is not None and not (field == "owner" and record.owner is not None):
            given = changed(given, **{field: getattr(past, field)})
        return await getattr(MemorySessionAdapter, method)(self, handle, *given, **options)

    noticed_by(*tests)(type(f"{method.title()}Keeps{field.title()}", (Ghosts,), {method: call}))


for field in ("payload", "version", "expires_at", "owner"):
    keep("create", field, "a_destroyed_handle_can_be_created_again")
    keep("create", field, "create_takes_the_place_of_an_expired_record")
for field in ("payload", "created_at", "expires_at"):
    more = ("payloads_of_any_size_and_content",) if field == "payload" else ()
    keep("update", field, "update_replaces_every_field", *more)
keep("update", "owner", "update_can_retire", "find_follows_changes")
for field in ("payload", "created_at", "expires_at"):
    keep("rotate", field, "rotate_moves_a_session")


def forget_owner(method: str, *tests: str) -> None:
    """Register an adapter on which a method forgets whose session it is."""

    async def call(self, handle, *given, **options):
        if method == "renew":
            there = self._get(handle)
            if there is not None and there.owner is not None:
                self._put(handle, replace(there, owner=None))
        else:
            given = changed(given, owner=None)
        return await getattr(MemorySessionAdapter, method)(self, handle, *given, **options)

    noticed_by(*tests)(type(f"{method.title()}ForgetsTheOwner", (MemorySessionAdapter,), {method: call}))


forget_owner("create", "create_stores_a_record", "find_answers_an_owners_live_records")
forget_owner("update", "update_replaces_every_field", "find_follows_changes")
forget_owner("renew", "renew_moves_the_end", "find_follows_changes")
forget_owner("rotate", "rotate_moves_a_session", "find_follows_changes", "one_of_parallel_rotations_wins")


@noticed_by(
    "a_record_expires_exactly_at_its_end",
    "a_mixed_crowd_gets_the_answers_of_each_alone",
    "a_retired_record_is_loaded_until_its_end",
    "create_takes_the_place_of_an_expired_record",
    "find_answers_nothing_that_is_not_live",
    "purge_deletes_what_has_expired_and_counts_it",
    "purge_goes_by_the_end_as_it_is_now",
    "renew_moves_the_end",
    "renew_never_revives",
    "rotate_never_overwrites",
    "rotate_of_what_is_not_live_changes_nothing",
    "update_never_revives_an_expired_record",
    "update_replaces_every_field",
)
class Late(MemorySessionAdapter):
    """Its clock is half a second slow."""

    @property
    def clock(self):
        return lambda: self.given() - 0.5

    @clock.setter
    def clock(self, clock):
        self.given = clock


@noticed_by("renew_never_moves_the_end_earlier")
class RenewEndsTheEndless(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or current.expires_at is not None or expires_at is None:
            return await super().renew(handle, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=expires_at))
        return True


@noticed_by("renew_counts_as_a_change")
class RenewCountsNoLateEnd(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or current.retired or not late(self, current, expires_at):
            return await super().renew(handle, expires_at)
        self._put(handle, replace(current, expires_at=latest(current.expires_at, expires_at)))
        return True


@noticed_by("rotate_with_grace")
class GraceIsAMinute(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        end = min(retired.expires_at, self.clock() + RETIRED_SECONDS)
        return await super().rotate(old, new, record, replace(retired, expires_at=end))


@noticed_by("rotate_with_grace")
class RetiredRecordsAreItsOwn(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        return await super().rotate(old, new, record, retire(record, new, now=self.clock()))


@noticed_by("destroy_removes_a_record", "nothing_survives_a_parallel_destroy")
class DestroyKeepsTheOwned(MemorySessionAdapter):
    async def destroy(self, handle):
        record = self._get(handle)
        return await super().destroy(handle) if record is None or record.owner is None else True


@noticed_by("rotate_needs_the_version_before")
class RefusedRotationForgetsTheOwner(MemorySessionAdapter):
    async def rotate(self, old, new, record, retired):
        moved = await super().rotate(old, new, record, retired)
        if not moved and (there := self._get(old)) is not None:
            self._put(old, replace(there, owner=None))
        return moved


@noticed_by("renew_moves_the_end", "parallel_renewals_all_count")
class RenewMovesNothing(MemorySessionAdapter):
    async def renew(self, handle, expires_at):
        current = self._get(handle)
        return await super().renew(handle, expires_at if current is None else current.expires_at)


@noticed_by("parallel_renewals_all_count")
class RenewForgetsTheOtherEnds(MemorySessionAdapter):
    """Of renewals that come one after the other the last counts."""

    async def renew(self, handle, expires_at):
        current = self._get(handle)
        if current is None or current.retired or current.version == 1:
            return await super().renew(handle, expires_at)
        self._put(handle, replace(current, version=current.version + 1, expires_at=expires_at))
        return True
