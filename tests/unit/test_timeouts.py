"""The time limit: many operations, one timer; what hangs is cancelled, and nothing else is."""

from __future__ import annotations

import asyncio
import gc
import types
import weakref
from contextvars import ContextVar

import pytest

from aiohttp_spry_session.store.timeouts import TimeLimit


@types.coroutine
def limited(operation, limit):
    """Bring an operation to its first suspension, and finish it within the limit, as the guarded store does."""
    steps = operation.__await__()
    try:
        waiting_for = steps.send(None)
    except StopIteration as done:
        return done.value
    return (yield from limit.finish(steps, waiting_for))


async def limited_call(operation, limit):
    return await limited(operation, limit)


async def suspending(steps: int = 3) -> str:
    """Suspend some times, then complete."""
    for _ in range(steps):
        await asyncio.sleep(0)
    return "done"


async def hanging(log: list[str]) -> None:
    """Never complete; tell of the cancellation."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        log.append("cancelled")
        raise


async def stubborn(future: asyncio.Future[str]) -> str:
    """Answer a cancellation with a result."""
    try:
        return await future
    except asyncio.CancelledError:
        return "after all"


@pytest.mark.parametrize("seconds", [None, 5.0])
@pytest.mark.parametrize("steps", [1, 3])
async def test_result(steps, seconds):
    """The result comes through, with a limit and without."""
    assert await limited(suspending(steps), TimeLimit(seconds)) == "done"


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_operation_that_waits_for_something(seconds):
    """It goes on when what it waits for is there, and not before."""
    future = asyncio.get_running_loop().create_future()

    async def waiting() -> str:
        return await future

    task = asyncio.create_task(limited_call(waiting(), TimeLimit(seconds)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    future.set_result("there")
    assert await task == "there"


async def test_time_out():
    """What hangs is cancelled, and TimeoutError raised; the task goes on as if nothing had been cancelled."""
    log: list[str] = []
    with pytest.raises(TimeoutError):
        await limited(hanging(log), TimeLimit(0.01))
    assert log == ["cancelled"]
    assert asyncio.current_task().cancelling() == 0


async def test_each_has_its_own_time():
    """Of those that began one after the other each is cancelled at its own time, in order, and later ones live on."""
    loop = asyncio.get_running_loop()
    limit = TimeLimit(0.05)
    ends: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        began = loop.time()
        with pytest.raises(TimeoutError):
            await limited(hanging([]), limit)
        ends.append((number, loop.time() - began))

    first = asyncio.create_task(one(1))
    second_began = loop.create_future()
    loop.call_later(0.02, second_began.set_result, None)
    await second_began
    second = asyncio.create_task(one(2))
    await asyncio.gather(first, second)
    assert [number for number, _ in ends] == [1, 2]
    assert all(took >= 0.045 for _, took in ends)


async def test_one_timer_for_many():
    """However many operations are under way, one timer is armed."""
    loop = asyncio.get_running_loop()
    armed: list[float] = []
    call_at = loop.call_at

    def counting(when, *details, **options):
        armed.append(when)
        return call_at(when, *details, **options)

    loop.call_at = counting
    try:
        limit = TimeLimit(5.0)
        await asyncio.gather(*(limited(suspending(), limit) for _ in range(50)))
        await limited(suspending(), limit)
    finally:
        del loop.call_at
    assert len(armed) == 1


async def test_the_timer_keeps_no_request_alive():
    """What the context of the first operation held is let go of when that is over, long before the timer fires."""
    holding: ContextVar[object] = ContextVar("holding")
    limit = TimeLimit(60.0)

    class Request:
        pass

    async def serve() -> weakref.ref[Request]:
        request = Request()
        holding.set(request)
        await limited(suspending(), limit)
        return weakref.ref(request)

    request = await asyncio.create_task(serve())
    await asyncio.sleep(0)  # the event loop's own last step of the task
    gc.collect()
    assert request() is None


def test_a_limit_outlives_its_event_loop():
    """A timer of a loop that is closed stops nobody in the next one."""
    limit = TimeLimit(0.01)
    for _ in range(2):
        log: list[str] = []

        async def run(log: list[str] = log) -> None:
            with pytest.raises(TimeoutError):
                await limited(hanging(log), limit)

        asyncio.run(limited_call(suspending(), limit))
        asyncio.run(run())
        assert log == ["cancelled"]


async def test_a_future_of_another_loop_disturbs_nobody():
    """asyncio tells the one who waits for it; the limits of the others stay."""
    limit = TimeLimit(0.01)
    log: list[str] = []
    other = asyncio.create_task(limited_call(hanging(log), limit))
    await asyncio.sleep(0)
    foreign = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="attached to a different loop"):
        await limited(stubborn(foreign.create_future()), limit)
    foreign.close()
    with pytest.raises(TimeoutError):
        await other
    assert log == ["cancelled"]


async def test_cancellation_reaches_the_operation():
    """Who cancels the caller cancels the operation, and sees CancelledError, not TimeoutError."""
    log: list[str] = []
    task = asyncio.create_task(limited_call(hanging(log), TimeLimit(5.0)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled"]


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_cancellation_between_two_steps(seconds):
    """It reaches an operation that waits for nothing but its next turn, too."""
    task = asyncio.create_task(limited_call(suspending(), TimeLimit(seconds)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_operation_that_is_cancelled_again_and_again(seconds):
    """However often an operation shrugs off a cancellation, it has its result."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def stubborn_again() -> str:
        while True:
            try:
                return await asyncio.shield(answer)
            except asyncio.CancelledError:
                pass

    task = asyncio.create_task(limited_call(stubborn_again(), TimeLimit(seconds)))
    for _ in range(2000):
        await asyncio.sleep(0)
        task.cancel()
    answer.set_result("done")
    assert await task == "done"


