"""The contract of ``load``, ``create``, ``update`` and ``destroy``, one call at a time."""
# ruff: noqa: S101

from __future__ import annotations

from dataclasses import replace

from ...adapter import SessionAdapter
from ...record import RETIRED_SECONDS
from ..clock import FakeClock
from .base import ADA, FIRST, LIFETIME, SECOND, Contract, a_record, a_retired_record, rotate

__all__ = ["RecordLaws"]


class RecordLaws(Contract):
    """One record, from its creation to its removal."""

    async def test_load_of_what_is_missing_is_none(self, adapter: SessionAdapter) -> None:
        """Nothing is stored under a handle that was never created."""
        assert await adapter.load("missing") is None

    async def test_create_stores_a_record(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """A created record is loaded as it was given, by every adapter on the store."""
        record = a_record(clock, owner=ADA)
        assert await adapter.create("a", record) is True
        assert await adapter.load("a") == record
        assert await other.load("a") == record

    async def test_create_never_overwrites(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A second record under one handle is refused, and the first one stays."""
        record = a_record(clock, FIRST)
        assert await adapter.create("a", record)
        assert await adapter.create("a", a_record(clock, SECOND)) is False
        assert await adapter.load("a") == record

    async def test_create_never_overwrites_a_retired_record(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A handle that was rotated away is taken until its retired record has left."""
        retired = a_retired_record(clock)
        assert await adapter.create("a", retired)
        assert await adapter.create("a", a_record(clock)) is False
        assert await adapter.load("a") == retired

    async def test_create_takes_the_place_of_an_expired_record(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """An expired record counts as missing, although it may still be stored."""
        assert await adapter.create("a", a_record(clock, FIRST, owner=ADA))
        clock.advance(LIFETIME)
        record = a_record(clock, SECOND, version=7)
        assert await adapter.create("a", record) is True
        assert await adapter.load("a") == record

    async def test_a_record_expires_exactly_at_its_end(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A record is there until just before its end, and gone at its end."""
        record = a_record(clock)
        assert await adapter.create("a", record)
        clock.advance(LIFETIME - 0.001)
        assert await adapter.load("a") == record
        clock.advance(0.001)
        assert await adapter.load("a") is None

    async def test_a_record_without_an_end_never_expires(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """``expires_at=None`` is never."""
        record = a_record(clock, lifetime=None)
        assert await adapter.create("a", record)
        clock.advance(1e9)
        assert await adapter.load("a") == record
        assert await adapter.update("a", replace(record, version=2))

    async def test_a_retired_record_is_loaded_until_its_end(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A retired record is an answer of ``load``, and expires like any other."""
        retired = a_retired_record(clock)
        assert await adapter.create("a", retired)
        clock.advance(RETIRED_SECONDS - 0.001)
        assert await adapter.load("a") == retired
        clock.advance(0.001)
        assert await adapter.load("a") is None

    async def test_update_replaces_every_field(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """The next version takes the whole place of the one before, with an earlier end too."""
        assert await adapter.create("a", a_record(clock, FIRST))
        clock.advance(5)
        record = a_record(clock, SECOND, version=2, lifetime=10.0, owner=ADA)
        assert await adapter.update("a", record) is True
        assert await adapter.load("a") == record
        assert await other.load("a") == record
        clock.advance(10)
        assert await adapter.load("a") is None

    async def test_update_needs_the_version_before(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Only the successor of the stored version is accepted: no older, no same, no later one."""
        record = a_record(clock, version=5)
        assert await adapter.create("a", record)
        for version in (1, 4, 5, 7, 8):
            assert await adapter.update("a", a_record(clock, SECOND, version=version)) is False, version
        assert await adapter.load("a") == record
        assert await adapter.update("a", replace(record, version=6)) is True

    async def test_update_never_creates(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """There is no version before the first for an update to replace."""
        for version in (0, 1, 2):
            assert await adapter.update("a", a_record(clock, version=version)) is False, version
        assert await adapter.load("a") is None

    async def test_update_never_revives_an_expired_record(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """At its end a record is over, even for the update that would move the end."""
        assert await adapter.create("a", a_record(clock))
        clock.advance(LIFETIME)
        assert await adapter.update("a", a_record(clock, version=2)) is False
        assert await adapter.load("a") is None

    async def test_update_never_revives_a_retired_record(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A rotated-away handle never holds a live record again, whatever the version."""
        retired = a_retired_record(clock, version=2)
        assert await adapter.create("a", retired)
        for version in (2, 3):
            assert await adapter.update("a", a_record(clock, version=version)) is False, version
        assert await adapter.load("a") == retired

    async def test_update_can_retire(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A retired record may take the place of a live one: this is how a session is fenced before it is removed."""
        assert await adapter.create("a", a_record(clock, owner=ADA))
        retired = a_retired_record(clock, version=2)
        assert await adapter.update("a", retired) is True
        assert await adapter.update("a", a_record(clock, version=3)) is False
        assert await adapter.load("a") == retired

    async def test_destroy_removes_a_record(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """A destroyed record, live or retired, is gone for everybody, and nothing brings it back."""
        assert await adapter.create("live", a_record(clock, owner=ADA))
        assert await adapter.create("retired", a_retired_record(clock))
        assert await adapter.create("bystander", a_record(clock))
        for handle in ("live", "retired"):
            await adapter.destroy(handle)
            assert await adapter.load(handle) is None
            assert await other.load(handle) is None
            assert await adapter.update(handle, a_record(clock, version=2)) is False
            assert await adapter.renew(handle, clock() + 9 * LIFETIME) is False
            assert await rotate(adapter, handle, "new", a_record(clock, version=2)) is False
            assert await adapter.load(handle) is None
        assert await adapter.load("new") is None
        assert await adapter.load("bystander") is not None

    async def test_destroy_of_what_is_missing_is_fine(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Destroying twice, or what never was, is no error."""
        assert await adapter.create("a", a_record(clock))
        await adapter.destroy("a")
        await adapter.destroy("a")
        await adapter.destroy("missing")
        assert await adapter.load("a") is None

    async def test_destroy_says_whether_there_was_a_record(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """``True`` once for a live record, once for a retired one; ``False`` for what is missing, gone or expired."""
        kinds = {"live": a_record(clock, owner=ADA), "endless": a_record(clock, lifetime=None)}
        kinds["retired"] = a_retired_record(clock)
        for handle, record in kinds.items():
            assert await adapter.create(handle, record)
            assert await adapter.destroy(handle) is True, handle
            assert await adapter.destroy(handle) is False, handle
            assert await other.destroy(handle) is False, handle
            assert await other.create(handle, record)
        assert await adapter.destroy("missing") is False
        clock.advance(LIFETIME)
        for handle in ("live", "retired"):
            assert await adapter.destroy(handle) is False, handle
        assert await other.destroy("endless") is True

    async def test_a_destroyed_handle_can_be_created_again(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """Nothing of a destroyed record is in the way of a new one, and nothing of it is left in that."""
        assert await adapter.create("a", a_record(clock, FIRST, version=9, owner=ADA))
        await adapter.destroy("a")
        record = a_record(clock, SECOND, lifetime=None)
        assert await adapter.create("a", record) is True
        assert await adapter.load("a") == record
