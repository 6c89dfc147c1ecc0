"""A rotation in three steps of one key each: seen by everybody at once, whatever comes between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnectionError

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import scripts as scripts
from aiohttp_spry_session.record import retire, successor_of
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.contract.base import rotate

from .steps import Steps

MakeRecord = Callable[..., SessionRecord]


@pytest.fixture
async def steps(adapter: RedisSessionAdapter, record: MakeRecord) -> Steps:
    """The steps on a store that holds ``old``, which is ada's."""
    await adapter.create("old", record(owner="ada"))
    return Steps(adapter)


async def test_a_reservation_is_no_session(
    adapter: RedisSessionAdapter, steps: Steps, clock: FakeClock, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """Cut short before the old record is retired, nothing has happened."""
    steps.cut(scripts.UPDATE)
    with pytest.raises(LostConnectionError):
        await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    assert await client.exists(f"{prefix}s:new")
    assert await adapter.load("new") is None
    assert not await adapter.update("new", record(3))
    assert not await adapter.renew("new", clock.now + 500)
    assert not await rotate(adapter, "new", "newer", record(3))
    assert not await adapter.create("new", record())
    assert await adapter.find("ada") == {"old": record(owner="ada")}
    assert await rotate(adapter, "old", "newest", record(2, owner="ada"))
    assert list(await adapter.find("ada")) == ["newest"]
    assert await adapter.load("new") is None


async def test_an_update_that_confirms_a_rotation_tells_the_index(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord
) -> None:
    """The session is found with its new owner, although the update began on what might have been no session."""
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    assert await adapter.update("new", record(3, owner="bob"))
    assert list(await adapter.find("bob")) == ["new"]


async def test_only_a_retired_record_leads_anywhere(
    adapter: RedisSessionAdapter, steps: Steps, clock: FakeClock, record: MakeRecord
) -> None:
    """A live session confirms no reservation, whatever its data look like."""
    payload = retire(record(), "new", now=clock.now).payload
    assert await adapter.update("old", record(2, owner="ada", payload=payload))
    steps.cut(scripts.UPDATE)
    with pytest.raises(LostConnectionError):
        await rotate(adapter, "old", "new", record(3, owner="ada"))
    steps.mend()
    assert await adapter.load("new") is None
    assert list(await adapter.find("ada")) == ["old"]


LOOKS: dict[str, Callable[[RedisSessionAdapter, MakeRecord], Awaitable[object]]] = {
    "load": lambda adapter, record: adapter.load("new"),
    "find": lambda adapter, record: adapter.find("ada"),
    "update": lambda adapter, record: adapter.update("new", record(3, owner="ada")),
    "renew": lambda adapter, record: adapter.renew("new", None),
    "rotate": lambda adapter, record: rotate(adapter, "new", "newer", record(3, owner="ada")),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_a_rotation_that_was_not_confirmed_has_happened(
    adapter: RedisSessionAdapter,
    steps: Steps,
    record: MakeRecord,
    client: Redis,
    prefix: str,
    look: Callable[[RedisSessionAdapter, MakeRecord], Awaitable[object]],
) -> None:
    """Cut short after the old record was retired, whoever comes next finds the session, and confirms it."""
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    assert await look(adapter, record)
    retired = await adapter.load("old")
    assert retired is not None
    assert retired.retired
    await client.delete(f"{prefix}s:old")
    if look is LOOKS["load"]:
        assert 96_000 < await client.pttl(f"{prefix}s:new") <= 101_000
    assert await adapter.load("new") is not None, "it does not depend on the old handle any more"
    assert len(await adapter.find("ada")) == 1


async def test_everybody_sees_a_rotation_at_once(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord
) -> None:
    """Before the old record is retired there is one session, and after it there is one."""
    seen: list[list[str]] = []

    async def look() -> None:
        seen.append(list(await adapter.find("ada")))
        seen.append(
            [handle for handle in ("old", "new") if (found := await adapter.load(handle)) and not found.retired]
        )

    steps.before(scripts.UPDATE, look)
    steps.before(scripts.ACTIVATE, look)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    assert seen == [["old"], ["old"], ["new"], ["new"]]


async def test_a_lost_answer_to_a_rotation_is_looked_up(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord
) -> None:
    """The old record tells whether it was retired for this rotation, so nobody is logged out by a broken connection."""
    steps.lose(scripts.UPDATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    assert await adapter.load("new") == record(2, owner="ada")


@pytest.mark.parametrize("end", ["destroyed", "fenced", "rotated", "written"])
async def test_what_happens_first_wins(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord, end: str, client: Redis, prefix: str
) -> None:
    """The session ends or changes while its successor is reserved: no rotation, and nothing is left of it."""

    async def change() -> None:
        match end:
            case "destroyed":
                await adapter.destroy("old")
            case "fenced":
                assert await adapter.update("old", record(2, retired=True))
            case "rotated":
                assert await rotate(adapter, "old", "first", record(2, owner="ada"))
            case "written":
                assert await adapter.update("old", record(2, owner="ada"))

    steps.before(scripts.UPDATE, change)
    assert not await rotate(adapter, "old", "new", record(2, owner="ada"))
    assert not await client.exists(f"{prefix}s:new")
    assert list(await adapter.find("ada")) == {"rotated": ["first"], "written": ["old"]}.get(end, [])


async def test_a_logout_between_the_steps_logs_out(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """What follows the old handle ends the new session before it is confirmed: the confirmation does not revive it."""

    async def end() -> None:
        retired = await adapter.load("old")
        assert retired is not None
        successor = successor_of(retired)
        assert successor is not None
        assert await adapter.load(successor.handle) is not None
        await adapter.destroy(successor.handle)

    steps.before(scripts.ACTIVATE, end)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    assert await adapter.load("new") is None
    assert not await client.exists(f"{prefix}s:new")


async def test_a_rotation_that_slept_before_its_moment_has_not_happened(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reservation may be gone by then, so the old record is not retired for it."""
    await slow_down(adapter, monkeypatch)
    assert not await rotate(adapter, "old", "new", record(2, owner="ada"))
    assert await adapter.load("old") == record(owner="ada")
    assert await adapter.load("new") is None


async def slow_down(adapter: RedisSessionAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reservations be an hour old as soon as they are made."""
    original = adapter._write_new

    async def write_new(handle: str, record: SessionRecord, *, origin: str | None = None) -> int:
        return await original(handle, record, origin=origin) - 3600

    monkeypatch.setattr(adapter, "_write_new", write_new)
