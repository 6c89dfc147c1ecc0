"""Coalescing of operations."""

from __future__ import annotations

import asyncio
import sys
import weakref

import pytest

from aiohttp_spry_session.adapters.batching import Batcher


class Store:
    """Records the batches that it gets; each waits for ``gate``, and an operation's result is the operation itself."""

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Event()
        self.arrived = asyncio.Event()

    async def send(self, batch):
        self.batches.append(batch)
        self.arrived.set()
        await self.gate.wait()
        return batch


def submit(batcher, *operations):
    return [asyncio.ensure_future(batcher.submit(operation)) for operation in operations]


async def until(store):
    """Wait until a batch is under way."""
    await store.arrived.wait()
    store.arrived.clear()


async def test_an_idle_store_is_asked_at_once():
    """The first operation leaves alone; there is no timer to wait for."""
    store = Store()
    batcher = Batcher(store.send)
    (first,) = submit(batcher, 1)
    for _ in range(2):  # the caller's turn, and the sender's
        await asyncio.sleep(0)
    assert store.batches == [[1]]
    store.gate.set()
    assert await first == 1


async def test_what_arrives_meanwhile_leaves_together_and_in_order():
    """Operations that come while a batch is under way are the next batch, in the order of their arrival."""
    store = Store()
    batcher = Batcher(store.send)
    first = submit(batcher, 0)
    await until(store)
    later = submit(batcher, 1, 2)
    await asyncio.sleep(0)
    later += submit(batcher, 3)
    await asyncio.sleep(0)
    assert store.batches == [[0]]
    store.gate.set()
    assert await asyncio.gather(*first, *later) == [0, 1, 2, 3]
    assert store.batches == [[0], [1, 2, 3]]


async def test_what_an_answer_makes_its_caller_ask_comes_along():
    """Between two batches whoever has an answer goes on: what is asked for next is in the next batch already."""
    store = Store()
    batcher = Batcher(store.send)

    async def ask(*operations):
        for operation in operations:
            await batcher.submit(operation)

    first = asyncio.create_task(ask(0, 2))
    await until(store)
    second = asyncio.create_task(ask(1))
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, second)
    assert store.batches == [[0], [1, 2]]


async def test_a_batch_is_bounded():
    """No batch is larger than the limit, and none is smaller while enough is waiting."""
    store = Store()
    store.gate.set()
    batcher = Batcher(store.send, limit=4)
    assert await asyncio.gather(*submit(batcher, *range(10))) == list(range(10))
    assert store.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_batch_is_256_at_most_where_nothing_else_is_said():
    """That is what a store gets at once unless it asks for another limit."""
    store = Store()
    store.gate.set()
    batcher = Batcher(store.send)
    await asyncio.gather(*submit(batcher, *range(600)))
    assert list(map(len, store.batches)) == [256, 256, 88]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought eager tasks")
