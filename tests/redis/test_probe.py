"""Which connection is used: one that was not left, and that shows first what it leads to."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import RedisError

from .peer import PATIENCE, Answer, Connect


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
