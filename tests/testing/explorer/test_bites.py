"""The explorer notices when a fence is taken away: each break of the library or of a store breaks a law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.events import Events
from aiohttp_spry_session.identifiers import IdentifierSource
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.request import driver as driver_module
from aiohttp_spry_session.request import plan as plan_module
from aiohttp_spry_session.request.cookie import CookieDecision
from aiohttp_spry_session.request.driver import Driver
from aiohttp_spry_session.request.landing import Landing
from aiohttp_spry_session.request.lifecycle import Lifecycle
from aiohttp_spry_session.request.limit import Before, SessionLimit
from aiohttp_spry_session.request.look_up import LookUp
from aiohttp_spry_session.request.plan import next_step, start
from aiohttp_spry_session.request.state import SessionState
from aiohttp_spry_session.request.status import CookieAction, LostError, Status
from aiohttp_spry_session.request.steps import Update
from aiohttp_spry_session.store.trails import Ended, Trails
from aiohttp_spry_session.testing.explorer import BrokenLawError, Explorer
from aiohttp_spry_session.watch.table import Table
from aiohttp_spry_session.watch.watcher import Watcher

from ...minimal import MinimalAdapter, PlainAdapter

Break = Callable[[pytest.MonkeyPatch], None]


def no_version_fence(patch: pytest.MonkeyPatch) -> None:
    """``update`` overwrites a newer record."""

    async def update(self: PlainAdapter, handle: str, record: SessionRecord) -> bool:
        if self.live(handle) is None:
            return False
        self.records[handle] = record
        return True

    patch.setattr(PlainAdapter, "update", update)


def update_creates(patch: pytest.MonkeyPatch) -> None:
    """``update`` creates a record that is not there."""
    original = PlainAdapter.update

    async def update(self: PlainAdapter, handle: str, record: SessionRecord) -> bool:
        return await original(self, handle, record) or await self.create(handle, record)

    patch.setattr(PlainAdapter, "update", update)


def renew_revives(patch: pytest.MonkeyPatch) -> None:
    """``renew`` extends a retired record too."""

    async def renew(self: PlainAdapter, handle: str, expires_at: float | None) -> bool:
        current = await self.load(handle)
        if current is not None:
            self.records[handle] = replace(current, expires_at=expires_at)
        return current is not None

    patch.setattr(PlainAdapter, "renew", renew)


def rotate_has_no_fence(patch: pytest.MonkeyPatch) -> None:
    """``rotate`` moves whatever it finds."""

    async def rotate(self: PlainAdapter, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        self.records[new] = record
        self.records[old] = retired
        return True

    patch.setattr(PlainAdapter, "rotate", rotate)


def rotate_leaves_the_old(patch: pytest.MonkeyPatch) -> None:
    """``rotate`` leaves the old record live."""

    async def rotate(self: PlainAdapter, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        self.records[new] = record
        return True

    patch.setattr(PlainAdapter, "rotate", rotate)


def rotate_stores_nothing(patch: pytest.MonkeyPatch) -> None:
    """``rotate`` removes the old record, and stores no new one."""

    async def rotate(self: PlainAdapter, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        del self.records[old]
        return True

    patch.setattr(PlainAdapter, "rotate", rotate)


def load_misses(patch: pytest.MonkeyPatch) -> None:
    """``load`` does not find what is there."""

    async def load(self: PlainAdapter, handle: str) -> SessionRecord | None:
        return None

    patch.setattr(PlainAdapter, "load", load)


def create_overwrites(patch: pytest.MonkeyPatch) -> None:
    """``create`` overwrites, and the generator repeats itself."""

    async def create(self: PlainAdapter, handle: str, record: SessionRecord) -> bool:
        self.records[handle] = record
        return True

    patch.setattr(PlainAdapter, "create", create)
    patch.setattr(IdentifierSource, "_checked", lambda self, made: "always-the-same")


def create_does_nothing(patch: pytest.MonkeyPatch) -> None:
    """``create`` answers that it stored what it did not."""
    original = PlainAdapter.create

    async def create(self: PlainAdapter, handle: str, record: SessionRecord) -> bool:
        return bool(self.records) or await original(self, handle, record)

    patch.setattr(PlainAdapter, "create", create)


def expiry_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """The store takes expired records for live ones."""
    patch.setattr(SessionRecord, "is_expired", lambda self, now: False)


def end_has_no_fence(patch: pytest.MonkeyPatch) -> None:
    """``destroy`` and ``revoke`` look where the session is, and delete it there."""

    async def end(self: Any, handle: str) -> Ended | None:
        trail = await self.trail(handle)
        record = await self._store.load(trail[-1])
        for past in trail:
            await self._store.destroy(past)
        return None if record is None else Ended(trail[-1], record.owner)

    patch.setattr(Trails, "end", end)


def end_follows_nothing(patch: pytest.MonkeyPatch) -> None:
    """``destroy`` and ``revoke`` delete the record under the handle that they know."""

    async def end(self: Any, handle: str) -> Ended | None:
        await self._store.destroy(handle)
        return Ended(handle, None)

    patch.setattr(Trails, "end", end)


def stale_values_are_committed(patch: pytest.MonkeyPatch) -> None:
    """A commit that lost a race takes over the new version, but not the new values."""
    original = SessionState.refreshed

    def refreshed(self: Any, *details: Any) -> None:
        values = self.view.values
        original(self, *details)
        self.view.values = values

    patch.setattr(SessionState, "refreshed", refreshed)


def commits_give_up(patch: pytest.MonkeyPatch) -> None:
    """A commit that lost a race is dropped, and nobody is told."""

    async def land_at_last(self: Any, state: SessionState, plan: Any) -> None:
        state.discard()

    patch.setattr(Landing, "_land_at_last", land_at_last)


def conflicts_are_answered_after_the_write(patch: pytest.MonkeyPatch) -> None:
    """An atomic operation takes effect, and says that the session has ended."""
    original = SessionState.landed

    def landed(self: Any, step: Any) -> None:
        original(self, step)
        if isinstance(step, Update):
            raise LostError("ended")

    patch.setattr(SessionState, "landed", landed)


def rejections_are_silent(patch: pytest.MonkeyPatch) -> None:
    """``on_rejected`` does not fire."""
    original = Events.emit

    async def emit(self: Any, name: Any, *details: Any, **more: Any) -> None:
        if name != "rejected":
            await original(self, name, *details, **more)

    patch.setattr(Events, "emit", emit)


def lost_sessions_are_started_again(patch: pytest.MonkeyPatch) -> None:
    """A write to a session that ended meanwhile is created anew."""

    async def commit(self: Any, state: SessionState) -> None:
        values = dict(state.view.values)
        try:
            await self._save(state, last=True)
        except LostError:
            state.ended()
            await self._landing.start(state, lambda: start(state, self.clock(), values=values, reason="started"))

    patch.setattr(Driver, "_commit", commit)


def after_each_commit(patch: pytest.MonkeyPatch, status: Status, cookie: CookieAction) -> None:
    """Let a commit that leaves the session so decide for this cookie."""
    original = Driver.commit

    async def commit(self: Any, state: SessionState) -> None:
        await original(self, state)
        if state.status is status:
            state.cookie.action = cookie

    patch.setattr(Driver, "commit", commit)


def dropped_changes_remove_the_cookie(patch: pytest.MonkeyPatch) -> None:
    """A response whose changes were dropped removes the cookie."""
    after_each_commit(patch, Status.ENDED, CookieAction.EXPIRE)


def every_commit_sends_the_cookie(patch: pytest.MonkeyPatch) -> None:
    """Every response that changed something carries the cookie."""
    after_each_commit(patch, Status.LIVE, CookieAction.SEND)


def after_each_arrival(patch: pytest.MonkeyPatch, change: Callable[[SessionState], None]) -> None:
    """Change what came of what the client presented."""
    original = SessionState.arrive

    def arrive(self: Any, *details: Any) -> None:
        original(self, *details)
        change(self)

    patch.setattr(SessionState, "arrive", arrive)


def reads_send_the_cookie(patch: pytest.MonkeyPatch) -> None:
    """Every response carries the cookie."""

    def change(state: SessionState) -> None:
        if state.status is Status.LIVE:
            state.cookie.send()

    after_each_arrival(patch, change)


def retired_identifiers_start_sessions(patch: pytest.MonkeyPatch) -> None:
    """A plain write under a rotated-away identifier starts a session."""

    def change(state: SessionState) -> None:
        if state.status is Status.RETIRED:
            state.status = Status.ABSENT

    after_each_arrival(patch, change)


def rotations_lose_their_cookie(patch: pytest.MonkeyPatch) -> None:
    """The response of a rotation does not carry the new identifier."""
    original = Driver.rotate

    async def rotate(self: Any, state: SessionState, **details: Any) -> None:
        await original(self, state, **details)
        state.cookie.keep()

    patch.setattr(Driver, "rotate", rotate)


def successors_are_followed_without_a_grace(patch: pytest.MonkeyPatch) -> None:
    """A rotated-away identifier leads to the session for as long as it is remembered."""
    original = Trails.follow

    async def follow(self: Any, handle: str, record: Any) -> Any:
        last = (await self.trail(handle))[-1]
        return await original(self, last, await self._store.load(last))

    patch.setattr(Trails, "follow", follow)


def graces_are_not_noticed(patch: pytest.MonkeyPatch) -> None:
    """A request within the grace of its identifier does not know that it is."""

    def change(state: SessionState) -> None:
        if state.place is not None:
            state.place = replace(state.place, follows=False)

    after_each_arrival(patch, change)


def cookies_are_written_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A cookie is decided at a commit point, and written with the headers, whatever became of the session."""

    async def look_again(self: Any, state: SessionState) -> None:
        pass

    patch.setattr(Driver, "_look_again", look_again)


