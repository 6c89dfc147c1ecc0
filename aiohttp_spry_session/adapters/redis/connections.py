"""Ways to the Redis server, or servers: calls that arrive together travel together, and none is ever sent twice.

redis-py repeats a command whose answer was lost, by default up to ten times. A repeated write may be a second one, so
calls go past its retries here. Only what the server says it has not carried out (an unknown script, a key that lives
elsewhere) is sent again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from redis.asyncio import Redis
from redis.exceptions import ClusterCrossSlotError, MovedError, NoScriptError

from ...exceptions import AdapterError
from ..batching import Batcher
from .failures import FAILURES, is_lost
from .pipe import Pipe
from .scripts import Script
from .walking import KeyWalk

__all__ = [
    "ANSWER_SECONDS",
    "NOT_OPEN",
    "Call",
    "CarryOut",
    "Closed",
    "Connections",
    "Pipes",
    "Server",
    "get_each",
    "pack",
    "run_each",
]

ANSWER_SECONDS = 4.0
"""After this time an answer counts as lost, and its connection as dead."""

NOT_OPEN = "the adapter is not open: use setup(app, manager), or 'async with manager:' in a script"

_FOUR = b"*8\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n" + 5 * b"$%d\r\n%b\r\n"
"""What the scripts that are run most often have: four arguments. Filled at once it takes half of the time."""
_PLAIN = frozenset((int, bytes, type(None)))
"""The types of answers that need no second look."""
_ASKING = b"*1\r\n$6\r\nASKING\r\n"


class Call(NamedTuple):
    """A script for one key."""

    key: bytes
    script: Script
    arguments: tuple[bytes, ...]

    def by_name(self) -> bytes:
        """Return the command for a server that knows the script."""
        key, script, arguments = self
        if len(arguments) != 4:
            return pack(b"EVALSHA", script.sha, b"1", key, *arguments)
        now, value, ttl, lease = arguments
        return _FOUR % (script.sha, len(key), key, len(now), now, len(value), value, len(ttl), ttl, len(lease), lease)

    def whole(self) -> bytes:
        """Return the command for a server that does not know the script yet."""
        return pack(b"EVAL", self.script.source, b"1", self.key, *self.arguments)


class Connections(Protocol):
    """Carries out reads and scripts; what a server answers is in bytes, whatever the client was told to decode."""

    def get(self, key: bytes, /) -> Awaitable[bytes | None]:
        """Return what is kept at a key; raise what that failed with."""
        ...

    def run(self, call: Call, /) -> Awaitable[Any]:
        """Return the answer of a script; raise what it failed with."""
        ...

    def keys(self, pattern: bytes, /) -> AsyncIterator[list[bytes]]:
        """Return the keys of all strings, in steps; one may come several times."""
        ...

    def connection(self) -> Any:
        """Return a connection of redis-py's, to whatever server tells what happens on all; it is not connected yet."""
        ...

    @property
    def losses(self) -> int:
        """How often a server turned out to be lost, or demoted."""
        ...

    async def close(self) -> None:
        """Wait for what is under way, and close the connections."""
        ...


