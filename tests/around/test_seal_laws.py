"""Whatever is changed by hand in a store of sealed records, the session is absent and reported, its neighbours well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionAdapter, SessionRecord
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.adapters.sealed.seals import MAGIC
from aiohttp_spry_session.record import retire
from aiohttp_spry_session.testing import FakeClock

from .conftest import MakeAdapter, MakeStore
from .contracts import KINDS

KEY, OTHER = b"k" * 32, b"o" * 32

Change = Callable[[SessionRecord], SessionRecord]


def flipped(position: int) -> Change:
    """Change one bit of the payload."""

    def change(record: SessionRecord) -> SessionRecord:
        payload = bytearray(record.payload)
        payload[position] ^= 1
        return replace(record, payload=bytes(payload))

    return change


CHANGES: dict[str, Change] = {
    "magic": flipped(0),
    "form": flipped(1),
    "key": flipped(2),
    "nonce": flipped(12),
    "content": flipped(24),
    "tag": flipped(-1),
    "cut short": lambda record: replace(record, payload=record.payload[:-1]),
    "made longer": lambda record: replace(record, payload=record.payload + b"\0"),
    "only the head": lambda record: replace(record, payload=record.payload[:10]),
    "emptied": lambda record: replace(record, payload=b""),
    "unsealed": lambda record: replace(record, payload=b"\x80"),
    "a later version": lambda record: replace(record, version=record.version + 1),
    "an earlier version": lambda record: replace(record, version=record.version - 1),
    "begun later": lambda record: replace(record, created_at=record.created_at + 1),
    "extended": lambda record: replace(record, expires_at=None if record.expires_at is None else record.expires_at + 1),
    "endless": lambda record: replace(record, expires_at=None),
    "another owner": lambda record: replace(record, owner="mallory"),
    "a longer owner": lambda record: replace(record, owner=f"{record.owner}a"),
    "no owner": lambda record: replace(record, owner=None),
    "an empty owner": lambda record: replace(record, owner=""),
    "retired": lambda record: replace(record, retired=True),
}


@pytest.fixture(params=KINDS)
async def make_adapter(request: pytest.FixtureRequest, make_store: MakeStore) -> MakeAdapter:
    """Make adapters on one store, of each kind."""
    return make_store(request.param)


@pytest.fixture
async def store(make_adapter: MakeAdapter, clock: FakeClock) -> AsyncIterator[SessionAdapter]:
    """The store, as who can write to it has it."""
    adapter = make_adapter()
    adapter.clock = clock
    await adapter.open()
    yield adapter
    await adapter.close()


@pytest.fixture(params=[False, True], ids=["owners shown", "owners hidden"])
async def sealed(
    request: pytest.FixtureRequest, make_adapter: MakeAdapter, clock: FakeClock
) -> AsyncIterator[SealedAdapter]:
    """The site's adapter on that store."""
    adapter = SealedAdapter(make_adapter(), KEY, hide_owners=request.param)
    adapter.clock = clock
    await adapter.open()
    yield adapter
    await adapter.close()


@pytest.fixture
def record(clock: FakeClock) -> SessionRecord:
    return SessionRecord(b"values", 3, clock(), clock() + 1000, "ada")


async def plant(store: SessionAdapter, handle: str, record: SessionRecord) -> None:
    """Put a record in the place of whatever is there."""
    await store.destroy(handle)
    assert await store.create(handle, record)


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "is corrupt and counts as absent" in message]


async def test_every_change_of_a_record(
    store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord, caplog: pytest.LogCaptureFixture
) -> None:
    """For each field: the session is absent everywhere and reported by its handle; its neighbours are as they were."""
    assert await sealed.create("neighbour", record)
    for what, change in CHANGES.items():
        assert await sealed.create(what, record)
        stored = await store.load(what)
        assert stored is not None
        changed = change(stored)
        assert changed != stored
        await plant(store, what, changed)
        caplog.clear()
        assert await asyncio.gather(sealed.load(what), sealed.load("neighbour")) == [None, record], what
        assert len(reports(caplog)) == 1, what
        assert repr(what) in reports(caplog)[0]
        assert await sealed.renew(what, None) is False, what
        assert dict(await sealed.find("ada")) == {"neighbour": record}, what
        assert not await sealed.find("mallory"), what
        await store.destroy(what)


async def test_a_record_of_another_row(store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord) -> None:
    """A payload, or a whole record, copied to another handle is no session there."""
    assert await sealed.create("mine", record)
    assert await sealed.create("victim's", replace(record, payload=b"treasure"))
    theirs = await store.load("victim's")
    mine = await store.load("mine")
    assert theirs is not None
    assert mine is not None
    for planted in (theirs, replace(mine, payload=theirs.payload)):
        await plant(store, "mine", planted)
        assert await sealed.load("mine") is None
        await plant(store, "new", planted)
        assert await sealed.load("new") is None
    assert await sealed.load("victim's") == replace(record, payload=b"treasure")


