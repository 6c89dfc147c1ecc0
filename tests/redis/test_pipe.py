"""A connection to a peer that answers late, in pieces, too much, or not at all."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, RedisError, ResponseError

from aiohttp_spry_session.adapters.redis.connections import Call, run_each
from aiohttp_spry_session.adapters.redis.pipe import Pipe
from aiohttp_spry_session.adapters.redis.scripts import DESTROY

from .peer import PATIENCE, Connect, Connection


async def test_answers_in_order(connect: Connect) -> None:
    """What comes back is as the server said it, errors by their class, and one connection does for all."""
    peer, pipe = await connect(
        b":1\r\n$2\r\n\xff\x00\r\n$-1\r\n-NOSCRIPT no\r\n-ODD error\r\n*2\r\n:1\r\n$1\r\nx\r\n", b"+b\r\n"
    )
    answers = await pipe.converse(b"six", 6, PATIENCE)
    assert answers[:3] == [1, b"\xff\x00", None]
    assert isinstance(answers[3], NoScriptError)
    assert type(answers[4]) is ResponseError
    assert answers[5] == [1, b"x"]
    assert await pipe.converse(b"one", 1, PATIENCE) == [b"b"]
    assert (peer.received, peer.connections) == ([b"six", b"one"], 1)


async def test_an_answer_in_pieces(connect: Connect) -> None:
    """It is waited for until it is whole."""
    peer, pipe = await connect(b"$5\r\nhe")
    answering = asyncio.ensure_future(pipe.converse(b"x", 2, PATIENCE))
    await peer.was_asked.wait()
    for piece in (b"llo", b"\r", b"\n:", b"1\r\n"):
        assert not answering.done()
        peer.writers[0].write(piece)
        await peer.writers[0].drain()
        await asyncio.sleep(0)
    assert await answering == [b"hello", 1]


async def test_a_notice_is_no_answer(connect: Connect) -> None:
    """What the server tells of its own accord is passed over, in a conversation and between two."""
    peer, pipe = await connect(b">2\r\n+a\r\n+b\r\n:1\r\n>1\r\n+c\r\n", b":2\r\n")
    assert await pipe.converse(b"x", 1, PATIENCE) == [1]
    assert await pipe.converse(b"x", 1, PATIENCE) == [2]
    assert peer.connections == 1


async def test_a_lost_connection(connect: Connect) -> None:
    """What was answered before counts; the rest is lost, is not sent again, and the next conversation connects anew."""
    peer, pipe = await connect(b":1\r\n$9\r\nhalf", b":7\r\n")
    answering = asyncio.ensure_future(pipe.converse(b"x", 3, PATIENCE))
    await peer.was_asked.wait()
    await asyncio.sleep(0)
    peer.writers[0].close()
    answers = await answering
    assert answers[0] == 1
    assert [type(answer) for answer in answers[1:]] == [LostConnectionError] * 2
    assert str(answers[1]) == "the server closed the connection"
    assert await pipe.converse(b"y", 1, PATIENCE) == [7]
    assert (peer.received, peer.connections) == ([b"x", b"y"], 2)


async def test_a_connection_that_was_closed_while_idle(connect: Connect) -> None:
    """It is not used again, so nothing is lost."""
    peer, pipe = await connect(b":1\r\n", b":2\r\n")
    assert await pipe.converse(b"x", 1, PATIENCE) == [1]
    peer.writers[0].close()
    await peer.writers[0].wait_closed()
    await asyncio.sleep(0)
    assert await pipe.converse(b"y", 1, PATIENCE) == [2]
    assert (peer.received, peer.connections) == ([b"x", b"y"], 2)


@pytest.mark.parametrize("surplus", [b":1\r\n:2\r\n", b":1\r\n:2\r\n:3\r\n"])
async def test_an_answer_too_many(connect: Connect, surplus: bytes) -> None:
    """It is never taken for the answer to the next question."""
    peer, pipe = await connect(surplus, b":7\r\n")
    assert await pipe.converse(b"x", 1, PATIENCE) == [1]
    assert await pipe.converse(b"y", 1, PATIENCE) == [7]
    assert peer.connections == 2


@pytest.mark.parametrize(("said", "connections"), [(b":9\r\n", 2), (b">1\r\n+c\r\n", 1)], ids=["answer", "notice"])
async def test_what_comes_while_nobody_asked(connect: Connect, said: bytes, connections: int) -> None:
    """An answer to nothing ends the connection; a notice does not."""
    peer, pipe = await connect(b":1\r\n", b":7\r\n")
    assert await pipe.converse(b"x", 1, PATIENCE) == [1]
    link = pipe._link
    assert link is not None
    link.data_received(said)
    assert link.is_closing() is (connections == 2)
    assert await pipe.converse(b"y", 1, PATIENCE) == [7]
    assert peer.connections == connections


async def test_a_script_is_one_command() -> None:
    """Nothing else is sent with it, and the whole script only where its name is unknown."""
    sent: list[bytes] = []

    class Known(Pipe):
        async def converse(self, commands: bytes, count: int, seconds: float) -> list[object]:
            sent.append(commands)
            return [1] * count

    assert await run_each(Known(object), [Call(b"key", DESTROY, ())]) == [1]
    assert sent == [b"*4\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$3\r\nkey\r\n" % DESTROY.sha]


async def test_garbage(connect: Connect) -> None:
    """What is no answer at all ends the connection."""
    peer, pipe = await connect(b":1\r\n?!\r\n", b":7\r\n")
    answers = await pipe.converse(b"x", 2, PATIENCE)
    assert answers[0] == 1
    assert isinstance(answers[1], InvalidResponse)
    assert await pipe.converse(b"y", 1, PATIENCE) == [7]
    assert peer.connections == 2


async def test_silence(connect: Connect) -> None:
    """After its time a conversation has failed, with what was answered till then; its answer comes to nobody."""
    peer, pipe = await connect(b":1\r\n", b"", b":1\r\n", b":7\r\n")
    assert await pipe.converse(b"x", 1, 0.05) == [1]
    loop = asyncio.get_running_loop()
    for expected in ([], [1]):
        started = loop.time()
        *answered, last = await pipe.converse(b"y", len(expected) + 1, 0.1)
        assert answered == expected
        assert isinstance(last, TimeoutError)
        assert str(last) == "Redis did not answer within 0.1 s"
        assert 0.09 <= loop.time() - started < 2
    assert await pipe.converse(b"z", 1, PATIENCE) == [7]
    assert peer.connections == 3


async def test_a_conversation_that_is_given_up(connect: Connect) -> None:
    """Its answer is not taken for the next one's."""
    peer, pipe = await connect(b"", b":7\r\n")
    answering = asyncio.ensure_future(pipe.converse(b"x", 1, PATIENCE))
    await peer.was_asked.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert await pipe.converse(b"y", 1, PATIENCE) == [7]
    assert peer.connections == 2


