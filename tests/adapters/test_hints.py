"""What adapters tell their hints by: one source, any number of listeners."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aiohttp_spry_session.adapters import hints as hints_module
from aiohttp_spry_session.adapters.hints import Hints, closing, merged

from ..support import heard


async def test_without_a_source_all_is_heard_at_once():
    """``None`` first, then what is told, each once until it is taken."""
    hints = Hints()
    hints.tell("to nobody")
    async with closing(hints.listen()) as first, closing(hints.listen()) as second:
        assert [await heard(first), await heard(second)] == [None, None]
        for handle in ("a", "b", "a"):
            hints.tell(handle)
        assert [await heard(first), await heard(first)] == ["a", "b"]
        hints.tell("c")
        assert [await heard(second) for _ in range(3)] == ["a", "b", "c"]
        assert await heard(first) == "c"


async def test_more_than_can_wait_is_everything(monkeypatch):
    """Who listens too slowly looks at all again."""
    monkeypatch.setattr(hints_module, "_MOST", 3)
    hints = Hints()
    async with closing(hints.listen()) as listener:
        assert await heard(listener) is None
        for handle in "abcde":
            hints.tell(handle)
        assert [await heard(listener), await heard(listener)] == [None, "e"]


async def test_closing_ends_all_and_it_begins_again():
    """As an adapter is closed, and opened again."""
    hints = Hints()
    async with closing(hints.listen()) as listener:
        assert await heard(listener) is None
        hints.tell("a")
        await hints.close()
        assert [await heard(listener), await heard(listener)] == ["a", "the end"]
    async with closing(hints.listen()) as listener:
        assert await heard(listener) is None


class Source:
    """A way to other processes, as a test wants it to be."""

    def __init__(self):
        self.hints = Hints(self.run)
        self.running = 0
        self.begun = 0
        self.go = asyncio.Event()
        self.end = asyncio.Event()
        self.failure = None

    async def run(self):
        self.running += 1
        self.begun += 1
        try:
            await self.go.wait()
            self.hints.connected()
            await self.end.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.running -= 1


async def test_a_source_runs_while_anybody_listens():
    """One for all of them; ``None`` comes when it is connected, and at once to who comes later."""
    source = Source()
    async with closing(source.hints.listen()) as first:
        waiting = asyncio.create_task(anext(first))
        await asyncio.sleep(0.001)
        assert (source.running, waiting.done()) == (1, False)
        async with closing(source.hints.listen()) as second:
            also_waiting = asyncio.create_task(anext(second))
            source.go.set()
            assert [await waiting, await also_waiting] == [None, None]
            async with closing(source.hints.listen()) as third:
                assert await heard(third) is None
        assert (source.running, source.begun) == (1, 1)
        source.hints.lost()
        async with closing(source.hints.listen()) as fourth:
            late = asyncio.create_task(anext(fourth))
            await asyncio.sleep(0.001)
            assert not late.done()
            source.hints.connected()
            assert [await late, await heard(first)] == [None, None]
    assert source.running == 0


async def test_what_is_told_before_all_is_listened_to_comes_with_everything():
    """``None`` first: a late word of what ended before, on a way that is only being made, is in it."""
    made = asyncio.Event()

    async def run() -> None:
        hints.tell("before")
        await made.wait()
        hints.connected()
        hints.tell("after")
        await asyncio.Event().wait()

    hints = Hints(run)
    async with closing(hints.listen()) as listener:
        first = asyncio.ensure_future(heard(listener))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        made.set()
        assert [await first, await heard(listener)] == [None, "after"]


async def test_a_source_that_returns_is_barred():
    """Every iterator ends, and later ones at once, until it is closed."""
    source = Source()
    source.go.set()
    async with closing(source.hints.listen()) as listener:
        assert await heard(listener) is None
        source.end.set()
        assert await heard(listener) == "the end"
    async with closing(source.hints.listen()) as listener:
        assert await heard(listener) == "the end"
    assert source.begun == 1
    await source.hints.close()
    source.end.clear()
    async with closing(source.hints.listen()) as listener:
        assert await heard(listener) is None
    assert source.begun == 2


async def test_a_source_that_fails_is_told_of(caplog):
    """Every iterator ends, and the next one begins anew."""
    source = Source()
    source.go.set()
    source.end.set()
    source.failure = LookupError("a driver's own")
    async with closing(source.hints.listen()) as listener:
        assert [await heard(listener), await heard(listener)] == [None, "the end"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    source.failure = None
    source.end.clear()
    async with closing(source.hints.listen()) as listener:
        assert await heard(listener) is None


async def test_who_begins_while_the_last_one_ends():
    """The source that is about to end does not take the new one along."""
    source = Source()
    ending, go_on = asyncio.Event(), asyncio.Event()
    run = source.run

    async def slow():
        try:
            await run()
        finally:
            if source.begun == 1:
                ending.set()
                await go_on.wait()

    source.hints = Hints(slow)
    source.go.set()
    first = source.hints.listen()
    assert await heard(first) is None
    leaving = asyncio.create_task(first.aclose())
    await ending.wait()
    async with closing(source.hints.listen()) as second:
        assert await heard(second) is None
        go_on.set()
        await leaving
        source.hints.tell("a")
        assert await heard(second) == "a"


@pytest.mark.parametrize("has_close", [True, False])
async def test_closing_takes_whatever_iterates(has_close):
    """A generator is closed; another iterator need not have anything to close."""
    closed = []

    class Iterator:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    class Closable(Iterator):
        async def aclose(self):
            closed.append(True)

    async with closing(Closable() if has_close else Iterator()) as iterator:
        assert await heard(iterator) == "the end"
    assert closed == [True] * has_close


async def test_merged_hints_are_those_of_both():
    """``None`` comes when both are listened to, and after that whatever comes from either."""
    first, second = Source(), Source()
    async with closing(merged(first.hints.listen(), second.hints.listen())) as hints:
        waiting = asyncio.create_task(anext(hints))
        first.go.set()
        await asyncio.sleep(0.001)
        first.hints.tell("too early")
        await asyncio.sleep(0.001)
        assert not waiting.done()
        second.go.set()
        assert await waiting is None
        first.hints.tell("a")
        assert await heard(hints) == "a"
        second.hints.tell("b")
        assert await heard(hints) == "b"
        first.hints.connected()
        assert await heard(hints) is None
    assert (first.running, second.running) == (0, 0)


async def test_merged_hints_end_with_the_first():
    """What is told by the other one alone would promise too much."""
    first, second = Source(), Source()
    for source in (first, second):
        source.go.set()
    async with closing(merged(first.hints.listen(), second.hints.listen())) as hints:
        assert await heard(hints) is None
        second.end.set()
        assert await heard(hints) == "the end"
    assert (first.running, second.running) == (0, 0)


async def test_merged_hints_fail_with_the_first():
    """Whoever listens learns why."""

    async def failing():
        yield None
        raise LookupError("no way")

    async with closing(merged(Hints().listen(), failing())) as hints:
        assert await heard(hints) is None
        with pytest.raises(LookupError, match="no way"):
            await heard(hints)
