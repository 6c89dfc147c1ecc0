"""Two stores: outages, counts, what is logged, and what is not moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionAdapter, SessionManager, SessionRecord
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.migrating.marks import grave_of, husk, is_husk, is_moved, moved, moving, seen
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter
from aiohttp_spry_session.cli.copying import copy
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.store.guard import GuardedStore
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter

from ..minimal import MinimalAdapter


class Faulty(FaultyAdapter):
    """One that lists and counts, too."""

    def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self.adapter.scan()

    async def count(self) -> int:
        return await self.adapter.count()


class Stores:
    """A new store and an old one, each of which can fail."""

    def __init__(self, clock: FakeClock) -> None:
        self.new, self.old = Faulty(MemorySessionAdapter()), Faulty(MemorySessionAdapter())
        self.adapter = MigratingAdapter(self.new, self.old)
        self.adapter.clock = clock

    def adapter_that_stays(self) -> MigratingAdapter:
        return MigratingAdapter(self.new, self.old, move=False)


@pytest.fixture
def stores(clock: FakeClock) -> Stores:
    return Stores(clock)


@pytest.fixture
def record(clock: FakeClock) -> SessionRecord:
    return SessionRecord(b"values", 3, clock(), clock() + 1000, "ada")


async def test_a_session_moves_at_its_next_use(stores: Stores, record: SessionRecord) -> None:
    """Just as it was; what is left in the old store holds nothing of it, and nobody's index has it."""
    assert await stores.old.create("a", record)
    assert await stores.adapter.load("a") == record
    assert await stores.new.load("a") == record
    mark = await stores.old.load("a")
    assert mark is not None
    assert is_moved(mark)
    assert b"values" not in mark.payload
    assert not await stores.old.find("ada")
    stores.old.calls.clear()
    assert await stores.adapter.load("a") == record
    assert await stores.adapter.update("a", replace(record, version=4))
    assert await stores.adapter.renew("a", None)
    assert stores.old.calls == [], "what has moved needs the old store no more"


async def test_sessions_stay_in_the_first_step(stores: Stores, record: SessionRecord) -> None:
    """Looked for in both, begun in the old one, and left where they are."""
    adapter = stores.adapter_that_stays()
    assert await stores.new.create("new", record)
    assert await adapter.create("old", record)
    assert await adapter.load("new") == record
    assert await adapter.load("old") == record
    for handle in ("new", "old"):
        assert await adapter.create(handle, record) is False
        assert await adapter.update(handle, replace(record, version=4))
        assert await adapter.renew(handle, None)
        live = replace(record, version=6)
        assert await adapter.rotate(handle, f"{handle}er", live, retire(live, f"{handle}er", now=record.created_at))
    assert await stores.new.load("newer") == await stores.old.load("older")
    assert set(await adapter.find("ada")) == {"newer", "older"}
    assert await stores.new.load("older") is None
    assert await stores.old.load("newer") is None
    assert await adapter.destroy("older") is True
    assert await adapter.destroy("older") is False


async def test_the_old_store_is_out_of_reach(stores: Stores, record: SessionRecord) -> None:
    """What is in the new one goes on, begins, rotates and ends; what is not known there is a failure."""
    await stores.old.create("left", record)
    await stores.old.create("moved", record)
    assert await stores.adapter.load("moved") == record
    stores.old.fail(times=None)
    assert await stores.adapter.load("moved") == record
    assert await stores.adapter.create("begun", record)
    for handle in ("moved", "begun"):
        live = replace(record, version=4)
        assert await stores.adapter.rotate(handle, f"{handle}+", live, retire(live, f"{handle}+", now=0.0, grace=1e12))
        assert await stores.adapter.destroy(f"{handle}+") is True
        assert await stores.adapter.destroy(f"{handle}+") is False
        assert await stores.adapter.load(f"{handle}+") is None
        assert await stores.adapter.destroy(handle) is True
    for operation in (
        stores.adapter.load("left"),
        stores.adapter.update("left", replace(record, version=4)),
        stores.adapter.renew("left", None),
        stores.adapter.destroy("left"),
        stores.adapter.find("ada"),
        stores.adapter.purge(),
    ):
        with pytest.raises(OSError, match="failed"):
            await operation
    stores.old.heal()
    assert await stores.adapter.load("left") == record
    assert await stores.adapter.load("moved") is None


async def test_what_ends_while_the_old_store_is_away(stores: Stores, record: SessionRecord, clock: FakeClock) -> None:
    """A copy that comes late finds its place taken all the same: nobody knows whether one is on its way."""
    await stores.old.create("a", record)
    assert await stores.adapter.load("a") == record
    stores.old.fail(times=None)
    assert await stores.adapter.update("a", retire(replace(record, version=4), "", now=clock()))
    assert await stores.adapter.destroy("a") is True
    assert await stores.adapter.destroy("a") is False
    assert await stores.new.create("a", record) is False
    assert await stores.adapter.load("a") is None


