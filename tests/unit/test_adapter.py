"""The abstract adapter: records, retired records, and the defaults that a minimal adapter gets."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, fields, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_spry_session import SessionAdapter, SessionManager, SessionRecord
from aiohttp_spry_session.record import RETIRED_SECONDS, latest, retire, successor_of
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate

from ..minimal import MinimalAdapter
from ..support import arrive, session_of

RECORD = SessionRecord(b"payload", 3, 10.0, 500.0, "user")


@pytest.fixture
def adapter() -> MinimalAdapter:
    """An adapter whose time is 100."""
    adapter = MinimalAdapter(expiration=1000)
    adapter.clock = FakeClock(100.0)
    return adapter


def test_record():
    """A record is a value without room for anything else."""
    with pytest.raises(AttributeError):
        RECORD.version = 4  # type: ignore[misc]
    assert not hasattr(RECORD, "__dict__")
    assert SessionRecord(b"", 1, 0.0, None) == SessionRecord(b"", 1, 0.0, None, None, False)


@pytest.mark.parametrize(("now", "expired"), [(499.9, False), (500.0, True), (1e9, True), (-1e9, False)])
def test_record_expires_at_its_very_end(now, expired):
    """From the moment of its end on it is gone; without one it never is."""
    assert RECORD.is_expired(now) is expired
    assert not replace(RECORD, expires_at=None).is_expired(now)


@pytest.mark.parametrize(("grace", "remembered"), [(0.0, 60.0), (30.0, 60.0), (90.0, 90.0)])
def test_retired_record(grace, remembered):
    """It names the successor and the end of the grace, and nothing of the session."""
    retired = retire(RECORD, "new", now=100.0, grace=grace)
    assert retired.retired
    assert (retired.version, retired.created_at, retired.expires_at) == (3, 10.0, 100.0 + remembered)
    assert retired.owner is None
    assert b"payload" not in retired.payload
    successor = successor_of(retired)
    assert (successor.handle, successor.grace_until) == ("new", 100.0 + grace if grace else 0.0)
    assert RETIRED_SECONDS == 60.0
    assert retire(RECORD, "new", now=100.0) == retire(RECORD, "new", now=100.0, grace=0.0)


@given(st.binary())
def test_corrupt_retired_record_names_nothing(payload):
    """Whatever its payload is, a retired record names a handle and a time, or nothing."""
    successor = successor_of(replace(RECORD, payload=payload, retired=True))
    assert successor is None or (isinstance(successor.handle, str) and isinstance(successor.grace_until, float))


@pytest.mark.parametrize(
    ("first", "second", "later"),
    [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (None, 1.0, None), (1.0, None, None), (None, None, None)],
)
def test_latest(first, second, later):
    """None is never, which is later than any time."""
    assert latest(first, second) == later


def test_four_methods_have_to_be_written():
    """An adapter without one of them cannot be made."""
    assert SessionAdapter.__abstractmethods__ == {"load", "create", "update", "destroy"}


def test_expiration():
    """20 minutes unless told otherwise; the clock is the wall's until a manager sets its own."""

    class Default(MinimalAdapter):
        def __init__(self) -> None:
            SessionAdapter.__init__(self)

    assert Default().expiration == timedelta(minutes=20).total_seconds()
    assert Default().clock is time.time
    assert Default().purge_interval == 60.0


async def test_default_renew(adapter):
    """The end moves to the later time and the version by one; what is gone or retired stays so."""
    await adapter.create("a", RECORD)
    assert await adapter.renew("a", 600.0)
    assert await adapter.load("a") == replace(RECORD, version=4, expires_at=600.0)
    assert await adapter.renew("a", 550.0)
    assert await adapter.load("a") == replace(RECORD, version=5, expires_at=600.0)
    assert await adapter.renew("a", None)
    assert (await adapter.load("a")).expires_at is None
    assert not await adapter.renew("missing", 600.0)
    adapter.records["retired"] = retire(RECORD, "a", now=100.0)
    assert not await adapter.renew("retired", 600.0)


