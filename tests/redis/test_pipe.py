"""A connection to a peer that answers late, in pieces, too much, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, RedisError, ResponseError

from aiohttp_spry_session.adapters.redis.connections import Call, run_each
from aiohttp_spry_session.adapters.redis.pipe import Pipe
from aiohttp_spry_session.adapters.redis.scripts import DESTROY

Answer = bytes | None
PATIENCE = 10.0


class Peer:
    """A server that answers each thing it is sent with the next of its answers; ``None`` closes the connection."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.received: list[bytes] = []
        self.connections = 0
        self.was_asked = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self) -> None:
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while data := await reader.read(1000):
            self.received.append(data)
            self.was_asked.set()
            answer = self.answers.pop(0)
            if answer is None:
                break
            writer.write(answer)
        writer.close()


class Connection:
    """As much of redis-py's connection as is used."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        _, self._writer = await asyncio.open_connection("127.0.0.1", self.peer.port)

    async def disconnect(self, *, nowait: bool = False) -> None:
        if self._writer is not None:
            self._writer.close()
            if not nowait:
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()


Connect = Callable[..., tuple[Peer, Pipe]]


@pytest.fixture
async def connect() -> AsyncIterator[Callable]:
    """Make a peer with answers, and a pipe to it."""
    made: list[tuple[Peer, Pipe]] = []

    async def connect(*answers: Answer) -> tuple[Peer, Pipe]:
        peer = Peer(*answers)
        await peer.serve()
        made.append((peer, Pipe(lambda: Connection(peer))))
        return made[-1]

    yield connect
    for peer, pipe in made:
        await pipe.close()
        peer.server.close()
        for writer in peer.writers:
            writer.close()


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


async def test_a_connection_that_is_left(connect: Connect) -> None:
    """A conversation that is under way goes on; the next one makes another connection, and the one after keeps it."""
    peer, pipe = await connect(b"", b":2\r\n", b":3\r\n")
    answering = asyncio.ensure_future(pipe.converse(b"x", 1, PATIENCE))
    await peer.was_asked.wait()
    pipe.leave()
    peer.writers[0].write(b":1\r\n")
    assert await answering == [1]
    assert await pipe.converse(b"y", 1, PATIENCE) == [2]
    assert await pipe.converse(b"z", 1, PATIENCE) == [3]
    assert peer.connections == 2


@pytest.mark.parametrize(
    "answer", [b":0\r\n", b"-WRONGTYPE no\r\n", b"-NOPERM no\r\n"], ids=["done", "another type", "no right"]
)
async def test_a_probe(connect: Connect, answer: bytes) -> None:
    """A new connection is tried first, once; only what another connection might mend speaks against it."""
    peer, pipe = await connect(answer, b":1\r\n", b":2\r\n")
    pipe._probe = b"probe"
    assert await pipe.converse(b"x", 1, PATIENCE) == [1]
    assert await pipe.converse(b"y", 1, PATIENCE) == [2]
    assert peer.received == [b"probe", b"x", b"y"]


@pytest.mark.parametrize("answer", [b"-READONLY no\r\n", b"-NOAUTH no\r\n", None], ids=["replica", "stranger", "lost"])
async def test_a_probe_that_fails(connect: Connect, answer: Answer) -> None:
    """Nothing else is sent on that connection."""
    peer, pipe = await connect(answer, b":0\r\n", b":1\r\n")
    pipe._probe = b"probe"
    with pytest.raises(RedisError):
        await pipe.converse(b"x", 1, PATIENCE)
    assert await pipe.converse(b"y", 1, PATIENCE) == [1]
    assert (peer.received, peer.connections) == ([b"probe", b"probe", b"y"], 2)


async def test_a_probe_that_hangs(connect: Connect) -> None:
    """It counts to the time that connecting may take, and its answer comes to nobody."""
    peer, pipe = await connect(b"", b":0\r\n", b":1\r\n")
    pipe._probe = b"probe"
    with pytest.raises(TimeoutError):
        await pipe.converse(b"x", 1, 0.05)
    assert await pipe.converse(b"y", 1, PATIENCE) == [1]
    assert peer.connections == 2