async def test_cancelled_and_out_of_time_is_cancelled():
    """A cancellation that comes together with the end of the time is not swallowed (as in asyncio.timeout)."""
    limit = TimeLimit(0.01)
    task = asyncio.create_task(limited_call(hanging([]), limit))
    await asyncio.sleep(0)
    expire = limit._expire

    def both(loop):
        expire(loop)
        task.cancel()

    limit._timer.cancel()
    limit._timer = None
    asyncio.get_running_loop().call_later(0.02, both, asyncio.get_running_loop())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_result_in_spite_of_the_time_out():
    """An operation that answers the cancellation with a result has its result, and the task is not left cancelled."""
    assert await limited(stubborn(asyncio.get_running_loop().create_future()), TimeLimit(0.01)) == "after all"
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)


async def test_cancelled_once_however_long_it_takes():
    """What goes on after its cancellation is not cancelled again when others run out of time."""
    limit = TimeLimit(0.01)
    cancelled: list[str] = []
    go_on = asyncio.Event()

    async def cleaning_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("once")
            await go_on.wait()
            cancelled.append("cleaned up")

    slow = asyncio.create_task(limited_call(cleaning_up(), limit))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await limited(hanging([]), limit)
    with pytest.raises(TimeoutError):
        await limited(hanging([]), limit)
    go_on.set()
    with pytest.raises(TimeoutError):
        await slow
    assert cancelled == ["once", "cleaned up"]


async def test_error_in_place_of_the_time_out():
    """An error in answer to the cancellation comes out as it is, and the task is not left cancelled."""

    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("broken pipe") from None

    with pytest.raises(OSError, match="broken pipe"):
        await limited(failing(), TimeLimit(0.01))
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_exception(seconds):
    """An exception comes out as it is."""

    async def failing() -> None:
        await suspending()
        raise KeyError("told so")

    with pytest.raises(KeyError, match="told so"):
        await limited(failing(), TimeLimit(seconds))


@pytest.mark.parametrize("steps", [0, 2])
async def test_operation_that_survives_an_exception(steps):
    """What the awaited thing raises is thrown into the operation, which may catch it, and go on or end."""
    future = asyncio.get_running_loop().create_future()

    async def robust() -> str:
        try:
            await future
        except ConnectionError:
            await suspending(steps)
            return "recovered"
        return "unexpected"

    task = asyncio.create_task(limited_call(robust(), TimeLimit(5.0)))
    await asyncio.sleep(0)
    future.set_exception(ConnectionError())
    assert await task == "recovered"


async def test_closing():
    """Closing a suspended call closes the operation."""
    log: list[str] = []

    async def operation() -> None:
        try:
            await asyncio.Event().wait()
        except GeneratorExit:
            log.append("closed")
            raise

    limit = TimeLimit(5.0)
    call = limited_call(operation(), limit)
    call.send(None)
    call.close()
    assert log == ["closed"]
    assert not limit._waiting
