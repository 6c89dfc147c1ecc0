"""A block that ends with its session: what comes out of it, whoever else cancels it, and what is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from aiohttp_spry_session import AdapterError, SessionEndedError
from aiohttp_spry_session.watch import alive

from .conftest import for_ever

ENDED = (4401, b"session ended")


def entering(session, socket=None, body=for_ever, **options):
    """Run a block in a task of its own."""
    entered = asyncio.Event()

    async def run():
        async with session.alive(socket, **options):
            entered.set()
            return await body()
        return "quiet"

    return asyncio.create_task(run()), entered


async def test_a_block_whose_session_lives_is_left_alone(site, socket):
    """What it returns comes out, and nothing is left."""
    session = await site.started()

    async def body():
        return "done"

    block, _ = entering(session, socket, body)
    assert await block == "done"
    assert socket.closes == []
    await site.settled()


async def test_an_end_closes_the_socket_and_cancels_the_block(site, socket):
    """In this order, quietly."""
    session = await site.started()
    seen = []

    async def body():
        try:
            await for_ever()
        finally:
            seen.append(list(socket.closes))

    block, entered = entering(session, socket, body, code=4000)
    await entered.wait()
    await site.manager.revoke(session.handle)
    assert await block == "quiet"
    assert seen == [[(4000, b"session ended")]]
    await site.settled()


async def test_an_end_without_a_socket_comes_out(site):
    """As ``SessionEndedError``, and the task is not cancelled."""
    session = await site.started()
    block, entered = entering(session)
    await entered.wait()
    await site.manager.revoke(session.handle)
    with pytest.raises(SessionEndedError) as ended:
        await block
    assert ended.value.reason == "ended"
    await site.settled()


async def test_several_blocks_of_one_session_end(site, socket):
    """Each as it was asked to."""
    session = await site.started()
    blocks = [entering(session), entering(session, socket), entering(session)]
    for _, entered in blocks:
        await entered.wait()
    assert len(site.watcher) == 1
    await site.manager.revoke(session.handle)
    outcomes = await asyncio.gather(*(block for block, _ in blocks), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SessionEndedError, str, SessionEndedError]
    await site.settled()


@pytest.mark.parametrize("with_socket", [True, False])
async def test_what_the_block_raises_comes_out(site, socket, with_socket):
    """While the session lives, and where it is what the block made of its cancellation."""
    session = await site.started()

    async def fail():
        raise LookupError("while it lives")

    async def fail_when_cancelled():
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise LookupError("when it ended") from None

    chosen = socket if with_socket else None
    block, _ = entering(session, chosen, fail)
    with pytest.raises(LookupError, match="while it lives"):
        await block
    assert socket.closes == []
    block, entered = entering(session, chosen, fail_when_cancelled)
    await entered.wait()
    await site.manager.revoke(session.handle)
    with pytest.raises(LookupError, match="when it ended"):
        await block
    assert socket.closes == ([ENDED] if with_socket else [])
    await site.settled()


async def test_a_block_that_swallows_its_cancellation(site):
    """Goes on as it likes to; its task is cancelled no more afterwards."""
    session = await site.started()
    task = asyncio.current_task()
    async with session.alive():
        await site.manager.revoke(session.handle)
        with suppress(asyncio.CancelledError):
            await for_ever()
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    await site.settled()


async def test_a_block_that_ends_at_the_same_moment(site, socket):
    """The cancellation that is on its way is taken back, however far it is."""
    for turns in range(12):
        session = await site.started()
        task = asyncio.current_task()
        try:
            async with session.alive(socket):
                await site.manager.revoke(session.handle)
                for _ in range(turns):
                    await asyncio.sleep(0)
        except SessionEndedError:
            raise AssertionError("with a socket it is quiet") from None
        assert task.cancelling() == 0
        for _ in range(3):
            await asyncio.sleep(0)
    await site.settled()
    assert set(socket.closes) <= {ENDED}


async def test_a_block_that_ends_at_the_same_moment_without_a_socket(site):
    """Either it was faster, or ``SessionEndedError`` comes out."""
    for turns in range(12):
        session = await site.started()
        task = asyncio.current_task()
        try:
            async with session.alive():
                await site.manager.revoke(session.handle)
                for _ in range(turns):
                    await asyncio.sleep(0)
        except SessionEndedError:
            pass
        assert task.cancelling() == 0
        for _ in range(3):
            await asyncio.sleep(0)
    await site.settled()


async def test_an_outer_time_limit_keeps_its_meaning(site):
    """It runs out while the session lives."""
    session = await site.started()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), session.alive():
            await for_ever()
    await site.settled()


async def test_an_outer_time_limit_that_runs_out_with_the_session(site, socket):
    """Both cancel the task; the outer one has its way, and nobody waits for the other side of the socket."""
    session = await site.started()
    socket.answer.clear()

    async def run():
        async with asyncio.timeout(None) as limit, session.alive(socket):
            await site.manager.revoke(session.handle)
            try:
                await for_ever()
            finally:
                limit.reschedule(0)

    with pytest.raises(TimeoutError):
        await run()
    assert asyncio.current_task().cancelling() == 0
    await site.settled()


async def test_an_inner_time_limit_keeps_its_meaning(site):
    """What ends with the session is no time-out."""
    session = await site.started()

    async def body():
        async with asyncio.timeout(60):
            await for_ever()

    block, entered = entering(session, None, body)
    await entered.wait()
    await site.manager.revoke(session.handle)
    with pytest.raises(SessionEndedError):
        await block
    await site.settled()


@pytest.mark.parametrize("ended", [False, True])
async def test_a_cancelled_task_is_cancelled(site, socket, ended):
    """Also where the session ended just before."""
    session = await site.started()
    socket.answer.clear()
    block, entered = entering(session, socket)
    await entered.wait()
    if ended:
        await site.manager.revoke(session.handle)
        await socket.frame_sent.wait()
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    assert block.cancelled()
    await site.settled()


async def test_a_cancellation_that_the_block_swallowed_with_ours(site, socket):
    """Two cancelled it, and it saw one: the other one's is handed on."""
    session = await site.started()

    async def body():
        try:
            await for_ever()
        except asyncio.CancelledError:
            asyncio.current_task().cancel()
            return "swallowed"

    block, entered = entering(session, socket, body)
    await entered.wait()
    await site.manager.revoke(session.handle)
    with pytest.raises(asyncio.CancelledError):
        await block
    await site.settled()