async def test_tasks_that_begin_at_once():
    """With an eager task factory no operation is left behind, neither the first nor a later one."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    store = Store()
    store.gate.set()
    batcher = Batcher(store.send)
    for operation in range(3):
        assert await batcher.submit(operation) == operation
        assert await asyncio.gather(*submit(batcher, 7, 8)) == [7, 8]
        await batcher.drain()
    assert sorted(operation for batch in store.batches for operation in batch) == [0, 1, 2, 7, 7, 7, 8, 8, 8]


async def test_it_begins_again_after_a_rest():
    """Once all is done, the next operation is sent as the first was."""
    store = Store()
    store.gate.set()
    batcher = Batcher(store.send)
    for operation in range(3):
        assert await batcher.submit(operation) == operation
        await batcher.drain()
    assert store.batches == [[0], [1], [2]]


async def test_one_failure_is_that_of_its_caller():
    """An exception among the results goes to the caller of its operation alone."""

    async def send(batch):
        return [ValueError(operation) if operation == 1 else operation for operation in batch]

    results = await asyncio.gather(*submit(Batcher(send), 0, 1, 2), return_exceptions=True)
    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], ValueError)


async def test_a_failure_to_send_is_that_of_all():
    """Where a batch could not be sent, each of its callers is told, and the next batch has its own chance."""
    attempts = []

    async def send(batch):
        attempts.append(batch)
        if len(attempts) == 1:
            raise ConnectionError("down")
        return batch

    batcher = Batcher(send, limit=2)
    results = await asyncio.gather(*submit(batcher, 0, 1, 2), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionError, ConnectionError, int]


async def test_too_few_results_are_a_failure():
    """A store that answers fewer operations than it got leaves nobody waiting."""

    async def send(batch):
        return batch[1:]

    results = await asyncio.gather(*submit(Batcher(send), 0, 1), return_exceptions=True)
    assert [repr(result) for result in results] == [
        "RuntimeError('2 operations were sent, and 1 results came back')"
    ] * 2


async def test_what_is_cancelled_before_it_left_never_runs():
    """A caller that gives up in time takes its operation back."""
    store = Store()
    batcher = Batcher(store.send, limit=2)
    first = submit(batcher, 0)
    await until(store)
    waiting = submit(batcher, 1, 2, 3)
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert await asyncio.gather(*first, *waiting[1:]) == [0, 2, 3]
    assert store.batches == [[0], [2, 3]]


class Payload:
    """Something to hold."""


async def test_a_store_that_hangs_holds_nothing_of_those_who_gave_up():
    """However many come and give up while a batch is under way, what they brought is gone; who stays has a turn."""
    store = Store()
    batcher = Batcher(store.send)
    first = submit(batcher, 0)
    await until(store)
    held = weakref.WeakSet()
    for number in range(1, 4):
        given_up = []
        for _ in range(500):
            payload = Payload()
            held.add(payload)
            given_up += submit(batcher, payload)
        first += submit(batcher, number)
        del payload
        await asyncio.sleep(0)
        assert len(held) == 500
        for caller in given_up:
            caller.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        assert len(held) == 0
    store.gate.set()
    assert await asyncio.gather(*first) == [0, 1, 2, 3]
    assert store.batches == [[0], [1, 2, 3]]


async def test_nothing_is_sent_when_all_were_cancelled():
    """There are no empty batches."""
    store = Store()
    batcher = Batcher(store.send)
    first = submit(batcher, 0)
    await until(store)
    waiting = submit(batcher, 1, 2)
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.sleep(0)
    store.gate.set()
    await batcher.drain()
    assert await first[0] == 0
    assert store.batches == [[0]]


async def test_what_is_cancelled_later_disturbs_nobody():
    """A caller that gives up while its batch is under way leaves the others their results."""
    store = Store()
    batcher = Batcher(store.send)
    tasks = submit(batcher, 0, 1)
    await until(store)
    assert store.batches == [[0, 1]]
    tasks[0].cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert await tasks[1] == 1
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_drain_waits_for_everything():
    """It returns when the batch under way and all that waits are done; at once where there is nothing."""
    store = Store()
    batcher = Batcher(store.send, limit=1)
    await batcher.drain()
    tasks = submit(batcher, 0, 1, 2)
    await until(store)
    draining = asyncio.ensure_future(batcher.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    store.gate.set()
    await draining
    assert store.batches == [[0], [1], [2]]
    assert await asyncio.gather(*tasks) == [0, 1, 2]


async def test_a_cancelled_drain_stops_nothing():
    """Who stops waiting for the end does not end it."""
    store = Store()
    batcher = Batcher(store.send)
    (task,) = submit(batcher, 0)
    await until(store)
    draining = asyncio.ensure_future(batcher.drain())
    await asyncio.sleep(0)
    draining.cancel()
    await asyncio.gather(draining, return_exceptions=True)
    store.gate.set()
    assert await task == 0


def test_a_loop_that_shuts_down_leaves_nobody_waiting():
    """When the sender itself is cancelled, so are those in its batch and those who wait for the next."""
    outcomes = []

    async def caller(batcher, operation):
        try:
            await batcher.submit(operation)
        except asyncio.CancelledError:
            outcomes.append(operation)

    async def main():
        store = Store()
        batcher = Batcher(store.send, limit=1)
        callers = [asyncio.create_task(caller(batcher, operation)) for operation in range(2)]
        await until(store)
        callers_and_me = {*callers, asyncio.current_task()}
        (sender,) = asyncio.all_tasks() - callers_and_me
        sender.cancel()
        await asyncio.gather(*callers)

    asyncio.run(main())
    assert sorted(outcomes) == [0, 1]
