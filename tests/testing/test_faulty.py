"""FaultyAdapter."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import AdapterError, MemorySessionAdapter, SessionManager, SQLiteSessionAdapter
from aiohttp_spry_session.testing import AdapterContract, FakeClock, FaultyAdapter
from aiohttp_spry_session.testing.contract.base import a_record, rotate
from aiohttp_spry_session.testing.faulty import Fault


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    adapter = FaultyAdapter(MemorySessionAdapter(expiration=99))
    adapter.clock = clock
    return adapter


class TestFaultless(AdapterContract):
    """Without a fault it is as good as the adapter behind it."""

    @pytest.fixture
    def make_adapter(self, tmp_path):
        return lambda: FaultyAdapter(SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF"))


def test_it_stands_for_the_adapter_behind_it(store, clock):
    """Expiration and clock are those of the inner adapter."""
    assert store.expiration == 99
    assert store.adapter.clock is store.clock is clock


async def test_calls_are_recorded_by_name(store, clock):
    """Every method that is called is in the list, in order, the failing ones too."""
    store.fail("find")
    await store.open()
    await store.create("a", a_record(clock))
    await store.load("a")
    await store.update("a", a_record(clock, version=2))
    await store.renew("a", None)
    await rotate(store, "a", "b", a_record(clock, version=4), grace=1.0)
    with pytest.raises(OSError, match="the store failed"):
        await store.find("ada")
    await store.destroy("b")
    await store.purge()
    await store.close()
    assert store.calls == ["open", "create", "load", "update", "renew", "rotate", "find", "destroy", "purge", "close"]


async def test_each_step_of_a_scan_is_a_call(store, clock):
    """A scan can go wrong in its midst; what came before it came."""
    for handle in ("a", "b", "c"):
        await store.create(handle, a_record(clock))
    store.calls.clear()
    assert [handle async for handle, _ in store.scan()] == ["a", "b", "c"]
    assert await store.count() == 3
    assert store.calls == ["scan"] * 4 + ["count"]
    store.fail("scan", at=3)
    records = store.scan()
    assert [(await anext(records))[0], (await anext(records))[0]] == ["a", "b"]
    with pytest.raises(OSError, match="the store failed"):
        await anext(records)


async def test_a_failure_before_the_operation(store, clock):
    """The chosen call fails with the chosen exception and without effect; the ones around it work."""
    error = ConnectionResetError("gone")
    fault = store.fail("create", at=2, error=error)
    assert await store.create("a", a_record(clock))
    assert await store.load("b") is None
    assert not fault.reached.is_set()
    with pytest.raises(ConnectionResetError) as caught:
        await store.create("b", a_record(clock))
    assert caught.value is error
    assert fault.reached.is_set()
    assert await store.load("b") is None
    assert await store.create("b", a_record(clock))


async def test_a_failure_after_the_operation(store, clock):
    """An answer that is lost: the operation took effect."""
    store.fail("create", after=True)
    with pytest.raises(OSError, match="the store failed"):
        await store.create("a", a_record(clock))
    assert await store.load("a") == a_record(clock)


async def test_a_failure_of_any_operation_counts_all(store, clock):
    """Without a name every call counts."""
    store.fail(at=3, times=2)
    await store.load("a")
    await store.create("a", a_record(clock))
    with pytest.raises(OSError, match="the store failed"):
        await store.load("a")
    with pytest.raises(OSError, match="the store failed"):
        await store.destroy("a")
    assert await store.load("a") is not None


async def test_an_outage_lasts_until_it_is_healed(store):
    """Without a number of times every call fails, until the fault is taken away."""
    store.fail(times=None)
    for _ in range(5):
        with pytest.raises(OSError, match="the store failed"):
            await store.load("a")
    store.heal()
    assert await store.load("a") is None


@pytest.mark.parametrize("after", [False, True])
async def test_a_hanging_call_goes_on_when_released(store, clock, after):
    """A hanging call waits, with the operation done or not, and goes on with its own result."""
    hang = store.hang("create", after=after)
    task = asyncio.ensure_future(store.create("a", a_record(clock)))
    await hang.reached.wait()
    assert not task.done()
    assert (await store.load("a") is not None) is after
    hang.release()
    assert await task is True
    assert await store.load("a") is not None


@pytest.mark.parametrize("after", [False, True])
async def test_a_hanging_call_can_be_cancelled(store, clock, after):
    """What was not done when it is cancelled is never done."""
    hang = store.hang("create", after=after)
    task = asyncio.ensure_future(store.create("a", a_record(clock)))
    await hang.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.load("a") is not None) is after


async def test_healing_releases_what_hangs(store):
    """Nobody waits for a fault that was taken away."""
    hang = store.hang(times=None)
    store.fail("purge")
    tasks = [asyncio.ensure_future(store.load("a")) for _ in range(3)]
    await hang.reached.wait()
    store.heal()
    assert await asyncio.gather(*tasks) == [None, None, None]
    assert await store.purge() == 0


@pytest.mark.parametrize("after", [False, True])
async def test_the_calling_task_is_cancelled(store, clock, after):
    """The caller is cancelled right at the call, before or after its effect."""
    store.cancel("create", after=after)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(store.create("a", a_record(clock)))
    assert (await store.load("a") is not None) is after


LOSING = {
    "create": lambda store, clock: store.create("b", a_record(clock)),
    "rotate": lambda store, clock: rotate(store, "a", "b", a_record(clock, version=2)),
    "destroy": lambda store, clock: store.destroy("a"),
    "update": lambda store, clock: store.update("a", a_record(clock, version=2)),
    "renew": lambda store, clock: store.renew("a", None),
}


async def stands(store) -> dict[str, object]:
    """Return what is stored, past all faults."""
    return {handle: await store.adapter.load(handle) for handle in "ab"}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("operation", LOSING)
@pytest.mark.parametrize("fault", ["fail", "cancel", "hang"])
async def test_an_outcome_that_nobody_knows(store, clock, fault, operation, after):
    """Each write can be cut short in each way, with all of its effect or with none of it."""
    await store.create("a", a_record(clock))
    before = await stands(store)
    plain = FaultyAdapter(MemorySessionAdapter())
    plain.clock = clock
    await plain.create("a", a_record(clock))
    assert await LOSING[operation](plain, clock) is True
    struck = getattr(store, fault)(operation, after=after)
    caller = asyncio.create_task(LOSING[operation](store, clock))
    await struck.reached.wait()
    if fault == "hang":
        assert not caller.done()
        assert await stands(store) == (await stands(plain) if after else before)
        caller.cancel()
    with pytest.raises(OSError if fault == "fail" else asyncio.CancelledError):
        await caller
    assert await stands(store) == (await stands(plain) if after else before)
    # The next call finds the store at work: what was cut short is done, or can be tried again.
    again = {"create": False, "rotate": False, "update": False, "destroy": False, "renew": True}[operation]
    assert await LOSING[operation](store, clock) is (again if after else True)


@pytest.mark.parametrize("operation", ["create", "rotate", "destroy"])
async def test_a_late_answer_is_the_operations_own(store, clock, operation):
    """A call that hung after its effect goes on with its answer once it is released."""
    await store.create("a", a_record(clock))
    hang = store.hang(operation, after=True)
    caller = asyncio.create_task(LOSING[operation](store, clock))
    await hang.reached.wait()
    assert not caller.done()
    hang.release()
    assert await caller is True


async def test_a_store_that_hangs_meets_the_managers_time_limit(store, clock):
    """In a manager a hanging call is a time-out, and a failing one an AdapterError."""
    manager = SessionManager(store, timeout=0.01, clock=clock)
    store.hang("load")
    with pytest.raises(AdapterError, match="no answer in time"):
        await manager.revoke("a")
    store.fail("load")
    with pytest.raises(AdapterError, match="OSError"):
        await manager.revoke("a")
    assert await manager.revoke("a") is False


@pytest.mark.parametrize(
    "wrong", [{"operation": "delete"}, {"at": 0}, {"at": -1}, {"times": 0}], ids=lambda wrong: next(iter(wrong))
)
@pytest.mark.parametrize("kind", ["fail", "hang", "cancel"])
def test_a_fault_that_could_never_strike_is_refused(store, kind, wrong):
    """A misspelt name or an impossible count is a ValueError, not a test that passes for nothing."""
    with pytest.raises(ValueError, match=r"count from 1|has no method"):
        getattr(store, kind)(**wrong)


async def test_by_default_a_call_hangs_once_and_before_its_effect(store, clock):
    """Only the method that was named, only its next call, and with nothing done."""
    hang = store.hang("create")
    assert await store.load("a") is None
    task = asyncio.ensure_future(store.create("a", a_record(clock)))
    await hang.reached.wait()
    assert await store.load("a") is None
    assert await store.create("b", a_record(clock)) is True
    hang.release()
    assert await task is True


async def test_by_default_a_call_is_cancelled_once_and_before_its_effect(store, clock):
    """Only the next call, and with nothing done."""
    store.cancel("create")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(store.create("a", a_record(clock)))
    assert await store.load("a") is None
    assert await asyncio.create_task(store.create("a", a_record(clock))) is True


async def test_a_fault_that_was_not_aimed_strikes_once():
    """The first call, whichever it is."""
    struck = []

    async def strike() -> None:
        struck.append(True)

    fault = Fault(strike, operation=None, after=False)
    assert [fault.hits("load"), fault.hits("load"), fault.hits("purge")] == [True, False, False]
    await fault.strike()
    assert struck == [True]
    assert fault.reached.is_set()


async def test_what_it_says(store):
    """The messages say what is allowed, and that the test is the cause."""
    with pytest.raises(ValueError, match=r"^at and times count from 1; times=None is every call from then on$"):
        store.fail(at=0)
    known = "load, create, update, destroy, renew, rotate, find, scan, count, purge, open, close"
    with pytest.raises(ValueError, match=f"^an adapter has no method 'delete', only {known}$"):
        store.hang("delete")
    store.fail()
    with pytest.raises(OSError, match=r"^the store failed, as the test wants it to$"):
        await store.load("a")