async def test_default_renew_tries_again_when_it_is_overtaken(adapter, monkeypatch):
    """Another process that was faster costs another look, and loses nothing."""
    await adapter.create("a", RECORD)
    update = adapter.update

    async def overtaken(handle: str, record: SessionRecord) -> bool:
        monkeypatch.setattr(adapter, "update", update)
        assert await update(handle, replace(RECORD, payload=b"newer", version=4))
        return await update(handle, record)

    monkeypatch.setattr(adapter, "update", overtaken)
    assert await adapter.renew("a", 600.0)
    assert await adapter.load("a") == replace(RECORD, payload=b"newer", version=5, expires_at=600.0)


async def test_default_rotate(adapter):
    """The record lives on under its new handle; the old one is retired."""
    await adapter.create("a", RECORD)
    moved = replace(RECORD, version=4, payload=b"moved")
    assert await rotate(adapter, "a", "b", moved, grace=5.0)
    assert await adapter.load("b") == moved
    assert await adapter.load("a") == retire(moved, "b", now=100.0, grace=5.0)


@pytest.mark.parametrize("problem", ["missing", "newer", "older", "retired", "taken", "expired"])
async def test_default_rotate_that_cannot_be(adapter, problem):
    """Then it is False, and nothing changed."""
    if problem != "missing":
        await adapter.create("a", RECORD)
    if problem == "retired":
        adapter.records["a"] = retire(RECORD, "c", now=100.0)
    if problem == "taken":
        await adapter.create("b", RECORD)
    if problem == "expired":
        adapter.clock.now = 500.0
    before = dict(adapter.records)
    version = {"newer": 3, "older": 5}.get(problem, 4)
    assert not await rotate(adapter, "a", "b", replace(RECORD, version=version, expires_at=900.0))
    assert adapter.records == before


async def test_other_defaults(adapter):
    """No index of owners, said clearly; nothing to purge, to open or to close."""
    with pytest.raises(NotImplementedError) as caught:
        await adapter.find("user")
    assert str(caught.value) == (
        "MinimalAdapter keeps no index of owners: it has to implement find() for SessionManager.find() and "
        "revoke_owner() to work"
    )
    assert await adapter.purge() == 0
    assert await adapter.open() is None
    assert await adapter.close() is None


async def test_manager_on_a_minimal_adapter(adapter):
    """find and revoke_owner say that they cannot; everything else works."""
    async with SessionManager(adapter, clock=adapter.clock) as manager:
        for operation in (manager.find, manager.revoke_owner):
            with pytest.raises(NotImplementedError, match="keeps no index of owners"):
                await operation("user")
        session = session_of(arrive(manager, ()))
        await session.bind("user")
        assert await session.increment("n") == 1
        await session.rotate()
        assert await manager.revoke(session.handle)
        assert await manager.purge() == 0


def test_record_is_frozen_and_slotted_and_a_dataclass_to_the_standard_library():
    """Nothing can be changed or added; ``dataclasses.replace``, ``asdict`` and ``fields`` take a record."""
    record = SessionRecord(b"x", 1, 1.0, None, "owner")
    with pytest.raises(AttributeError):
        record.version = 2
    with pytest.raises(AttributeError):
        record.other = 2
    assert replace(record, version=2) == SessionRecord(b"x", 2, 1.0, None, "owner")
    assert asdict(record) == {
        "payload": b"x",
        "version": 1,
        "created_at": 1.0,
        "expires_at": None,
        "owner": "owner",
        "retired": False,
    }
    assert [field.name for field in fields(SessionRecord)] == list(asdict(record))
    assert len({record, SessionRecord(b"x", 1, 1.0, None, "owner")}) == 1


def test_record_is_no_work_for_the_garbage_collector():
    """A million of them in memory stretch no collection."""
    assert not gc.is_tracked(SessionRecord(b"x", 1, 1.0, None))
