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


@pytest.mark.parametrize(("end", "grace"), [(10, 0.0), (1000, 300.0), (1000, 0.0), (None, 0.0)])
async def test_what_a_rotation_needs_is_there_until_it_is_confirmed(
    adapter: RedisSessionAdapter,
    steps: Steps,
    clock: FakeClock,
    record: MakeRecord,
    client: Redis,
    prefix: str,
    end: float | None,
    grace: float,
) -> None:
    """Both keys have the session's whole life; once it is confirmed, the old one is remembered as long as it has to."""
    new, old = f"{prefix}s:new", f"{prefix}s:old"
    expires_at = None if end is None else clock.now + end
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, expires_at=expires_at), grace=grace)
    for key, seconds in ((new, end), (old, end and max(end, 60))):
        left = await client.pttl(key)
        assert left == -1 if seconds is None else seconds * 1000 - 5_000 < left <= seconds * 1000 + 1_000
    steps.mend()
    assert await adapter.load("new") == record(2, expires_at=expires_at)
    left = await client.pttl(old)
    assert max(grace, 60) * 1000 - 5_000 < left <= max(grace, 60) * 1000 + 1_000
    left = await client.pttl(new)
    assert left == -1 if end is None else end * 1000 - 5_000 < left <= end * 1000 + 1_000


@pytest.mark.parametrize("lost", [scripts.ACTIVATE, scripts.RELEASE], ids=["confirmation", "release"])
@pytest.mark.parametrize("after", ["cut", "lose"])
async def test_a_lost_last_step_loses_no_session(
    adapter: RedisSessionAdapter, steps: Steps, clock: FakeClock, record: MakeRecord, lost: scripts.Script, after: str
) -> None:
    """The rotation has happened, and is there to be found for as long as the session lives, also after the minute."""
    getattr(steps, after)(lost)
    assert await rotate(adapter, "old", "new", record(2, owner="ada", expires_at=clock.now + 1000))
    steps.mend()
    clock.advance(999)
    assert await adapter.load("old") is None
    assert list(await adapter.find("ada")) == ["new"]
    assert await adapter.load("new") == record(2, owner="ada", created_at=clock.now - 999, expires_at=clock.now + 1)
    clock.advance(1)
    assert await adapter.load("new") is None


async def test_only_the_record_that_was_kept_for_it_is_released(
    adapter: RedisSessionAdapter, steps: Steps, clock: FakeClock, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """A handle that is used again, or leads elsewhere, stays as it is; a record without an end stays for ever."""
    retired = record(2, retired=True, expires_at=clock.now + 60)

    async def left_after_release(of: str) -> float:
        await adapter._kept.confirm("old", retired, of, record())
        return await client.pttl(f"{prefix}s:old") / 1000

    assert await left_after_release("new") > 90, "it is live"
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    assert await left_after_release("other") > 90
    retired = record(2, retired=True, expires_at=None)
    assert await left_after_release("new") > 90
    retired = record(2, retired=True, expires_at=clock.now - 500)
    assert 55 < await left_after_release("new") <= 61, "by a clock that is ahead it would be gone at once"
    retired = record(2, retired=True, expires_at=clock.now + 500)
    assert await left_after_release("new") <= 61, "never longer"


async def test_an_old_reservation_goes_with_the_next_sign_in(
    adapter: RedisSessionAdapter, steps: Steps, record: MakeRecord, client: Redis, prefix: str
) -> None:
    """One that was made in vain is removed once its rotation cannot happen any more; one that was not is confirmed."""
    steps.cut(scripts.UPDATE)
    with pytest.raises(LostConnectionError):
        await rotate(adapter, "old", "vain", record(2, owner="ada", expires_at=None))
    steps.mend()
    steps.cut(scripts.ACTIVATE)
    assert await rotate(adapter, "old", "new", record(2, owner="ada"))
    steps.mend()
    await adapter.create("young", record(owner="ada"))
    assert await client.exists(f"{prefix}s:vain")
    for handle in ("old", "vain", "new"):
        await client.zincrby(f"{prefix}o:ada", -61, handle)
    await adapter.create("next", record(owner="ada"))
    assert not await client.exists(f"{prefix}s:vain")
    assert sorted(await client.zrange(f"{prefix}o:ada", 0, -1)) == [b"new", b"next", b"young"]
    await client.delete(f"{prefix}s:old")
    assert sorted(await adapter.find("ada")) == ["new", "next", "young"]


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