def renewals_decide_at_commit_points(patch: pytest.MonkeyPatch) -> None:
    """So does a renewal that was asked for before a commit point."""
    patch.setattr(
        driver_module,
        "next_step",
        lambda state, now, compute=None, *, last=False: next_step(state, now, compute, last=True),
    )
    cookies_are_written_unchecked(patch)


def graces_are_compared_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    """A rotation without a grace says "until now", by the clock of its machine."""

    def until_now(record: SessionRecord, handle: str, *, now: float, grace: float = 0.0) -> SessionRecord:
        return retire(record, handle, now=now, grace=grace or 1e-3)

    patch.setattr(plan_module, "retire", until_now)


def unknown_outcomes_have_no_spare(patch: pytest.MonkeyPatch) -> None:
    """The response of a rotation of unknown outcome carries no second cookie."""
    patch.setattr(CookieDecision, "doubt", lambda self, place: None)


def spares_stay(patch: pytest.MonkeyPatch) -> None:
    """The second cookie is never removed."""
    patch.setattr(CookieDecision, "settle", lambda self: None)


def spares_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """The second cookie is removed, and never looked at."""

    async def settle(self: Any, state: SessionState, status: Any) -> None:
        state.cookie.settle()

    patch.setattr(LookUp, "_settle", settle)


