"""What arrives together leaves together, and each operation is decided as if it were alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionRecord
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate
from tests.postgres.conftest import MakePostgres

NOW = 1_700_000_000.0
RECORD = SessionRecord(b"data", 1, NOW, NOW + 1200)
UNSTORABLE = 2**63
"""A version that has no room in the column: PostgreSQL's driver refuses the whole statement."""


@pytest.fixture
def statements(adapter: PostgresSessionAdapter, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that the adapter sends from now on, but for those that tell what ended: nobody waits for them."""
    sent: list[str] = []
    fetch = asyncpg.Connection.fetch

    async def watched(self: Any, statement: str, *args: Any, **options: Any) -> Any:
        if "pg_notify" not in statement:
            sent.append(statement)
        return await fetch(self, statement, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", watched)
    return sent


async def test_many_loads_are_one_statement(adapter: PostgresSessionAdapter, statements: list[str]) -> None:
    """Concurrent loads, of one handle or of many, share a round trip."""
    await adapter.create("2", RECORD)
    statements.clear()
    loaded = await asyncio.gather(*(adapter.load(str(number % 50)) for number in range(100)))
    assert [number for number, record in enumerate(loaded) if record is not None] == [2, 52]
    assert len(statements) == 1


async def test_many_finds_are_one_statement(adapter: PostgresSessionAdapter, statements: list[str]) -> None:
    """Each caller gets the records of the owner that was asked for."""
    await asyncio.gather(*(adapter.create(f"{n}", replace(RECORD, owner=f"owner {n % 3}")) for n in range(9)))
    statements.clear()
    found = await asyncio.gather(*(adapter.find(f"owner {number}") for number in range(4)))
    assert [sorted(handles) for handles in found] == [["0", "3", "6"], ["1", "4", "7"], ["2", "5", "8"], []]
    assert len(statements) == 1


async def test_many_writes_of_any_kind_are_one_statement(
    adapter: PostgresSessionAdapter, statements: list[str]
) -> None:
    """Operations on different handles share a round trip and a commit, and each has its own answer."""
    await asyncio.gather(*(adapter.create(name, RECORD) for name in ("kept", "renewed", "rotated", "destroyed")))
    statements.clear()
    second = replace(RECORD, version=2, payload=b"second")
    answers = await asyncio.gather(
        adapter.create("new", RECORD),
        adapter.update("kept", second),
        adapter.update("missing", second),
        adapter.renew("renewed", NOW + 2000),
        adapter.renew("gone", NOW + 2000),
        rotate(adapter, "rotated", "successor", second),
        rotate(adapter, "nowhere", "nobody", second),
        adapter.destroy("destroyed"),
    )
    assert answers == [True, True, False, True, False, True, False, True]
    assert len(statements) == 1


async def test_hundreds_of_sessions_end_in_a_few_statements(
    adapter: PostgresSessionAdapter, statements: list[str]
) -> None:
    """Whoever ends all sessions of an owner, each with a fence before it, pays a few round trips."""
    handles = [str(name) for name in range(500)]
    await asyncio.gather(*(adapter.create(handle, replace(RECORD, owner="owner")) for handle in handles))
    assert sorted(await adapter.find("owner")) == sorted(handles)
    statements.clear()

    async def end(handle: str) -> tuple[bool, bool]:
        return await adapter.update(handle, replace(RECORD, version=2, retired=True)), await adapter.destroy(handle)

    assert await asyncio.gather(*map(end, handles)) == [(True, True)] * 500
    assert len(statements) == 4
    assert await adapter.find("owner") == {}


async def test_of_many_updates_of_one_version_the_first_wins_in_one_statement(
    adapter: PostgresSessionAdapter, statements: list[str]
) -> None:
    """Hundreds of parallel changes of one session cost one round trip, not one each."""
    await adapter.create("handle", RECORD)
    statements.clear()
    drafts = [replace(RECORD, version=2, payload=b"%d" % number) for number in range(200)]
    answers = await asyncio.gather(
        *(adapter.update("handle", draft) for draft in drafts),
        rotate(adapter, "handle", "new", replace(RECORD, version=2)),
    )
    assert answers == [True] + [False] * 200
    assert await adapter.load("handle") == drafts[0]
    assert len(statements) == 2


async def test_updates_of_one_version_after_the_other_share_a_batch(adapter: PostgresSessionAdapter) -> None:
    """An update is decided after the one before it, not told that it lost because somebody else was first."""
    await adapter.create("handle", RECORD)
    answers = await asyncio.gather(
        *(adapter.update("handle", replace(RECORD, version=version)) for version in (2, 3, 3, 4)),
        adapter.destroy("handle"),
        adapter.create("handle", RECORD),
        adapter.update("handle", replace(RECORD, version=2)),
    )
    assert answers == [True, True, False, True, True, True, True]


HANDLES = st.sampled_from(["a", "b", "c"])
RECORDS = st.builds(
    SessionRecord,
    payload=st.sampled_from([b"x", b"y"]),
    version=st.integers(1, 4),
    created_at=st.just(NOW),
    expires_at=st.sampled_from([None, NOW - 1, NOW, NOW + 1, NOW + 2]),
    owner=st.sampled_from([None, "owner"]),
)
Call = Callable[[SessionAdapter], Awaitable[Any]]
CALLS = st.one_of(
    st.builds(lambda handle, record: lambda store: store.create(handle, record), HANDLES, RECORDS),
    st.builds(lambda handle, record: lambda store: store.update(handle, record), HANDLES, RECORDS),
    st.builds(lambda handle, end: lambda store: store.renew(handle, end), HANDLES, st.sampled_from([None, NOW + 9])),
    st.builds(lambda handle: lambda store: store.destroy(handle), HANDLES),
    st.builds(lambda old, new, record: lambda store: rotate(store, old, new, record), HANDLES, HANDLES, RECORDS),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(CALLS, min_size=1, max_size=8), min_size=1, max_size=4))
async def test_a_batch_means_the_same_as_its_operations_one_by_one(
    adapter: PostgresSessionAdapter, batches: list[list[Call]]
) -> None:
    """Whatever shares a batch, each answer and the outcome are those of the operations in their order."""
    await asyncio.gather(*(adapter.destroy(handle) for handle in "abc"))
    model = MemorySessionAdapter()
    model.clock = adapter.clock
    for batch in batches:
        expected = [await call(model) for call in batch]
        assert await asyncio.gather(*(call(adapter) for call in batch)) == expected
        for handle in "abc":
            assert await adapter.load(handle) == await model.load(handle)
        assert await adapter.find("owner") == await model.find("owner")


async def test_one_failing_operation_does_not_fail_its_neighbours(adapter: PostgresSessionAdapter) -> None:
    """What the database cannot store fails alone, also where others echo it."""
    answers = await asyncio.gather(
        adapter.create("good", RECORD),
        adapter.create("bad", replace(RECORD, version=UNSTORABLE)),
        adapter.update("worse", replace(RECORD, version=UNSTORABLE)),
        adapter.update("worse", replace(RECORD, version=UNSTORABLE)),
        adapter.create("worse", RECORD),
        adapter.create("also good", RECORD),
        return_exceptions=True,
    )
    assert [answer if isinstance(answer, bool) else type(answer).__name__ for answer in answers] == [
        *(True, "DataError", "DataError", "DataError", True, True)
    ]
    assert await adapter.load("good") == RECORD


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ({2: asyncpg.ConnectionDoesNotExistError}, [True, True, "ConnectionDoesNotExistError"]),
        ({1: asyncpg.DeadlockDetectedError, 3: TimeoutError}, [True, "TimeoutError", "TimeoutError"]),
    ],
    ids=["between two statements", "while each is tried alone"],
)
async def test_a_failure_is_not_that_of_operations_that_were_done_before(
    adapter: PostgresSessionAdapter,
    monkeypatch: pytest.MonkeyPatch,
    failures: dict[int, type[Exception]],
    expected: list[bool | str],
) -> None:
    """Where the server goes in the middle of a batch, what it has answered stays answered, and the rest fails."""
    fetch = asyncpg.Connection.fetch
    calls = itertools.count(1)

    async def fail(self: Any, *args: Any, **options: Any) -> Any:
        failure = failures.get(next(calls))
        if failure is not None:
            raise failure("on purpose")
        return await fetch(self, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", fail)
    answers = await asyncio.gather(
        adapter.create("first", RECORD),
        adapter.create("second", RECORD),
        adapter.renew("first", NOW + 1300),
        return_exceptions=True,
    )
    monkeypatch.undo()
    assert [answer if isinstance(answer, bool) else type(answer).__name__ for answer in answers] == expected
    assert await adapter.load("first") == RECORD


async def test_batches_of_several_processes_do_not_deadlock(make_postgres: MakePostgres) -> None:
    """Whatever the order of the operations, no batch has to be rolled back for another one."""
    adapters = [make_postgres() for _ in range(3)]
    for adapter in adapters:
        adapter.clock = FakeClock(NOW)
        await adapter.open()
    handles = [f"handle {number}" for number in range(24)]
    await asyncio.gather(*(adapters[0].create(handle, RECORD) for handle in handles))
    before = await _deadlocks(adapters[0])

    async def renew_all(adapter: SessionAdapter, order: list[str]) -> None:
        for _ in range(25):
            assert all(await asyncio.gather(*(adapter.renew(handle, NOW + 1300) for handle in order)))

    await asyncio.gather(
        renew_all(adapters[0], handles), renew_all(adapters[1], handles[::-1]), renew_all(adapters[2], handles[1::-1])
    )
    versions = {(await adapters[0].load(handle)).version for handle in handles[2:]}  # type: ignore[union-attr]
    assert versions == {51}
    assert await _deadlocks(adapters[0]) == before
    for adapter in adapters:
        await adapter.close()


async def _deadlocks(adapter: PostgresSessionAdapter) -> int:
    rows = await adapter._reader.fetch("SELECT sum(deadlocks)::int FROM pg_stat_database")
    count: int = rows[0][0]
    return count


async def test_a_collision_is_not_tried_for_ever(
    adapter: PostgresSessionAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that rolls everything back is an error in the end; the connection stays."""
    attempts = 0

    async def collide(*args: Any) -> Any:
        nonlocal attempts
        attempts += 1
        raise asyncpg.DeadlockDetectedError("again")

    connection = adapter._writer._connection  # type: ignore[attr-defined]
    monkeypatch.setattr(asyncpg.Connection, "fetch", collide)
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await adapter.create("handle", RECORD)
    monkeypatch.undo()
    assert attempts == 1 + 10, "one for all together, then ten alone"
    assert await adapter.create("handle", RECORD)
    assert adapter._writer._connection is connection  # type: ignore[attr-defined]
