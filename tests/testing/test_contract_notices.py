"""The contract notices what an adapter gets wrong."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.record import Successor, retire
from aiohttp_spry_session.testing import AdapterContract, FakeClock
from aiohttp_spry_session.testing.contract import hints as hint_laws
from aiohttp_spry_session.testing.contract import moves, owners, scans
from aiohttp_spry_session.testing.contract.base import a_record, opened

from . import (  # noqa: F401 - add their adapters to BREAKS
    broken_destroys,
    broken_fields,
    broken_finds,
    broken_ghosts,
    broken_hints,
    broken_moves,
    broken_scans,
    broken_values,
)
from .broken import BREAKS, PAGE
from .broken_closed import OPERATIONS, needing, remembering
from .broken_edges import ALLOWED
from .broken_pairs import PAIRS
from .strict import StrictAdapter, StrictWithoutIndex

pytest_plugins = ["pytester"]


class InProcess(AdapterContract):
    """What the memory adapter declares."""

    shares_store = False
    fails_when_closed = False


class Pretending(InProcess):
    """Declares what an adapter in memory cannot keep."""

    shares_store = True


class OnOneStore(AdapterContract):
    """What two adapters on one ``dict`` declare."""

    finds_owners = scans = purges = fails_when_closed = False


class Alone(OnOneStore):
    shares_store = False


class PretendingToFail(InProcess):
    fails_when_closed = True


class PretendingToForget(InProcess):
    survives_reopening = False


class WithoutIndex(InProcess):
    finds_owners = False


class WithoutScan(InProcess):
    scans = False


class WithoutPurge(InProcess):
    purges = False


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """What is not told is waited for. Of two long lists that differ, pytest shows the difference after a minute."""
    monkeypatch.setattr(hint_laws, "SECONDS", 0.5)
    for laws in (owners, scans):
        monkeypatch.setattr(laws, "_MANY", 2 * PAGE)


TESTS = sorted(name for name in dir(AdapterContract) if name.startswith("test_"))


async def failing(contract, make_adapter, tests=TESTS) -> set[str]:
    """Run tests of a contract, each on a new adapter, and return the names of those that fail."""
    failed = set()
    for name in tests:
        test, clock = getattr(contract(), name), FakeClock()
        wanted = inspect.signature(test).parameters
        async with opened(make_adapter(), clock) as adapter:
            other = make_adapter() if contract.shares_store else adapter
            other.clock = clock
            given = {"adapter": adapter, "other": other, "clock": clock, "make_adapter": make_adapter}
            try:
                await test(**{parameter: given[parameter] for parameter in wanted})
            except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a broken adapter may raise anything
                failed.add(name)
    return failed


async def test_nothing_is_noticed_where_nothing_is_wrong():
    """The adapter that the broken ones are made of passes."""
    assert await failing(InProcess, MemorySessionAdapter) == set()


async def test_an_adapter_may_be_strict():
    """The contract hands over what is declared, and no end that is past: who refuses anything else passes."""
    assert await failing(InProcess, StrictAdapter) == set()
    assert await failing(WithoutIndex, StrictWithoutIndex) == set()


@pytest.mark.parametrize("adapter", ALLOWED, ids=lambda adapter: adapter.__name__)
async def test_an_adapter_may_go_to_the_edge(adapter):
    """What is left open is not noticed."""
    assert await failing(InProcess, adapter) == set()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"owner": "ada"}, "a retired record is nobody's session"),
        ({"payload": b"a b", "version": 9}, "a retired record holds none of the session's data"),
    ],
)
def test_what_is_left_in_a_retired_record_is_told(monkeypatch, change, told):
    """The author of an adapter reads what a retired record must not hold."""
    live, clock = a_record(FakeClock(), b" ", version=change.get("version", 1)), FakeClock()
    retired = replace(retire(live, "new", now=clock()), **change)
    monkeypatch.setattr(moves, "successor_of", lambda record: Successor("new", clock()))
    with pytest.raises(AssertionError, match=f"^{told}(\n|$)"):
        InProcess().check_retired(retired, live, "new", grace_until=clock(), end=clock() + 60)


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
async def test_a_broken_adapter_is_noticed(broken):
    """Each breach is noticed by the tests that are about it."""
    assert await failing(InProcess, broken, BREAKS[broken]) == BREAKS[broken]


async def test_an_adapter_may_need_to_be_open():
    """One that fails while it is closed passes, and one that has a short expiration."""
    assert await failing(PretendingToFail, needing(*OPERATIONS)) == set()
    assert await failing(InProcess, lambda: MemorySessionAdapter(expiration=0.5), {"test_it_is_an_adapter"}) == set()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_method_that_works_while_closed_is_noticed(operation):
    """Each of them is tried on a closed adapter."""
    noticed = {"test_a_closed_adapter_fails"}
    assert await failing(PretendingToFail, needing(*set(OPERATIONS) - {operation}), noticed) == noticed


async def test_a_scan_that_works_while_closed_is_noticed(monkeypatch):
    """It is tried up to its first step."""
    noticed = {"test_a_closed_adapter_fails"}
    adapter = needing(*OPERATIONS)
    monkeypatch.setattr(adapter, "scans_closed", True)
    assert await failing(PretendingToFail, adapter, noticed) == noticed


@pytest.mark.parametrize("operation", ["load", "update", "destroy", "renew", "rotate"])
async def test_a_method_that_remembers_while_closed_is_noticed(operation):
    """Each is tried on what was there before."""
    noticed = {"test_a_closed_adapter_fails"}
    assert await failing(PretendingToFail, remembering(operation), noticed) == noticed


@pytest.mark.parametrize("broken", PAIRS, ids=lambda broken: broken.__name__)
async def test_a_broken_pair_is_noticed(broken):
    """Two adapters that do not exclude each other are noticed, though each of them is right when it is alone."""
    records = {}
    assert await failing(OnOneStore, lambda: broken(records), PAIRS[broken]) == PAIRS[broken]
    assert await failing(Alone, lambda: broken({}), PAIRS[broken]) == set()


def test_every_test_can_fail():
    """No test of the contract passes whatever an adapter does."""
    elsewhere = {
        "test_another_adapter_finds_what_one_left",
        "test_find_sees_a_renewed_record_past_its_first_end",
        "test_create_stores_a_record",
    }
    assert set(TESTS) - set.union(*BREAKS.values()) - elsewhere == set()


@pytest.mark.parametrize(
    ("contract", "noticed"),
    [
        (Pretending, {"test_another_adapter_finds_what_one_left", "test_create_stores_a_record"}),
        (PretendingToFail, {"test_a_closed_adapter_fails"}),
        (PretendingToForget, {"test_a_closed_adapter_fails"}),
        (WithoutIndex, {"test_find_answers_an_owners_live_records"}),
        (WithoutScan, {"test_scan_answers_all_live_records"}),
        (WithoutPurge, {"test_purge_deletes_many", "test_purge_deletes_what_has_expired_and_counts_it"}),
    ],
)
async def test_a_wrong_declaration_is_noticed(contract, noticed):
    """What an adapter says of itself is held against it."""
    assert await failing(contract, MemorySessionAdapter, noticed) == noticed


def test_a_contract_without_an_adapter_says_what_is_missing(pytester):
    """A subclass without the fixture is told which one it needs."""
    pytester.makepyfile(
        """
        from aiohttp_spry_session.testing import AdapterContract

        class TestNothing(AdapterContract):
            pass
        """
    )
    result = pytester.runpytest_inprocess(
        "-q", "-k", "load_of_what_is_missing", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*NotImplementedError: TestNothing needs a fixture make_adapter*"])
