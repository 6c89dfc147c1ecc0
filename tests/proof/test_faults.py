"""A fault at any store call of any operation: whole or nothing, the cookie intact, and a working session afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from aiohttp_spry_session import AdapterError, SQLiteSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.explorer.operations import OPERATIONS, VALUES, Kind, Operation

from ..minimal import PlainAdapter
from .site import OWNER, Case, Defaults, Reply, Site, Store

pytestmark = pytest.mark.no_cover

REQUESTS = [operation for operation in OPERATIONS.values() if operation.kind is Kind.REQUEST and not operation.counts]
OUTSIDE = [operation for operation in OPERATIONS.values() if operation.outside]
MakeSite = Callable[..., Site]


@pytest.fixture
async def make_site(caplog: pytest.LogCaptureFixture) -> AsyncIterator[MakeSite]:
    """Make sites, each on a store of its own but for SQLite."""
    caplog.set_level(logging.CRITICAL, "aiohttp_spry_session")
    clock = FakeClock()
    sqlite = SQLiteSessionAdapter(":memory:")
    await sqlite.open()
    stores = {
        "plain": lambda: Store(PlainAdapter(), clock),
        "defaults": lambda: Defaults(PlainAdapter(), clock),
        "sqlite": lambda: Store(sqlite, clock),
    }
    yield lambda kind, **options: Site(stores[kind](), clock, **options)
    await sqlite.close()


async def cases_of(make_site: MakeSite, operation: Operation, *, contended: bool = False) -> list[Case]:
    """Return every fault at every store call of an operation."""
    site = make_site(rolling=operation.rolling)
    await site.start()
    await site.do(operation, contended=contended)
    # What hangs must not take long here, and SQLite does at times.
    faults = ("fail", "cancel") if isinstance(site.store.inner, SQLiteSessionAdapter) else ("fail", "hang", "cancel")
    positions = range(1, len(site.store.calls) + 1)
    return [Case(fault, at, after) for at in positions for fault in faults for after in (False, True)]


def outcome_of(operation: Operation, before: dict[str, Any]) -> dict[str, Any]:
    """Return what the session holds once the operation is done."""
    after = json.loads(json.dumps(before))
    operation.apply(after, "a")
    return {} if operation.ends else after


@pytest.mark.parametrize(
    ("kind", "contended"),
    [
        pytest.param("plain", True, id="contended"),
        pytest.param("defaults", False, id="on the default methods"),
        pytest.param("plain", False, id="alone", marks=pytest.mark.long),
        pytest.param("defaults", True, id="contended on the default methods", marks=pytest.mark.long),
        pytest.param("sqlite", False, id="on SQLite", marks=pytest.mark.long),
        pytest.param("sqlite", True, id="contended on SQLite", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("operation", REQUESTS, ids=lambda operation: operation.name)
async def test_a_fault_at_any_call_of_a_request(
    operation: Operation, contended: bool, kind: str, make_site: MakeSite
) -> None:
    """The answer is 503, the operation was done whole or not at all, and the browser's cookie still works."""
    cases = await cases_of(partial(make_site, kind), operation, contended=contended)
    assert cases
    for case in cases:
        site = make_site(kind, rolling=operation.rolling, hangs=case.fault == "hang")
        await site.start()
        case.arm(site.store)
        reply = await site.do(operation, contended=contended)
        site.store.heal()
        if operation.ends and reply.cookie == "":
            assert reply.status == 200, case  # the session has ended; only the new one could not be stored
        else:
            assert reply.status == (0 if case.fault == "cancel" else 503), case
        await check_outcome(operation, case, site, reply)
        await check_that_it_works(site)


@pytest.mark.parametrize("kind", ["plain", "defaults"])
@pytest.mark.parametrize("operation", [each for each in REQUESTS if each.moves], ids=lambda operation: operation.name)
async def test_a_lost_answer_of_a_rotation_is_looked_up(operation: Operation, kind: str, make_site: MakeSite) -> None:
    """Where the store can be asked again, a rotation that happened succeeds, and one that did not is a 503."""
    site = make_site(kind)
    await site.start()
    await site.do(operation, contended=False)
    for at in range(1, len(site.store.calls) + 1):
        for after in (False, True):
            site = make_site(kind)
            await site.start()
            site.store.fail(at=at, after=after, times=1)
            reply = await site.do(operation, contended=False)
            rotated = was_rotated(site)
            assert (reply.status, bool(reply.cookie)) == ((200, True) if rotated else (503, False)), (at, after)
            assert await site.view() == (outcome_of(operation, dict(VALUES)) if rotated else VALUES), (at, after)
            await check_that_it_works(site)


def was_rotated(site: Site) -> bool:
    """Whether a rotation took effect in the store."""
    return any(
        call.method == "rotate" or (call.record is not None and call.record.retired) for call in site.store.landed()
    )


async def check_outcome(operation: Operation, case: Case, site: Site, reply: Reply) -> None:
    """Check that the operation was done whole or not at all, and that the browser can tell."""
    landed = site.store.landed()
    before = {**VALUES, "other": True} if site.interfered else dict(VALUES)
    after = outcome_of(operation, before)
    view, stored = await site.view(), await site.store.stored()
    if operation.ends:
        assert view == ({} if landed else before), case
        assert reply.cookie in ({None, ""} if landed else {None}), case
        return
    assert reply.cookie is None, case
    if operation.moves:
        if was_rotated(site):
            # The answer with the new identifier was lost: nobody has that, and the old one is dead.
            assert view == (after if operation.grace else {}), case
            assert stored == [after], case
        else:
            assert view == before, case
    else:
        assert view == (after if landed else before), case
        assert stored == [view], case


async def check_that_it_works(site: Site) -> None:
    """Log in and work on: every commit gets its turn."""
    assert (await site.ask(lambda session: session.bind(OWNER))).status == 200
    assert (await site.ask(lambda session: session.increment("afterwards"))).status == 200
    assert not site.manager._store.turns._turns


@pytest.mark.parametrize("kind", ["plain", "sqlite"])
@pytest.mark.parametrize("operation", OUTSIDE, ids=lambda operation: operation.name)
async def test_a_fault_at_any_call_outside_a_request(operation: Operation, kind: str, make_site: MakeSite) -> None:
    """``revoke`` raises ``AdapterError``; the session lives or it is gone, and a second try ends it."""
    for case in await cases_of(partial(make_site, kind), operation):
        site = make_site(kind, hangs=case.fault == "hang")
        await site.start()
        case.arm(site.store)
        with pytest.raises(asyncio.CancelledError if case.fault == "cancel" else AdapterError):
            await site.do(operation, contended=False)
        site.store.heal()
        assert await site.view() == ({} if site.store.landed() else VALUES), case
        await site.do(operation, contended=False)
        assert await site.store.stored() == [], case
