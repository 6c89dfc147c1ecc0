"""Adapters that break the contract in one narrow place: for one kind of dead record, one version, one field, one name.

A broken adapter that is wrong in many places is noticed by a test of which half the assertions are gone; these are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp_spry_session import MemorySessionAdapter, SessionRecord

from .broken import noticed_by

Only = Callable[[Any, SessionRecord, Any], bool]


class Ghosts(MemorySessionAdapter):
    """Remembers what was live once."""

    def __init__(self) -> None:
        super().__init__()
        self.past: dict[str, SessionRecord] = {}

    def _put(self, handle, record):
        if not record.retired:
            self.past[handle] = record
        super()._put(handle, record)

    def ghost(self, handle: str, kind: str) -> SessionRecord | None:
        """Return what is dead under a handle, where it is dead in this way."""
        there, past = self._records.get(handle), self.past.get(handle)
        if there is None:
            missing = SessionRecord(b"", 1, self.clock(), None)
            return {"missing": missing if past is None else None, "destroyed": past}.get(kind)
        state = "expired" if there.is_expired(self.clock()) else "retired" if there.retired else "live"
        return there if state == kind else None


def revive(method: str, kind: str, *tests: str, only: Only = lambda self, ghost, given: True) -> None:
    """Register two adapters on which a method brings back a dead record; one answers ``True``, one ``False``."""

    def make(answer: bool) -> type[Ghosts]:
        async def call(self, handle, given, record=None, **options):
            ghost = self.ghost(handle, kind)
            if ghost is None or not only(self, ghost, given if record is None else record):
                rest = (given,) if record is None else (given, record)
                return await getattr(MemorySessionAdapter, method)(self, handle, *rest, **options)
            if method == "renew":
                self._put(handle, replace(ghost, expires_at=given, retired=False))
            else:
                self._put(handle if record is None else given, given if record is None else record)
            return answer

        name = f"{method.title()}Revives{kind.title()}{'' if answer else 'InSilence'}"
        return type(name, (Ghosts,), {method: call})

    for answer in (True, False):
        noticed_by(*tests)(make(answer))


def version(number: int) -> Only:
    """Only a record of this version."""
    return lambda self, ghost, given: given.version == number


def follows(self, ghost, given) -> bool:
    """Only the version after the last."""
    return given.version == ghost.version + 1


def late(self, ghost, given) -> bool:
    """Only an end that is further away than any record's is at first."""
    return given is not None and given > self.clock() + 1200


def ends(self, ghost, given) -> bool:
    """Only an end."""
    return given is not None


def never(self, ghost, given) -> bool:
    """Only ``None``."""
    return given is None


for number in (0, 1, 2):
    revive("update", "missing", "update_never_creates", only=version(number))
revive("update", "destroyed", "destroy_removes_a_record", only=follows)
revive("update", "expired", "update_never_revives_an_expired_record", only=follows)
for number in (2, 3):
    revive("update", "retired", "update_never_revives_a_retired_record", only=version(number))
    revive("update", "retired", "a_rotated_away_handle_is_dead", only=version(number))
revive("update", "retired", "update_can_retire", only=follows)
revive("renew", "missing", "renew_never_revives", only=late)
revive("renew", "missing", "renew_never_revives", only=never)
revive("renew", "destroyed", "destroy_removes_a_record", only=late)
revive("renew", "expired", "renew_never_revives", only=ends)
revive("renew", "retired", "renew_never_revives", only=late)
revive("renew", "retired", "a_rotated_away_handle_is_dead", only=ends)
revive("renew", "destroyed", "nothing_survives_a_parallel_destroy", only=never)
revive("update", "destroyed", "nothing_survives_a_parallel_destroy", only=version(2))
for kind in ("missing", "expired", "retired"):
    revive("rotate", kind, "rotate_of_what_is_not_live_changes_nothing", only=follows)
revive("rotate", "destroyed", "destroy_removes_a_record", only=follows)
for number in (2, 3):
    revive("rotate", "retired", "a_rotated_away_handle_is_dead", only=version(number))


def accept(method: str, offset: int, *tests: str) -> None:
    """Register an adapter that accepts a version so far from the one that is stored."""

    async def update(self, handle, record):
        current = self._get(handle)
        if current is not None and not current.retired and record.version == current.version + offset:
            self._put(handle, record)
            return True
        return await MemorySessionAdapter.update(self, handle, record)

    async def rotate(self, old, new, record, retired):
        current = self._get(old)
        if current is not None and not current.retired and record.version == current.version + offset:
            self._put(new, record)
            self._put(old, retired)
            return True
        return await MemorySessionAdapter.rotate(self, old, new, record, retired)

    body = {"update": update} if method == "update" else {"rotate": rotate}
    noticed_by(*tests)(type(f"{method.title()}Accepts{offset:+}", (MemorySessionAdapter,), body))


for offset in (-4, -1, 0, 2, 3):
    accept("update", offset, "update_needs_the_version_before")
    if offset != 3:
        accept("rotate", offset, "rotate_needs_the_version_before")
accept("rotate", 0, "a_mixed_crowd_gets_the_answers_of_each_alone")
accept("update", 0, "renew_counts_as_a_change")


@noticed_by("destroy_removes_a_record")
class DestroyKeepsLive(MemorySessionAdapter):
    async def destroy(self, handle):
        if (record := self._get(handle)) is not None and not record.retired:
            return True
        return await super().destroy(handle)


@noticed_by("destroy_removes_a_record")
class DestroyKeepsRetired(MemorySessionAdapter):
    async def destroy(self, handle):
        if (record := self._get(handle)) is not None and record.retired:
            return True
        return await super().destroy(handle)


@noticed_by("destroy_of_what_is_missing_is_fine")
class DestroyMindsStrangers(Ghosts):
    async def destroy(self, handle):
        if self.ghost(handle, "missing") is not None:
            raise KeyError(handle)
        return await super().destroy(handle)


@noticed_by("destroy_of_what_is_missing_is_fine")
class DestroyMindsGhosts(Ghosts):
    async def destroy(self, handle):
        if self.ghost(handle, "destroyed") is not None:
            raise KeyError(handle)
        return await super().destroy(handle)


@noticed_by("destroy_of_what_is_missing_is_fine")
class DestroyRevivesGhosts(Ghosts):
    async def destroy(self, handle):
        ghost = self.ghost(handle, "destroyed")
        destroyed = await super().destroy(handle)
        if ghost is not None:
            self._put(handle, ghost)
        return destroyed


@noticed_by("a_destroyed_handle_can_be_created_again")
class CreateMindsGhosts(Ghosts):
    async def create(self, handle, record):
        return self.ghost(handle, "destroyed") is None and await super().create(handle, record)
