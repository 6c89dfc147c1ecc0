"""One adapter that several managers share."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session.store.sharing import close_shared, open_shared

from ..minimal import MinimalAdapter


class Opened(MinimalAdapter):
    """Counts its openings and closings; each takes as long as ``gate`` is closed, and fails while it is told to."""

    def __init__(self) -> None:
        super().__init__(expiration=1000)
        self.told: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def open(self) -> None:
        self.told.append("open")
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.told.append("close")
        await self.gate.wait()


async def test_it_is_opened_for_its_first_user_and_closed_after_its_last():
    """However many share it; and again for the next."""
    adapter = Opened()
    await close_shared(adapter)
    for life in range(1, 3):
        await open_shared(adapter)
        await open_shared(adapter)
        await close_shared(adapter)
        assert (adapter.told, adapter.users) == (["open", "close"] * (life - 1) + ["open"], 1)
        await close_shared(adapter)
        await close_shared(adapter)
        assert (adapter.told, adapter.users) == (["open", "close"] * life, 0)


async def test_users_that_come_together_open_it_once():
    """The second one goes on when it is open; and who comes while it is being closed has it opened again."""
    adapter = Opened()
    adapter.gate.clear()
    users = [asyncio.create_task(open_shared(adapter)) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert (adapter.told, [user.done() for user in users]) == (["open"], [False] * 3)
    adapter.gate.set()
    await asyncio.gather(*users)
    assert (adapter.told, adapter.users) == (["open"], 3)
    await close_shared(adapter)
    await close_shared(adapter)
    adapter.gate.clear()
    leaving = asyncio.create_task(close_shared(adapter))
    await asyncio.sleep(0)
    coming = asyncio.create_task(open_shared(adapter))
    await asyncio.sleep(0)
    adapter.gate.set()
    await asyncio.gather(leaving, coming)
    assert (adapter.told, adapter.users) == (["open", "close", "open"], 1)


async def test_an_adapter_that_could_not_be_opened_has_no_user():
    """Its next user tries again."""
    adapter = Opened()
    adapter.error = OSError("not yet")
    with pytest.raises(OSError, match="not yet"):
        await open_shared(adapter)
    assert adapter.users == 0
    adapter.error = None
    await open_shared(adapter)
    assert (adapter.told, adapter.users) == (["open", "open"], 1)


@pytest.mark.parametrize("moment", ["open", "being opened"])
async def test_an_adapter_serves_one_event_loop_at_a_time(moment):
    """A second thread is told so at once, and cannot close what the first one uses; afterwards it is welcome."""
    adapter = Opened()

    async def come_and_go() -> None:
        try:
            await open_shared(adapter)
        finally:
            await close_shared(adapter)

    def elsewhere() -> None:
        asyncio.run(come_and_go())

    if moment == "being opened":
        adapter.gate.clear()
    first = asyncio.create_task(open_shared(adapter))
    for _ in range(3):
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError) as caught:
        await asyncio.to_thread(elsewhere)
    assert str(caught.value) == (
        "this Opened is in use in another event loop: "
        "give each loop (as a rule, each thread) an adapter and a manager of its own"
    )
    adapter.gate.set()
    await first
    assert (adapter.told, adapter.users) == (["open"], 1)
    await close_shared(adapter)
    await asyncio.to_thread(elsewhere)
    assert adapter.told == ["open", "close", "open", "close"]
    await open_shared(adapter)
    assert (adapter.told[-1], adapter.users) == ("open", 1)


def test_what_was_open_in_a_loop_that_is_closed_is_opened_anew():
    """A forgotten release bars nobody from a second ``asyncio.run``."""
    adapter = Opened()
    asyncio.run(open_shared(adapter))
    asyncio.run(close_shared(adapter))
    assert (adapter.told, adapter.users) == (["open"], 1)
    asyncio.run(open_shared(adapter))
    assert (adapter.told, adapter.users) == (["open", "open"], 1)