async def test_the_old_store_can_only_be_read(stores: Stores, record: SessionRecord) -> None:
    """As one that is full: its sessions are read where they are, and a change is a failure."""
    await stores.old.create("a", record)
    stores.old.fail("update", times=None)
    assert await stores.adapter.load("a") == record
    with pytest.raises(OSError, match="failed"):
        await stores.adapter.update("a", replace(record, version=4))
    assert await stores.adapter.count() == 1
    stores.old.heal()
    assert await stores.adapter.update("a", replace(record, version=4))
    assert await stores.new.load("a") == replace(record, version=4)


async def test_a_move_that_was_cut_short(stores: Stores, record: SessionRecord, clock: FakeClock) -> None:
    """After each of its steps the session is found, by its handle and its owner, and the next use finishes it."""
    await stores.old.create("a", record)
    stores.new.fail("create")
    with pytest.raises(OSError, match="failed"):
        await stores.adapter.load("a")
    assert dict(await stores.adapter.find("ada")) == {"a": record}
    assert dict([pair async for pair in stores.adapter.scan()]) == {"a": record}
    stores.old.fail("update")
    assert await stores.adapter.load("a") == record
    assert dict(await stores.adapter.find("ada")) == {"a": record}
    assert dict([pair async for pair in stores.adapter.scan()]) == {"a": record}
    await stores.adapter.update("a", replace(record, version=4, owner="bob"))
    assert not await stores.adapter.find("ada")
    assert set(await stores.adapter.find("bob")) == {"a"}
    live = replace(record, version=5, owner="bob")
    assert await stores.adapter.rotate("a", "b", live, retire(live, "b", now=clock()))
    assert dict([pair async for pair in stores.adapter.scan()]) == {"b": live}
    assert await stores.adapter.destroy("b")
    assert await stores.adapter.destroy("a")
    assert not await stores.adapter.find("ada")
    assert [pair async for pair in stores.adapter.scan()] == []


async def test_a_session_is_ended_on_its_way(stores: Stores, record: SessionRecord) -> None:
    """When it is marked in the old store, and not yet in the new one: what comes late finds its place taken."""
    await stores.old.create("a", record)
    assert await stores.old.update("a", moving(record))
    assert await stores.adapter.destroy("a") is True
    assert await stores.adapter.destroy("a") is False
    assert await stores.new.create("a", record) is False
    assert await stores.adapter.load("a") is None
    assert await stores.adapter.create("a", record) is True
    assert await stores.adapter.load("a") == record


async def test_husks_are_seen_for_as_long_as_they_would_be(
    stores: Stores, record: SessionRecord, clock: FakeClock
) -> None:
    """A rotated-away handle of a moved session is forgotten after a minute, though its place is kept longer."""
    await stores.old.create("a", record)
    live = replace(record, version=4)
    retired = retire(live, "b", now=clock())
    assert await stores.adapter.rotate("a", "b", live, retired)
    assert await stores.adapter.load("a") == retired
    assert await stores.adapter.update("a", replace(record, version=5)) is False
    clock.advance(60)
    assert await stores.adapter.load("a") is None
    assert await stores.new.create("a", record) is False
    assert await stores.adapter.destroy("a") is False
    assert await stores.adapter.create("a", record) is True
    assert await stores.adapter.rotate("b", "a", replace(live, version=5), replace(retired, version=5)) is False
    clock.advance(940)
    assert await stores.adapter.purge() == 2
    assert await stores.adapter.destroy("b") is False
    clock.advance(60)
    assert await stores.adapter.purge() == 1


async def test_the_old_record_is_over(stores: Stores, record: SessionRecord, clock: FakeClock) -> None:
    """What was renewed in the new store outlives its mark in the old one, and is then like any other."""
    await stores.old.create("a", record)
    assert await stores.adapter.renew("a", clock() + 9000)
    clock.advance(2000)
    assert await stores.adapter.destroy("a") is True
    assert await stores.new.load("a") is None


async def test_everything_has_moved(stores: Stores, record: SessionRecord, caplog: pytest.LogCaptureFixture) -> None:
    """``move_all`` moves what nobody used, and a purge that finds nothing left says so, once."""
    for handle in ("a", "b", "c"):
        await stores.old.create(handle, record)
    await stores.old.create("retired", retire(record, "a", now=record.created_at))
    await stores.adapter.purge()
    assert "has moved" not in caplog.text
    assert await stores.adapter.count() == 3
    await stores.adapter.load("a")
    assert await stores.adapter.count() == 3
    assert await stores.adapter.remaining() == 2
    assert await stores.adapter.move_all() == 2
    assert await stores.adapter.move_all() == 0
    assert await stores.adapter.remaining() == 0
    assert await stores.old.count() == 0
    assert dict([pair async for pair in stores.adapter.scan()]) == dict.fromkeys("abc", record)
    for _ in range(2):
        await stores.adapter.purge()
    assert caplog.messages == ["every session has moved: the old store holds none any more"]


