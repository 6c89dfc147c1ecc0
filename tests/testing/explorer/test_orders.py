"""In which order the explorer lets store calls go, and how long it waits for an actor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from aiohttp_spry_session.testing.explorer import BrokenLawError, Explorer
from aiohttp_spry_session.testing.explorer.explorer import _next
from aiohttp_spry_session.testing.explorer.gate import ACTOR, Scheduler

from ...minimal import PlainAdapter
from .histories import first


class Diary(PlainAdapter):
    """Notes who calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.actors = ""

    async def load(self, handle):
        self.actors += ACTOR.get()
        return await super().load(handle)

    async def update(self, handle, record):
        self.actors += ACTOR.get().upper()
        return await super().update(handle, record)


async def test_random_orders_can_be_repeated():
    """One seed gives the same orders every time, another one others, as many as were asked for."""

    async def sampled(orders: int = 5, **options: int) -> str:
        diary = Diary()
        await Explorer(diary).sample("set", "increment", orders=orders, **options)
        return diary.actors

    default = await sampled()
    assert default == await sampled(seed=0)
    assert default != await sampled(seed=1)
    assert default.startswith(await sampled(orders=4))
    assert {"aba", "baa", "abb", "bab", "aAb", "bBa", "abA", "abB"} & {default[:3]}
    assert len({await sampled(orders=1, seed=seed) for seed in range(20)}) > 2


@pytest.mark.parametrize(
    ("choices", "following"),
    [
        ([], None),
        ([(0, 1)], None),
        ([(0, 2)], [1]),
        ([(1, 2)], None),
        ([(0, 3), (1, 2), (0, 1)], [1]),
        ([(1, 3), (0, 2), (0, 1)], [1, 1]),
        ([(2, 3), (1, 2)], None),
    ],
)
def test_the_next_order(choices, following):
    """The last choice that can be another is the next one, and what comes after it starts anew."""
    assert _next(choices) == following


async def test_an_order_without_actors():
    """Nobody has one order."""
    assert await Explorer(PlainAdapter()).explore() == 1


@pytest.mark.parametrize(
    ("schedule", "actors"),
    [("", "aAbB"), ("abab", "abABbB"), ("bb", "bBaA"), ("ba", "baABbB"), ("bab", "baBA")],
)
async def test_an_order_can_be_replayed(schedule, actors):
    """The calls are let go in the order of the schedule; after its end the first actor goes on."""
    diary = Diary()
    await Explorer(diary).replay("set", "increment", schedule=schedule)
    assert diary.actors.startswith(actors)


async def test_a_broken_law_comes_with_its_story():
    """The error is raised anew, with the calls that led to it, and without the first one."""

    class Forgetful(PlainAdapter):
        async def load(self, handle):
            return None

    with pytest.raises(BrokenLawError) as caught:
        await Explorer(Forgetful()).explore("read")
    lines = caught.value.message.splitlines()
    assert (caught.value.law, lines[0]) == ("no lost session", "a was not given a session that lives")
    assert lines[1] == "a: read"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_an_explorer_needs_an_end():
    """The message says what is needed."""
    with pytest.raises(ValueError, match=r"^the explorer needs an adapter whose sessions expire$"):
        Explorer(PlainAdapter(expiration=None))


async def turns(number: int) -> None:
    """Let the loop turn so often."""
    for _ in range(number):
        await asyncio.sleep(0)


async def nothing() -> None:
    """A store call."""


@pytest.mark.parametrize(("slowness", "waited_for"), [(7, True), (8, True), (12, False)])
async def test_how_long_an_actor_is_waited_for(slowness, waited_for):
    """Who reaches the gate within eight turns of the loop takes part in the choice; who does not is no further on."""
    choices: list[list[str]] = []

    def choose(waiting: Sequence[str]) -> int:
        choices.append(list(waiting))
        return 0

    scheduler = Scheduler(choose)

    async def quick() -> None:
        await scheduler.pass_gate("a", nothing)

    async def slow() -> None:
        await turns(slowness)
        await scheduler.pass_gate("b", nothing)

    await scheduler.run({"a": quick, "b": slow})
    assert choices == ([["a", "b"], ["b"]] if waited_for else [["a"], ["b"]])