def late_binds_are_refused(patch: pytest.MonkeyPatch) -> None:
    """A ``bind`` whose session was taken meanwhile is told to try again."""

    async def let_go(self: Any, state: SessionState, lost: LostError, owner: str) -> None:
        raise lost

    patch.setattr(Lifecycle, "_let_go", let_go)


def late_binds_keep_what_was_ended(patch: pytest.MonkeyPatch) -> None:
    """A ``bind`` whose session was ended meanwhile takes its values along."""

    async def let_go(self: Any, state: SessionState, lost: LostError, owner: str) -> None:
        state.leave(Status.ABSENT, values=True)

    patch.setattr(Lifecycle, "_let_go", let_go)


def hints_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    """Neither what other processes end, nor what this one ends itself."""
    patch.setattr(Watcher, "_hear", lambda self, handle: None)


def moves_are_not_followed(patch: pytest.MonkeyPatch) -> None:
    """A watched session stays in the table under the handle that it had first."""
    patch.setattr(Table, "move", lambda self, watched, handle: watched)


def rotations_end_sockets(patch: pytest.MonkeyPatch) -> None:
    """What was rotated away counts as ended."""
    patch.setattr(Trails, "newest", Trails.resolve)


BREAKS: list[tuple[Break, tuple[str, ...], str, str]] = [
    (no_version_fence, ("increment", "increment"), "live", "no lost update"),
    (no_version_fence, ("pop", "pop"), "live", "no lost update"),
    (no_version_fence, ("set", "remove"), "live", "no lost update"),
    (update_creates, ("set", "destroy"), "live", "no resurrection"),
    (update_creates, ("update", "revoke"), "live", "no resurrection"),
    (renew_revives, ("renew", "rotate"), "live", "no resurrection"),
    (rotate_has_no_fence, ("rotate", "rotate"), "live", "no resurrection"),
    (rotate_has_no_fence, ("bind", "set"), "live", "no lost update"),
    (rotate_leaves_the_old, ("rotate", "read"), "live", "no resurrection"),
    (rotate_leaves_the_old, ("rotate",), "live", "one successor"),
    (rotate_stores_nothing, ("rotate",), "live", "no lost session"),
    (load_misses, ("read",), "live", "no lost session"),
    (create_overwrites, ("forged set",), "live", "no lost session"),
    (conflicts_are_answered_after_the_write, ("increment",), "live", "all or nothing"),
    (create_does_nothing, ("forged set",), "live", "no lost update"),
    (expiry_is_ignored, ("set", "expiry"), "live", "no resurrection"),
    (end_has_no_fence, ("destroy", "rotate"), "live", "a logout logs out"),
    (end_has_no_fence, ("revoke", "bind"), "live", "a logout logs out"),
    (end_follows_nothing, ("destroy", "rotate"), "live", "a logout logs out"),
    (end_follows_nothing, ("revoke",), "retired", "a logout logs out"),
    (stale_values_are_committed, ("set", "increment"), "live", "no lost update"),
    (commits_give_up, ("set", "set"), "live", "no lost update"),
    (rejections_are_silent, ("set", "destroy"), "live", "no lost update"),
    (lost_sessions_are_started_again, ("set", "destroy"), "live", "a logout logs out"),
    (lost_sessions_are_started_again, ("set", "expiry"), "live", "no resurrection"),
    (dropped_changes_remove_the_cookie, ("set", "rotate"), "live", "no clobbered cookie"),
    (every_commit_sends_the_cookie, ("set",), "live", "no clobbered cookie"),
    (reads_send_the_cookie, ("read",), "live", "no clobbered cookie"),
    (retired_identifiers_start_sessions, ("set",), "retired", "no clobbered cookie"),
    (rotations_lose_their_cookie, ("rotate",), "live", "no clobbered cookie"),
    (graces_are_not_noticed, ("rotate with grace",), "grace", "one successor"),
    (successors_are_followed_without_a_grace, ("read",), "retired", "no resurrection"),
    (cookies_are_written_unchecked, ("rotate, headers later", "revoke"), "live", "no clobbered cookie"),
    (cookies_are_written_unchecked, ("rotate with grace, headers later", "bind"), "live", "no clobbered cookie"),
    (renewals_decide_at_commit_points, ("renew, increment, headers later", "bind"), "live", "no clobbered cookie"),
    (unknown_outcomes_have_no_spare, ("rotate, answer lost",), "live", "an outage logs nobody out"),
    (spares_are_ignored, ("rotate, answer lost",), "live", "an outage logs nobody out"),
    (spares_stay, ("rotate, never arrived",), "live", "an outage logs nobody out"),
    (late_binds_are_refused, ("bind", "rotate"), "live", "no needless failure"),
    (late_binds_keep_what_was_ended, ("bind", "destroy"), "live", "no resurrection"),
    (hints_are_not_heard, ("open socket", "destroy"), "live", "ends at once"),
    (hints_are_not_heard, ("open socket", "revoke"), "grace", "ends at once"),
    (hints_are_not_heard, ("open socket", "expiry"), "live", "ends at once"),
    (rotations_end_sockets, ("open socket", "rotate"), "live", "ends at once"),
]


