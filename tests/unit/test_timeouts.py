"""Time limits: a plain call for what completes at once, a cancellation for what hangs."""

from __future__ import annotations

import asyncio
import types

import pytest

from aiohttp_spry_session import timeouts

bounded = types.coroutine(timeouts.bounded)


async def at_once() -> str:
    """Complete without suspending."""
    return "done"


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


@pytest.mark.parametrize("seconds", [None, 5.0])
@pytest.mark.parametrize("operation", [at_once, suspending])
async def test_result(operation, seconds):
    """The result comes through, with a limit and without."""
    assert await bounded(operation(), seconds) == "done"


def test_what_completes_at_once_needs_no_event_loop():
    """No timer is armed and no task made for it."""
    with pytest.raises(StopIteration) as done:
        bounded(at_once(), 5.0).send(None)
    assert done.value.value == "done"


async def test_time_out():
    """What hangs is cancelled, and TimeoutError raised."""
    log: list[str] = []
    with pytest.raises(TimeoutError):
        await bounded(hanging(log), 0.01)
    assert log == ["cancelled"]


async def test_cancellation_reaches_the_operation():
    """Who cancels the caller cancels the operation, and sees CancelledError, not TimeoutError."""
    log: list[str] = []
    task = asyncio.create_task(bounded_call(hanging(log)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled"]


async def bounded_call(operation):
    return await bounded(operation, 5.0)


@pytest.mark.parametrize("steps", [0, 2])
async def test_exception(steps):
    """An exception comes out as it is, whenever it is raised."""

    async def failing() -> None:
        await suspending(steps)
        raise KeyError("told so")

    with pytest.raises(KeyError, match="told so"):
        await bounded(failing(), 5.0)


async def test_operation_that_survives_an_exception():
    """What the awaited thing raises is thrown into the operation, which may catch it and go on."""
    future = asyncio.get_running_loop().create_future()

    async def robust() -> str:
        try:
            await future
        except ConnectionError:
            await asyncio.sleep(0)
            return "recovered"
        return "unexpected"

    task = asyncio.create_task(bounded_call(robust()))
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

    call = bounded_call(operation())
    call.send(None)
    call.close()
    assert log == ["closed"]