async def test_a_planted_way_into_anothers_session(
    store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord, clock: FakeClock
) -> None:
    """A retired row that leads to a victim's session is refused: self-made, copied, or with a record's seal."""
    assert await sealed.create("victim's", record)
    made = retire(replace(record, version=9), "victim's", now=clock(), grace=1000.0)
    await plant(store, "forged", made)
    assert await sealed.load("forged") is None
    # One that the site made itself, for the way from the victim's first handle to the second.
    assert await sealed.create("first", record)
    moved = replace(record, version=4)
    assert await sealed.rotate("first", "second", moved, retire(moved, "second", now=clock(), grace=1000.0))
    way = await store.load("first")
    live = await store.load("second")
    assert way is not None
    assert live is not None
    for planted in (way, replace(live, retired=True, owner=None), replace(way, payload=live.payload)):
        await plant(store, "forged", planted)
        assert await sealed.load("forged") is None
    assert await sealed.load("first") == retire(moved, "second", now=clock(), grace=1000.0)


async def test_an_older_record_in_its_own_place(
    store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord
) -> None:
    """What remains to who can write: to delete a session, or to put an older whole record back."""
    assert await sealed.create("a", record)
    older = await store.load("a")
    assert older is not None
    assert await sealed.update("a", replace(record, version=4, payload=b"newer"))
    await plant(store, "a", older)
    assert await sealed.load("a") == record


async def test_nothing_can_be_read(store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord) -> None:
    """Neither values nor, where it is hidden, the owner; and equal records look different."""
    for handle in ("a", "b"):
        assert await sealed.create(handle, record)
    first, second = await store.load("a"), await store.load("b")
    assert first is not None
    assert second is not None
    assert b"values" not in first.payload
    assert b"ada" not in first.payload
    assert (first.owner == "ada") is not sealed.hide_owners
    assert "ada" not in repr(first) or not sealed.hide_owners
    assert first.payload != second.payload
    assert first.payload.startswith(MAGIC)


async def test_keys_change_while_sessions_go_on(store: SessionAdapter, record: SessionRecord) -> None:
    """With the new key first nobody is logged out, and what is written is sealed with it; then the old one may go."""

    async def site(*keys: bytes, **options: Any) -> SealedAdapter:
        adapter = SealedAdapter(store, keys, **options)  # the store is open already
        await adapter.load("anything")  # which looks at the canary first
        return adapter

    before = await site(KEY)
    assert await before.create("used", record)
    assert await before.create("unused", record)
    beside = await site(KEY, OTHER)
    after = await site(OTHER, KEY, hide_owners=True)
    assert await after.load("used") == record
    assert set(await after.find("ada")) == {"used", "unused"}
    assert await after.update("used", replace(record, version=4))
    assert set(await after.find("ada")) == {"used", "unused"}
    assert await beside.load("used") == replace(record, version=4)
    assert set(await beside.find("ada")) == {"used", "unused"}
    only = await site(OTHER)
    assert await only.load("used") == replace(record, version=4)
    assert await only.load("unused") is None
    with pytest.raises(AdapterError, match="none of the keys"):
        await site(KEY)


async def test_the_canary(
    make_adapter: MakeAdapter, store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord, clock: FakeClock
) -> None:
    """A wrong key is refused at the start, and nothing of the canary is counted, listed, loaded, or ended."""
    assert await sealed.create("a", record)
    wrong = SealedAdapter(make_adapter(), OTHER)
    with pytest.raises(AdapterError, match="none of the keys") as caught:
        await wrong.open()
    assert caught.value.operation == "open"
    for operation in (wrong.load("a"), wrong.create("b", record), wrong.find("ada")):
        with pytest.raises(Exception, match=r"none of the keys|not open"):
            await operation
    handle = "spry-session-canary"
    assert await sealed.load(handle) is None
    assert await sealed.destroy(handle) is False
    assert await sealed.create(handle, record) is False
    assert await sealed.update(handle, record) is False
    assert await sealed.renew(handle, None) is False
    clock.advance(1e6)
    await sealed.purge()
    assert await sealed.purge() == 0
    again = SealedAdapter(make_adapter(), [OTHER, KEY])
    await again.open()
    await again.close()
    with pytest.raises(AdapterError, match="none of the keys"):
        await SealedAdapter(make_adapter(), KEY).open()


async def test_one_record_with_an_unknown_key(
    store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord, clock: FakeClock, caplog: Any
) -> None:
    """It is one corrupt record, and the log says why."""
    foreign_store = MemorySessionAdapter()
    foreign = SealedAdapter(foreign_store, OTHER)
    foreign.clock = clock
    assert await foreign.create("a", record)
    foreign_record = await foreign_store.load("a")
    assert foreign_record is not None
    assert await sealed.create("b", record)
    await plant(store, "a", foreign_record)
    assert [await sealed.load("a"), await sealed.load("b")] == [None, record]
    assert "a key that is not among those of this process" in reports(caplog)[0]


async def test_unsealed_records_are_accepted_where_they_are_to_be(
    store: SessionAdapter, sealed: SealedAdapter, record: SessionRecord, caplog: Any
) -> None:
    """Only with ``accept_unsealed``, and only until they are written."""
    await plant(store, "a", record)
    assert await sealed.load("a") is None
    assert "it is not sealed" in reports(caplog)[0]
    sealed.accept_unsealed = True
    assert await sealed.load("a") == record
    assert set(await sealed.find("ada")) == {"a"}
    assert await sealed.load("spry-session-canary") is None
    assert await sealed.update("a", replace(record, version=4))
    sealed.accept_unsealed = False
    assert await sealed.load("a") == replace(record, version=4)
    assert set(await sealed.find("ada")) == {"a"}