async def test_a_task_group_inside_ends(site):
    """All its tasks are cancelled."""
    session = await site.started()

    async def body():
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(for_ever())

    block, entered = entering(session, None, body)
    await entered.wait()
    await site.manager.revoke(session.handle)
    with pytest.raises(SessionEndedError):
        await block
    await site.settled()


async def test_no_session_at_entry(site, socket):
    """Without a socket nothing of the block runs; with one it is closed, and the block gets to its first wait."""
    with pytest.raises(SessionEndedError):
        async with site.session().alive():
            raise AssertionError("not to be reached")
    seen = []
    async with site.session("unknown").alive(socket):
        seen.append(list(socket.closes))
        await for_ever()
    assert seen == [[ENDED]]
    assert asyncio.current_task().cancelling() == 0
    await site.settled()


async def test_a_session_that_ended_since_the_request_began(site, socket):
    """The store is asked at entry."""
    session = await site.started()
    await site.manager.revoke(session.handle)
    async with session.alive(socket):
        await for_ever()
    assert socket.closes == [ENDED]
    with pytest.raises(SessionEndedError):
        async with session.alive():
            raise AssertionError("not to be reached")
    await site.settled()


async def test_an_outage_at_entry(faulty, socket):
    """It is an ``AdapterError``, and nothing is left."""
    session = await faulty.started()
    faulty.adapter.fail("load")
    with pytest.raises(AdapterError):
        async with session.alive(socket):
            raise AssertionError("not to be reached")
    assert socket.closes == []
    await faulty.settled()


async def test_who_gives_up_while_the_socket_closes_at_entry(site, socket):
    """Nothing is left."""
    session = site.session("unknown")
    socket.answer.clear()
    for turns in range(4):
        block, _ = entering(session, socket)
        for _ in range(turns):
            await asyncio.sleep(0)
        block.cancel()
        with pytest.raises(asyncio.CancelledError):
            await block
        await site.settled()


async def test_what_fails_because_the_socket_is_closed(site, socket):
    """The block that sends to it did nothing wrong; without a socket it is the block's."""
    session = await site.started()

    async def send():
        try:
            await for_ever()
        finally:
            raise ConnectionResetError("closing transport")

    block, entered = entering(session, socket, send)
    other, other_entered = entering(session, None, send)
    await entered.wait()
    await other_entered.wait()
    await site.manager.revoke(session.handle)
    assert await block == "quiet"
    with pytest.raises(ConnectionResetError):
        await other
    await site.settled()


async def test_a_socket_that_does_not_answer_is_cut(site, socket, monkeypatch):
    """Its block is cancelled at once all the same, and ends when the time is up."""
    monkeypatch.setattr(alive, "CLOSE_SECONDS", 0.02)
    session = await site.started()
    socket.answer.clear()
    block, entered = entering(session, socket)
    await entered.wait()
    await site.manager.revoke(session.handle)
    assert await block == "quiet"
    await site.settled()


async def test_a_socket_that_cannot_be_closed(site, socket):
    """The block ends quietly."""
    session = await site.started()
    socket.failure = OSError("broken pipe")
    block, entered = entering(session, socket)
    await entered.wait()
    await site.manager.revoke(session.handle)
    assert await block == "quiet"
    await site.settled()


async def test_a_block_is_entered_once(site):
    """Two would take each other's cancellation back."""
    session = await site.started()
    block = session.alive()
    async with block:
        pass
    with pytest.raises(RuntimeError, match="call alive\\(\\) for each"):
        async with block:
            raise AssertionError("not to be reached")
    await site.settled()


@pytest.mark.parametrize("code", [999, 5000, "4401", None])
async def test_a_close_code_is_checked(site, socket, code):
    """At once, and not when the session ends."""
    with pytest.raises(ValueError, match="1000 to 4999"):
        site.session().alive(socket, code=code)


async def test_a_socket_has_to_be_prepared(site, socket):
    """Nobody can close one that is not."""
    socket.prepared = False
    with pytest.raises(ValueError, match="prepare"):
        site.session().alive(socket)


async def test_closing_all_tells_the_blocks_with_sockets(site, socket):
    """Those without go on, until their session ends."""
    first, second = await site.started(), await site.started()
    block, entered = entering(first, socket)
    other, other_entered = entering(second)
    await entered.wait()
    await other_entered.wait()
    await alive.close_all(site.watcher)
    await alive.close_all(site.watcher)
    assert await block == "quiet"
    assert socket.closes == [(1001, b"server shutdown")]
    assert not other.done()
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    await site.settled()


async def test_an_end_is_told_once(site, socket):
    """Whoever comes second changes nothing: neither the code nor the reason."""
    session = await site.started()
    block, entered = entering(session, socket)
    await entered.wait()
    (watched,) = site.watcher.blocks()
    watched.end(4000, b"first")
    watched.end(4999, b"second")
    assert await block == "quiet"
    assert socket.closes == [(4000, b"first")]
    await site.settled()