async def test_a_copy_beside_a_site_that_moves(stores: Stores, record: SessionRecord, clock: FakeClock) -> None:
    """What the command line copies is what the site would move, on its way too; the rest is then marked as moved."""
    sessions = {handle: replace(record, payload=handle.encode()) for handle in ("there", "under way", "at the end")}
    for handle, session in sessions.items():
        await stores.old.create(handle, session)
    for handle in ("under way", "at the end"):
        await stores.old.update(handle, moving(sessions[handle]))
    await stores.new.create("at the end", sessions["at the end"])
    done = await copy(GuardedStore(stores.old, clock, None), GuardedStore(stores.new, clock, None), lambda number: None)
    assert done == {"copied": 2, "kept": 1, "replaced": 0}
    assert dict([pair async for pair in stores.new.scan()]) == sessions
    assert await stores.adapter.move_all() == 3
    assert await stores.old.count() == 0
    assert await stores.adapter.destroy("there")
    assert dict([pair async for pair in stores.adapter.scan()]).keys() == {"under way", "at the end"}


async def test_a_process_that_does_not_move_says_nothing(stores: Stores, caplog: Any) -> None:
    """Nor one whose old store cannot count."""
    await stores.adapter_that_stays().purge()
    await MigratingAdapter(MemorySessionAdapter(), MinimalAdapter()).purge()
    assert caplog.messages == []


async def test_a_scan_shows_each_session_once(stores: Stores, record: SessionRecord) -> None:
    """Also one that moves, or ends, while it runs."""
    for number in range(6):
        await stores.old.create(f"{number}", record)
    await stores.new.create("new", record)
    found = []
    async for handle, _ in stores.adapter.scan():
        found.append(handle)
        await stores.adapter.load("5")
        await stores.adapter.load(handle)
        if handle == "1":
            await stores.adapter.load("2")
            await stores.adapter.destroy("2")
    assert sorted(found) == ["0", "1", "3", "4", "5", "new"]


async def test_a_session_that_moves_while_it_is_looked_for(stores: Stores, record: SessionRecord) -> None:
    """Between the look into one store and into the other: it is found all the same."""
    await stores.old.create("a", record)
    other = MigratingAdapter(stores.new.adapter, stores.old.adapter)

    class Meanwhile(WrappingAdapter):
        async def find(self, owner: str) -> Mapping[str, SessionRecord]:
            try:
                return await super().find(owner)
            finally:
                await other.load("a")

        async def load(self, handle: str) -> SessionRecord | None:
            try:
                return await super().load(handle)
            finally:
                await other.load("a")

    new, old = stores.new.adapter, stores.old.adapter
    assert dict(await MigratingAdapter(new, Meanwhile(old)).find("ada")) == {"a": record}
    await stores.old.create("c", record)
    await stores.new.destroy("a")
    await stores.old.destroy("a")
    await stores.old.create("a", record)
    assert set(await MigratingAdapter(Meanwhile(new), old).find("ada")) == {"a", "c"}
    await stores.old.create("b", record)
    await stores.new.destroy("a")
    await stores.old.destroy("a")
    await stores.old.create("a", record)
    assert await MigratingAdapter(Meanwhile(new), old).load("a") == record


@pytest.mark.parametrize("step", ["load", "update", "destroy"])
async def test_others_move_it_meanwhile(stores: Stores, record: SessionRecord, step: str) -> None:
    """What was seen in the old store may be in the new one before the next call: it is looked for again."""
    await stores.old.create("a", record)
    other = MigratingAdapter(stores.new.adapter, stores.old.adapter)

    class Meanwhile(WrappingAdapter):
        async def update(self, handle: str, record: SessionRecord) -> bool:
            await other.load(handle)
            return await super().update(handle, record)

    adapter = MigratingAdapter(stores.new.adapter, Meanwhile(stores.old.adapter), move=step == "load")
    if step == "load":
        assert await adapter.load("a") == record
    elif step == "update":
        assert await adapter.update("a", replace(record, version=4)) is True
        assert await stores.new.load("a") == replace(record, version=4)
    else:
        assert await adapter.destroy("a") is True
        assert await stores.adapter.load("a") is None


async def test_a_handle_that_is_free_again_at_once(stores: Stores, record: SessionRecord) -> None:
    """What was in the way of a new record has expired when it is looked at: it is tried again."""

    class Late(WrappingAdapter):
        refused = False

        async def create(self, handle: str, record: SessionRecord) -> bool:
            if not self.refused:
                self.refused = True
                return False
            return await super().create(handle, record)

    assert await MigratingAdapter(Late(stores.new), stores.old).create("a", record) is True
    assert await stores.new.load("a") == record


