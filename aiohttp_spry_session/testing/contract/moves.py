"""The contract of ``renew`` and ``rotate``, one call at a time."""
# ruff: noqa: S101

from __future__ import annotations

from dataclasses import replace

from ...adapter import SessionAdapter
from ...record import RETIRED_SECONDS, SessionRecord, Successor, successor_of
from ..clock import FakeClock
from .base import ADA, FIRST, LIFETIME, SECOND, Contract, a_record, a_retired_record, rotate

__all__ = ["MoveLaws"]


class MoveLaws(Contract):
    """A record whose end moves, or which moves to another handle."""

    async def test_renew_moves_the_end(self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock) -> None:
        """Renewal changes the end and the version, nothing else, and the record lives until the new end."""
        record = a_record(clock, owner=ADA)
        assert await adapter.create("a", record)
        end = clock() + 2 * LIFETIME
        assert await adapter.renew("a", end) is True
        renewed = replace(record, version=2, expires_at=end)
        assert await adapter.load("a") == renewed
        clock.advance(2 * LIFETIME - 0.001)
        assert await other.load("a") == renewed
        clock.advance(0.001)
        assert await other.load("a") is None

    async def test_renew_never_moves_the_end_earlier(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """The later of two ends counts, and never is the latest of all."""
        record = a_record(clock)
        assert await adapter.create("a", record)
        assert await adapter.renew("a", clock() + 1) is True
        assert await adapter.load("a") == replace(record, version=2)
        assert await adapter.renew("a", None) is True
        assert await adapter.load("a") == replace(record, version=3, expires_at=None)
        assert await adapter.renew("a", clock() + 1) is True
        assert await adapter.load("a") == replace(record, version=4, expires_at=None)

    async def test_renew_counts_as_a_change(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """An update that began before a renewal is refused, so it cannot undo it."""
        record = a_record(clock)
        assert await adapter.create("a", record)
        assert await adapter.renew("a", clock() + 2 * LIFETIME)
        assert await adapter.update("a", replace(record, version=2)) is False
        assert await adapter.update("a", replace(record, version=3)) is True

    async def test_renew_never_revives(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """What is missing, retired, or at its end cannot be renewed."""
        retired = a_retired_record(clock)
        assert await adapter.create("retired", retired)
        assert await adapter.renew("missing", clock() + 9 * LIFETIME) is False
        assert await adapter.renew("missing", None) is False
        assert await adapter.renew("retired", clock() + 9 * LIFETIME) is False
        assert await adapter.load("missing") is None
        assert await adapter.load("retired") == retired
        assert await adapter.create("expired", a_record(clock))
        clock.advance(LIFETIME)
        assert await adapter.renew("expired", clock() + LIFETIME) is False
        assert await adapter.load("expired") is None
        assert await adapter.load("retired") is None

    async def test_rotate_moves_a_session(
        self, adapter: SessionAdapter, other: SessionAdapter, clock: FakeClock
    ) -> None:
        """The new handle holds the given record, and the old one says where the session went."""
        assert await adapter.create("old", a_record(clock, FIRST))
        clock.advance(3)
        record = a_record(clock, SECOND, version=2, owner=ADA)
        assert await rotate(adapter, "old", "new", record) is True
        assert await adapter.load("new") == record
        assert await other.load("new") == record
        retired = await other.load("old")
        self.check_retired(retired, record, "new", grace_until=0.0, end=clock() + RETIRED_SECONDS)

    async def test_rotate_with_grace(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """The grace is in the retired record, which stays for 60 s, or for a grace that is longer."""
        for grace in (0.5, RETIRED_SECONDS, 300.0):
            old, new = f"old {grace}", f"new {grace}"
            assert await adapter.create(old, a_record(clock))
            record = a_record(clock, version=2)
            assert await rotate(adapter, old, new, record, grace=grace) is True
            assert await adapter.load(new) == record
            end = clock() + max(grace, RETIRED_SECONDS)
            self.check_retired(await adapter.load(old), record, new, grace_until=clock() + grace, end=end)

    def check_retired(
        self, retired: SessionRecord | None, live: SessionRecord, handle: str, *, grace_until: float, end: float
    ) -> None:
        """Hold what a rotation left behind to what the manager made."""
        assert retired is not None
        assert retired.retired
        assert successor_of(retired) == Successor(handle, grace_until)
        assert retired.expires_at == end
        assert retired.owner is None, "a retired record is nobody's session"
        assert retired.version == live.version
        assert live.payload not in retired.payload, "a retired record holds none of the session's data"

    async def test_a_rotated_away_handle_is_dead(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """No update, renewal, creation or second rotation makes anything live under the old handle."""
        assert await adapter.create("old", a_record(clock))
        assert await rotate(adapter, "old", "new", a_record(clock, version=2))
        for version in (2, 3):
            assert await adapter.update("old", a_record(clock, version=version)) is False
            assert await rotate(adapter, "old", "newer", a_record(clock, version=version)) is False
        assert await adapter.renew("old", clock() + LIFETIME) is False
        assert await adapter.create("old", a_record(clock)) is False
        retired = await adapter.load("old")
        assert retired is not None
        assert retired.retired
        assert await adapter.load("newer") is None
        clock.advance(RETIRED_SECONDS)
        assert await adapter.load("old") is None
        assert await adapter.load("new") is not None

    async def test_rotate_needs_the_version_before(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """With any other version nothing changes, at the old handle or at the new one."""
        record = a_record(clock, version=5, owner=ADA)
        assert await adapter.create("old", record)
        for version in (1, 4, 5, 7):
            assert await rotate(adapter, "old", "new", a_record(clock, version=version)) is False, version
            assert await adapter.load("new") is None
        assert await adapter.load("old") == record

    async def test_rotate_of_what_is_not_live_changes_nothing(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """What is missing, retired, or at its end cannot be rotated."""
        assert await adapter.create("retired", a_retired_record(clock, version=1))
        for old in ("missing", "retired"):
            assert await rotate(adapter, old, "new", a_record(clock, version=2)) is False, old
            assert await adapter.load("new") is None
        assert await adapter.create("expired", a_record(clock))
        clock.advance(LIFETIME)
        assert await rotate(adapter, "expired", "new", a_record(clock, version=2), grace=5.0) is False
        assert await adapter.load("new") is None

    async def test_rotate_never_overwrites(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A handle that is taken, by a live record or a retired one, is no place to rotate to; an expired one is."""
        old, taken, retired = a_record(clock), a_record(clock, FIRST), a_retired_record(clock)
        assert await adapter.create("old", old)
        assert await adapter.create("taken", taken)
        assert await adapter.create("retired", retired)
        assert await adapter.create("short", a_record(clock, lifetime=1.0))
        for new, there in (("taken", taken), ("retired", retired)):
            assert await rotate(adapter, "old", new, a_record(clock, version=2)) is False
            assert await adapter.load(new) == there
            assert await adapter.load("old") == old
        clock.advance(1)
        assert await rotate(adapter, "old", "short", a_record(clock, version=2)) is True

    async def test_a_session_can_rotate_again(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        """A chain of rotations leads from each handle to the next."""
        assert await adapter.create("0", a_record(clock))
        for step in range(1, 5):
            assert await rotate(adapter, str(step - 1), str(step), a_record(clock, version=step + 1)) is True
        for step in range(4):
            retired = await adapter.load(str(step))
            assert retired is not None
            successor = successor_of(retired)
            assert successor is not None
            assert successor.handle == str(step + 1)
        live = await adapter.load("4")
        assert live is not None
        assert not live.retired