async def test_no_way_to_connect(connect: Connect) -> None:
    """Nothing was sent, so this raises what connecting failed with; the next conversation tries again."""
    peer, pipe = await connect(b":7\r\n")
    disconnected: list[bool] = []

    class Failing(Connection):
        async def connect(self) -> None:
            raise LostConnectionError("refused")

        async def disconnect(self, *, nowait: bool = False) -> None:
            disconnected.append(nowait)
            raise RedisError("neither") if len(disconnected) == 1 else OSError("neither")

    class Hanging(Failing):
        async def connect(self) -> None:
            await asyncio.Event().wait()

    make, pipe._make = pipe._make, lambda: Failing(peer)
    with pytest.raises(LostConnectionError, match="refused"):
        await pipe.converse(b"x", 1, PATIENCE)
    pipe._make = lambda: Hanging(peer)
    with pytest.raises(TimeoutError):
        await pipe.converse(b"x", 1, 0.01)
    assert disconnected == [True, True]
    pipe._make = make
    assert await pipe.converse(b"y", 1, PATIENCE) == [7]
    assert peer.received == [b"y"]


async def test_a_closed_pipe_can_be_used_again(connect: Connect) -> None:
    """It makes another connection; the first one is closed, and no alarm is left."""
    peer, pipe = await connect(b":1\r\n", b":2\r\n")
    assert await pipe.converse(b"x", 1, PATIENCE) == [1]
    link = pipe._link
    assert link is not None
    await pipe.close()
    assert link.is_closing()
    assert link._alarm is not None
    assert link._alarm.cancelled()
    assert await pipe.converse(b"y", 1, PATIENCE) == [2]
    assert peer.connections == 2