@pytest.mark.parametrize(
    ("broken", "operations", "start", "law"),
    BREAKS,
    ids=[f"{case[0].__name__}: {', '.join(case[1])}" for case in BREAKS],
)
async def test_a_break_is_noticed(
    broken: Break, operations: tuple[str, ...], start: Any, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order of these operations breaks the law, and none does with the library as it is."""
    explorer = Explorer(PlainAdapter(), start=start)
    await explorer.explore(*operations)
    broken(monkeypatch)
    with pytest.raises(BrokenLawError, match=f"^{law}: "):
        await explorer.explore(*operations)


def nobody_looks_again(patch: pytest.MonkeyPatch) -> None:
    """A sign-in that may be refused is only looked at before it is made."""

    async def is_one_too_many(self: Any, *details: Any, **more: Any) -> bool:
        return False

    patch.setattr(SessionLimit, "is_one_too_many", is_one_too_many)


def only_newer_sign_ins_are_refused(patch: pytest.MonkeyPatch) -> None:
    """Of several at the same moment each takes itself for one that has its place already."""
    original = SessionLimit.is_one_too_many

    async def is_one_too_many(self: Any, owner: str, before: Any, *, went_on: bool) -> bool:
        return await original(self, owner, before._replace(counted=True), went_on=True)

    patch.setattr(SessionLimit, "is_one_too_many", is_one_too_many)


def late_binds_count_as_before(patch: pytest.MonkeyPatch) -> None:
    """A session that a late ``bind`` begins is taken for the one that it came with."""
    original = SessionLimit.is_one_too_many

    async def is_one_too_many(self: Any, owner: str, before: Any, *, went_on: bool) -> bool:
        return await original(self, owner, before, went_on=True)

    patch.setattr(SessionLimit, "is_one_too_many", is_one_too_many)


def who_is_refused_stays(patch: pytest.MonkeyPatch) -> None:
    """A sign-in that is refused is told so, and keeps what it was refused."""

    async def give_up(self: Any, *details: Any) -> None:
        pass

    patch.setattr(Lifecycle, "_give_up", give_up)


def all_others_end(patch: pytest.MonkeyPatch) -> None:
    """Each sign-in ends all others, also those of the same moment, which end it."""

    async def end_oldest(self: Any, state: SessionState, owner: str) -> None:
        for _, handle in await self._newest_first(owner):
            if handle != state.place.handle:
                await self._trails.end(handle)

    patch.setattr(SessionLimit, "end_oldest", end_oldest)


def the_oldest_of_before_ends(patch: pytest.MonkeyPatch) -> None:
    """Room is made before the sign-in, and nobody looks after it."""
    original = SessionLimit.end_oldest

    async def before(self: Any, state: SessionState, owner: str) -> Any:
        self.most -= 1
        await original(self, SessionState.begin(state.policy, state._identifiers, ("x",)), owner)
        self.most += 1
        return Before(state.record, state.view.facts, False)

    async def end_oldest(self: Any, state: SessionState, owner: str) -> None:
        pass

    patch.setattr(SessionLimit, "before", before)
    patch.setattr(SessionLimit, "end_oldest", end_oldest)


def who_signs_in_again_ends_as_old(patch: pytest.MonkeyPatch) -> None:
    """A session that is to end for its age is ended, though its user has signed in with it meanwhile."""
    original = Trails.end

    async def end(self: Any, handle: str, **details: Any) -> Ended | None:
        return await original(self, handle)

    patch.setattr(Trails, "end", end)


def nobody_ends(patch: pytest.MonkeyPatch) -> None:
    """There is no limit."""

    async def end_oldest(self: Any, state: SessionState, owner: str) -> None:
        pass

    patch.setattr(SessionLimit, "end_oldest", end_oldest)


BIND, SIGN_IN = "bind, the oldest end", "sign in, the oldest end"
BIND_OR_NOT, SIGN_IN_OR_NOT = "bind, or be refused", "sign in, or be refused"
LIMITS: list[tuple[Break, tuple[str, ...], dict[str, Any], str]] = [
    (nobody_looks_again, (SIGN_IN_OR_NOT, SIGN_IN_OR_NOT), {}, "no session too many"),
    (only_newer_sign_ins_are_refused, (SIGN_IN_OR_NOT, SIGN_IN_OR_NOT), {}, "no session too many"),
    (late_binds_count_as_before, (BIND_OR_NOT, BIND_OR_NOT), {"max_sessions": 1}, "no session too many"),
    (late_binds_count_as_before, (BIND_OR_NOT, "rotate"), {"max_sessions": 1}, "no session too many"),
    (who_is_refused_stays, (SIGN_IN_OR_NOT, SIGN_IN_OR_NOT), {}, "no needless failure"),
    (all_others_end, (SIGN_IN, SIGN_IN), {}, "no session too few"),
    (the_oldest_of_before_ends, (SIGN_IN, SIGN_IN), {}, "no session too many"),
    (who_signs_in_again_ends_as_old, (BIND, SIGN_IN), {}, "no session too few"),
    (nobody_ends, (SIGN_IN,), {}, "no session too many"),
]


@pytest.mark.parametrize(
    ("broken", "operations", "options", "law"), LIMITS, ids=[f"{case[0].__name__}: {case[1][-1]}" for case in LIMITS]
)
async def test_a_broken_limit_is_noticed(
    broken: Break, operations: tuple[str, ...], options: Any, law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise, of a limit of sessions."""
    explorer = Explorer(PlainAdapter(), **options)
    await explorer.explore(*operations, limit=100)
    broken(monkeypatch)
    with pytest.raises(BrokenLawError, match=f"^{law}: "):
        await explorer.explore(*operations)


@pytest.mark.parametrize("skew", [-2.0, -300.0])
async def test_a_comparison_of_two_clocks_is_noticed(skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For as long as one machine's clock is behind, the identifier before a login would lead into the session."""
    explorer = Explorer(PlainAdapter(), skew=skew)
    await explorer.explore("bind", "read")
    graces_are_compared_by_the_clock(monkeypatch)
    with pytest.raises(BrokenLawError, match=r"^no resurrection: "):
        await explorer.explore("bind", "read")


async def test_what_a_rotation_left_half_way_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the session would live on twice, or not be ended by its end."""
    explorer = Explorer(MinimalAdapter())
    await explorer.explore("rotate, never arrived", "rotate")
    spares_are_ignored(monkeypatch)
    with pytest.raises(BrokenLawError):
        await explorer.explore("rotate, never arrived", "rotate")


async def test_a_socket_that_follows_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes three: one that rotates the session, and one that ends it afterwards."""
    explorer = Explorer(PlainAdapter())
    three = "open socket", "rotate", "revoke owner"
    await explorer.sample(*three, orders=100)
    moves_are_not_followed(monkeypatch)
    with pytest.raises(BrokenLawError, match=r"^ends at once: "):
        await explorer.sample(*three, orders=100)