def test_a_store_with_itself_is_refused() -> None:
    """However deep it is, and what is no adapter too."""
    store = MemorySessionAdapter()
    for new, old in ((store, store), (WrappingAdapter(store), store), (store, WrappingAdapter(WrappingAdapter(store)))):
        with pytest.raises(ValueError, match="new and old are the same store"):
            MigratingAdapter(new, old)
    with pytest.raises(ValueError, match="same store"):
        MigratingAdapter(MigratingAdapter(MemorySessionAdapter(), store), store)
    wrong: Any = "redis://"
    with pytest.raises(ValueError, match="old must be the SessionAdapter"):
        MigratingAdapter(store, wrong)
    with pytest.raises(ValueError, match="MigratingAdapter needs a SessionAdapter"):
        MigratingAdapter(wrong, store)
    with pytest.raises(ValueError, match="move"):
        MigratingAdapter(store, MemorySessionAdapter(), move=1)  # type: ignore[arg-type]


async def test_one_store_by_two_adapters_is_refused(make_store: Any) -> None:
    """Found when it is opened, which closes both again."""
    make = make_store("sqlite")
    adapter = MigratingAdapter(make(), make())
    with pytest.raises(AdapterError, match="new and old are the same store"):
        await adapter.open()
    with pytest.raises(AdapterError, match="not open"):
        await adapter.load("a")
    assert adapter.adapter.users == adapter.old.users == 0


async def test_opening_while_a_store_does_not_answer(stores: Stores) -> None:
    """That both are one store is then not looked for; what cannot be opened at all is a failure."""
    stores.new.fail("create")
    await stores.adapter.open()
    await stores.adapter.close()
    stores.old.fail("open")
    with pytest.raises(OSError, match="failed"):
        await stores.adapter.open()
    assert (stores.new.calls[-1], stores.new.users) == ("close", 0)


async def test_marks_that_somebody_else_wrote(stores: Stores, record: SessionRecord) -> None:
    """They are no failure: a record that nobody can read, for the one who reads sessions to report."""
    broken = replace(moving(record), payload=moving(record).payload[:20])
    await stores.old.create("a", broken)
    assert await stores.adapter.load("a") == broken
    broken = replace(husk(replace(record, retired=True)), payload=husk(record).payload[:8])
    await stores.new.create("b", broken)
    assert is_husk(broken)
    assert await stores.adapter.load("b") == broken
    assert seen(broken, 0.0) is broken


def test_marks_without_an_end(record: SessionRecord) -> None:
    """What never ends leaves marks that never end."""
    endless = replace(record, expires_at=None)
    assert moved(moving(endless)).expires_at is None
    assert husk(retire(record, "b", now=0.0), endless).expires_at is None
    assert grave_of("a") != "a"


async def test_a_site_moves_while_it_is_used(clock: FakeClock) -> None:
    """Sessions of a manager, with 20 requests at a time on each, while they move: each write is there."""
    from ..support import arrive, session_of

    new, old = MemorySessionAdapter(), MemorySessionAdapter()
    plain = SessionManager(old, clock=clock)
    identifiers = []
    for _ in range(5):
        life = arrive(plain, ())
        identifiers.append(session_of(life).identifier)
        await life.commit()
    managers = [SessionManager(MigratingAdapter(new, old, move=move), clock=clock) for move in (True, False)]

    async def visit(identifier: str, number: int) -> None:
        life = arrive(managers[number % 2], (identifier,))
        await session_of(life).increment("n")
        await life.commit()

    await asyncio.gather(*(visit(identifier, number) for number in range(20) for identifier in identifiers))
    for identifier in identifiers:
        assert await session_of(arrive(managers[0], (identifier,))).get("n") == 20


def test_it_is_an_adapter_of_two() -> None:
    """Its expiration is the new store's, its clock both's."""
    new, old = MemorySessionAdapter(expiration=10), MemorySessionAdapter(expiration=20)
    adapter: SessionAdapter = MigratingAdapter(new, old)
    clock = FakeClock()
    adapter.clock = clock
    assert adapter.expiration == 10.0
    assert new.clock is old.clock is adapter.clock is clock


async def test_move_all_passes_over_what_ends_meanwhile(clock: FakeClock) -> None:
    """A session that is listed, and gone before it could move, is none that has moved."""

    class Vanishing(MemorySessionAdapter):
        async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
            async for handle, record in super().scan():
                await self.destroy(handle)
                yield handle, record

    old = Vanishing()
    adapter = MigratingAdapter(MemorySessionAdapter(), old)
    adapter.clock = clock
    await adapter.open()
    await old.create("a", SessionRecord(b"", 1, clock(), clock() + 100.0))
    assert await adapter.move_all() == 0
    await adapter.close()