class Closed:
    """No connections: the adapter is not open."""

    async def get(self, key: bytes) -> bytes | None:
        raise AdapterError("call", NOT_OPEN)

    async def run(self, call: Call) -> Any:
        return await self.get(call.key)

    async def keys(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        yield [pattern] if await self.get(pattern) else []

    def connection(self) -> Any:
        raise AdapterError("call", NOT_OPEN)

    losses = 0

    async def close(self) -> None:
        """There is nothing to close."""


class Pipes:
    """The connections to one server: two, and a third to walk through its keys. What one learns counts for all.

    :param make: returns a connection of redis-py's that is not connected yet.
    :param probe: a command by which a new connection shows that it leads to a master; nothing where that is sure.
    """

    def __init__(self, make: Callable[[], Any], probe: bytes = b"") -> None:
        self.reads, self.writes, walks = self._all = Pipe(make, probe), Pipe(make, probe), Pipe(make, probe)
        self.walk = KeyWalk(walks, partial(self._ask, walks))
        self.losses = 0

    async def use(self, pipe: Pipe, carry_out: CarryOut, operations: list[Any]) -> list[Any]:
        """Return the results of some operations on one of them."""
        try:
            results = await carry_out(pipe, operations)
        except FAILURES:
            self._leave()
            raise
        if not _PLAIN.issuperset(map(type, results)) and any(map(is_lost, results)):
            self._leave()
        return results

    async def _ask(self, pipe: Pipe, parts: tuple[bytes, ...]) -> Any:
        (answer,) = await self.use(pipe, _converse, [pack(*parts)])
        return answer

    async def close(self) -> None:
        await self.walk.drain()
        for pipe in self._all:
            await pipe.close()

    def _leave(self) -> None:
        self.losses += 1
        for pipe in self._all:
            pipe.leave()


class Server:
    """One server: a standalone one, or the master that a Sentinel names. Makes its connections as the client does.

    A name, a proxy or a service address may lead to a server that was demoted, for a while: so each new connection
    shows that it can write before it is used, also one for reads.

    :param key: one that the client may write to, and that holds no set.
    """

    def __init__(self, client: Redis, key: bytes) -> None:
        pool: Any = client.connection_pool
        # It changes nothing, takes no room, and is refused by a replica.
        pipes = self._pipes = Pipes(pool.make_connection, pack(b"ZREM", key, b"-"))
        self._reads: Batcher[bytes, Any] = Batcher(partial(self._send, pipes.reads, _read))
        self._writes: Batcher[Call, Any] = Batcher(partial(self._send, pipes.writes, run_each))
        self.get = self._reads.submit
        self.run = self._writes.submit
        self.keys = pipes.walk.keys
        self.connection: Callable[[], Any] = pool.make_connection

    async def close(self) -> None:
        await self._reads.drain()
        await self._writes.drain()
        await self._pipes.close()

    @property
    def losses(self) -> int:
        return self._pipes.losses

    async def _send(self, pipe: Pipe, carry_out: CarryOut, operations: list[Any]) -> Sequence[Any]:
        results = await self._pipes.use(pipe, carry_out, operations)
        if _PLAIN.issuperset(map(type, results)):
            return results
        if any(isinstance(result, MovedError | ClusterCrossSlotError) for result in results):
            raise AdapterError(
                "call", "the server is a node of a Redis Cluster: pass a redis.asyncio.RedisCluster client"
            )
        return results


CarryOut = Callable[..., Awaitable[list[Any]]]


async def _read(pipe: Pipe, keys: list[bytes]) -> list[Any]:
    """Read many keys of one server with one command."""
    if len(keys) == 1:
        return await get_each(pipe, keys)
    values: Any
    (values,) = await pipe.converse(pack(b"MGET", *keys), 1, ANSWER_SECONDS)
    if isinstance(values, Exception):
        return [values] * len(keys)
    # It passes over a key that holds something else than a string as if there were none; GET tells.
    if None in values:
        missing = [index for index, value in enumerate(values) if value is None]
        for index, value in zip(missing, await get_each(pipe, [keys[index] for index in missing]), strict=True):
            values[index] = value
    return list(values)


async def get_each(pipe: Pipe, keys: list[bytes], *, asking: bool = False) -> list[Any]:
    """Read each key with a command of its own: those of a Cluster's node have not one slot."""
    return await _converse(pipe, [pack(b"GET", key) for key in keys], asking=asking)


async def run_each(pipe: Pipe, calls: list[Call], *, asking: bool = False) -> list[Any]:
    """Return for each call its answer or what it failed with; the whole script goes where its name is unknown."""
    results = await _converse(pipe, [call.by_name() for call in calls], asking=asking)
    if _PLAIN.issuperset(map(type, results)):
        return results
    unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
    if unknown:
        again = await _converse(pipe, [calls[index].whole() for index in unknown], asking=asking)
        for index, result in zip(unknown, again, strict=True):
            results[index] = result
    return results


async def _converse(pipe: Pipe, commands: list[bytes], *, asking: bool = False) -> list[Any]:
    if not asking:
        return await pipe.converse(b"".join(commands), len(commands), ANSWER_SECONDS)
    packed = b"".join([_ASKING + command for command in commands])
    return (await pipe.converse(packed, 2 * len(commands), ANSWER_SECONDS))[1::2]


def pack(*parts: bytes) -> bytes:
    """Return a command as it is sent; redis-py's own way to it takes longer than the rest of a read."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
