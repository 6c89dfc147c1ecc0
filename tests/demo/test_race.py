"""The race lab."""

from __future__ import annotations

import asyncio

import pytest

from demo.scratch import ScratchStore

from .conftest import Visitor


async def test_counts_fifty_exactly(visitor: Visitor) -> None:
    """Fifty parallel requests are fifty in the session, each with a number of its own; last-write-wins loses some."""
    result = await (await visitor.send("/race", {})).json()
    assert (result["requests"], result["counted"], result["distinct"]) == (50, 50, 50)
    assert 1 <= result["last_write_wins"] < 50
    assert (await visitor.data("/race"))["result"] == result


async def test_runs_do_not_disturb_one_another(visitor: Visitor) -> None:
    """Two runs in one session at once count fifty each, and leave only the result behind."""
    await visitor.get("/")
    answers = await asyncio.gather(visitor.send("/race", {}), visitor.send("/race", {}))
    assert [(await answer.json())["counted"] for answer in answers] == [50, 50]
    assert (await visitor.data("/session"))["keys"] == ["race", "visits"]


async def test_works_without_a_script(visitor: Visitor) -> None:
    """The form leads back to the page, which shows both numbers."""
    page = await (await visitor.post("/race", follow=True)).text()
    assert "<span data-counted>50</span>" in page
    assert "<span data-naive>" in page


@pytest.mark.parametrize("name", ["0" * 16, "x", "..%2f"])
async def test_hits_belong_to_a_run(visitor: Visitor, name: str) -> None:
    """Nobody can fill a session with counters by guessing addresses."""
    await visitor.get("/")
    assert (await visitor.post(f"/race/{name}/hit")).status == 404
    assert (await visitor.data("/session"))["keys"] == ["visits"]


async def test_a_failed_run_is_told(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the requests do not come through the answer is 502, and no counter stays."""

    async def fail(self: ScratchStore, name: str, count: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ScratchStore, "save", fail)
    assert (await visitor.send("/race", {})).status == 502
    assert (await visitor.data("/session"))["keys"] == []


async def test_the_scratch_store_really_loses_updates() -> None:
    """Fifty that read before any wrote leave one: this is the store's doing, and no number of ours."""
    store = ScratchStore()
    await store.open()
    try:
        everybody_has_read = asyncio.Barrier(50)

        async def add_one() -> None:
            count = await store.load("a")
            await everybody_has_read.wait()
            await store.save("a", count + 1)

        await asyncio.gather(*(add_one() for _ in range(50)))
        assert await store.load("a") == 1
        await store.remove("a")
        assert await store.load("a") == 0
    finally:
        await store.close()
    with pytest.raises(RuntimeError):
        await store.load("a")