async def test_an_actor_alone_has_eight_turns():
    """The first is its start; after the eighth it is taken for one that waits for another."""
    assert await Scheduler(first).run({"a": lambda: turns(7)}) == {"a": None}
    with pytest.raises(RuntimeError, match="wait for each other"):
        await Scheduler(first).run({"a": lambda: turns(8)})


async def choices_of(passing_by: Callable[[], Awaitable[Any]] | None = None, **slowness: int) -> list[list[str]]:
    """Who waits at the gate at each choice, of actors that take so many turns there, and of ``a`` that passes by."""
    choices: list[list[str]] = []

    def choose(waiting: Sequence[str]) -> int:
        choices.append(list(waiting))
        return 0

    scheduler = Scheduler(choose)

    async def act(name: str) -> None:
        await turns(slowness[name])
        await scheduler.pass_gate(name, nothing)

    actors: dict[str, Callable[[], Awaitable[Any]]] = {} if passing_by is None else {"a": passing_by}
    await scheduler.run({**actors, **{name: partial(act, name) for name in slowness}})
    return choices


async def test_every_step_of_another_gives_time_anew():
    """The eight turns count from the last time that anybody came to the gate."""
    assert await choices_of(a=9, b=14, c=4) == [["a", "b", "c"], ["b", "c"], ["c"]]


async def test_the_end_of_another_gives_time_anew():
    """They count from the last time that anybody was through, too."""
    scheduler = Scheduler(first)

    async def last() -> str:
        await turns(14)
        return await scheduler.pass_gate("b", lambda: asyncio.sleep(0, "through"))

    ended = await scheduler.run({"a": lambda: turns(9), "b": last, "c": lambda: turns(4)})
    assert ended == {"a": None, "b": "through", "c": None}


async def test_actors_are_ended_with_the_schedule():
    """Where a schedule cannot go on, no actor is left running."""
    ended = []

    async def act() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("a")

    with pytest.raises(RuntimeError, match=r"^these wait for each other, or for something else: \['a'\]$"):
        await Scheduler(first).run({"a": act})
    assert ended == ["a"]


async def test_what_the_actors_return():
    """Each result is under the actor's name, and what one raises comes out."""
    scheduler = Scheduler(first)

    async def act() -> str:
        await scheduler.pass_gate("a", nothing)
        return "done"

    async def fail() -> str:
        raise LookupError("lost")

    assert await scheduler.run({"a": act}) == {"a": "done"}
    with pytest.raises(LookupError, match=r"^lost$"):
        await Scheduler(first).run({"a": fail})


async def test_an_arrival_and_an_end_in_one_turn_give_time_anew():
    """One does not make up for the other."""
    assert await choices_of(lambda: turns(4), b=4, c=10) == [["b", "c"], ["c"]]


async def test_a_schedule_may_be_cancelled():
    """Its actors are cancelled with it, in the midst of their calls, and are told nothing else."""
    raised: list[type[BaseException]] = []
    called = asyncio.Event()
    scheduler = Scheduler(first)

    async def call() -> None:
        called.set()
        await asyncio.Event().wait()

    async def act() -> None:
        try:
            await scheduler.pass_gate("a", call)
        except BaseException as error:
            raised.append(type(error))
            raise

    schedule = asyncio.create_task(scheduler.run({"a": act}))
    await called.wait()
    schedule.cancel()
    with pytest.raises(asyncio.CancelledError):
        await schedule
    assert raised == [asyncio.CancelledError]


async def test_a_call_that_is_cancelled_at_the_gate_is_not_waited_for():
    """Another one of the same actor keeps its place."""
    made = []

    async def call(name):
        made.append(name)

    scheduler = Scheduler(first)

    async def act():
        tasks = [asyncio.create_task(scheduler.pass_gate("a", lambda name=name: call(name))) for name in "xy"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def other():
        await turns(6)

    await scheduler.run({"a": act, "b": other})
    assert made == ["y"]


async def test_a_call_that_is_cancelled_at_its_turn_is_passed_over():
    """It knows nothing of that yet."""
    tasks = []

    def choose(names):
        tasks[0].cancel()
        return 0

    async def call():
        raise AssertionError("not to be reached")

    scheduler = Scheduler(choose)

    async def act():
        tasks.append(asyncio.create_task(scheduler.pass_gate("a", call)))
        await asyncio.gather(*tasks, return_exceptions=True)
        return "done"

    assert await scheduler.run({"a": act}) == {"a": "done"}
