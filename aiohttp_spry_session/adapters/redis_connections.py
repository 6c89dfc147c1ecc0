"""Ways to the Redis server, or servers: calls that arrive together travel together, and none is ever sent twice.

redis-py repeats a command whose answer was lost, by default up to ten times. A repeated write may be a second one, so
calls go past its retries here. Only what the server says it has not carried out (an unknown script, a key that lives
elsewhere) is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    SlotNotCoveredError,
)
from redis.exceptions import ConnectionError as LostConnectionError

from ..exceptions import AdapterError
from .batching import Batcher
from .redis_pipe import Pipe
from .redis_scripts import Script

__all__ = ["ANSWER_SECONDS", "FAILURES", "Call", "Closed", "Cluster", "Connections", "Server"]

ANSWER_SECONDS = 4.0
"""After this time an answer counts as lost, and its connection as dead."""

FAILURES = (RedisError, RedisClusterException, OSError)
"""What redis-py raises; one of them is no ``RedisError``."""

_MAX_REDIRECTIONS = 4
_LOOK_SECONDS = 1.0
_REDIRECTIONS = (MovedError, AskError)
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
            return _pack(b"EVALSHA", script.sha, b"1", key, *arguments)
        now, value, ttl, lease = arguments
        return _FOUR % (script.sha, len(key), key, len(now), now, len(value), value, len(ttl), ttl, len(lease), lease)

    def whole(self) -> bytes:
        """Return the command for a server that does not know the script yet."""
        return _pack(b"EVAL", self.script.source, b"1", self.key, *self.arguments)


class Connections(Protocol):
    """Carries out reads and scripts; what a server answers is in bytes, whatever the client was told to decode."""

    def get(self, key: bytes, /) -> Awaitable[bytes | None]:
        """Return what is kept at a key; raise what that failed with."""
        ...

    def run(self, call: Call, /) -> Awaitable[Any]:
        """Return the answer of a script; raise what it failed with."""
        ...

    async def close(self) -> None:
        """Wait for what is under way, and close the connections."""
        ...


class Closed:
    """No connections: the adapter is not open."""

    async def get(self, key: bytes) -> bytes | None:
        raise AdapterError(
            "call", "the adapter is not open: use setup(app, manager), or 'async with manager:' in a script"
        )

    async def run(self, call: Call) -> Any:
        return await self.get(call.key)

    async def close(self) -> None:
        """There is nothing to close."""


class Server:
    """One server: a standalone one, or the master that a Sentinel names. Makes two connections, as the client does."""

    def __init__(self, client: Redis) -> None:
        make = cast("Any", client.connection_pool).make_connection
        self._pipes = Pipe(make), Pipe(make)
        reads, writes = self._pipes
        self._reads: Batcher[bytes, Any] = Batcher(partial(self._send, reads, _read))
        self._writes: Batcher[Call, Any] = Batcher(partial(self._send, writes, _run))
        self.get = self._reads.submit
        self.run = self._writes.submit

    async def close(self) -> None:
        await self._reads.drain()
        await self._writes.drain()
        for pipe in self._pipes:
            await pipe.close()

    async def _send(self, pipe: Pipe, carry_out: _CarryOut, operations: list[Any]) -> Sequence[Any]:
        results = await carry_out(pipe, operations)
        if _PLAIN.issuperset(map(type, results)):
            return results
        for result in results:
            if isinstance(result, ReadOnlyError):
                # A failover made the server a replica; a new connection may lead to the new master.
                await pipe.close()
            elif isinstance(result, MovedError | ClusterCrossSlotError):
                raise AdapterError(
                    "call", "the server is a node of a Redis Cluster: pass a redis.asyncio.RedisCluster client"
                )
        return results


class _Node(NamedTuple):
    """The ways to one node of a Cluster."""

    pipes: tuple[Pipe, Pipe]
    reads: Batcher[bytes, Any]
    writes: Batcher[Call, Any]


class Cluster:
    """A Redis Cluster. Each node is asked on its own, so that one that hangs holds up no other."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._nodes: dict[str, _Node] = {}

    async def get(self, key: bytes) -> bytes | None:
        return cast("bytes | None", await (await self._node_of(key)).reads.submit(key))

    async def run(self, call: Call) -> Any:
        return await (await self._node_of(call.key)).writes.submit(call)

    async def close(self) -> None:
        for node in self._nodes.values():
            await node.reads.drain()
            await node.writes.drain()
            for pipe in node.pipes:
                await pipe.close()

    async def _node_of(self, key: bytes) -> _Node:
        # Bytes are what the slot is computed from, whatever the client's type says. The node is the master.
        text = cast("str", key)
        try:
            found: Any = self._client.get_node_from_key(text)
        except SlotNotCoveredError:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._client.initialize()
                await self._client.nodes_manager.initialize()
            found = self._client.get_node_from_key(text)
        name: str = found.name
        node = self._nodes.get(name)
        if node is None:
            make = partial(self._connection_to, name)
            reads, writes = Pipe(make), Pipe(make)
            node = self._nodes[name] = _Node(
                (reads, writes), Batcher(partial(self._send, reads, _get)), Batcher(partial(self._send, writes, _run))
            )
        return node

    def _connection_to(self, name: str) -> Any:
        return _connection_to(self._client.get_node(node_name=name))

    async def _send(self, pipe: Pipe, carry_out: _CarryOut, operations: list[Any]) -> Sequence[Any]:
        try:
            results = await carry_out(pipe, operations)
            astray = [index for index, result in enumerate(results) if isinstance(result, _REDIRECTIONS)]
            for index in astray:
                results[index] = await self._follow(carry_out, operations[index], results[index])
        except FAILURES:
            await self._look_around()
            raise
        if astray or any(isinstance(result, LostConnectionError | OSError) for result in results):
            await self._look_around()
        return results

    async def _follow(self, carry_out: _CarryOut, operation: Any, redirection: Any) -> Any:
        """Send a call to where its key is; a redirected call was not carried out."""
        for _ in range(_MAX_REDIRECTIONS):
            node = self._client.get_node(redirection.host, redirection.port)
            if node is None:
                await self._look_around()
                node = self._client.get_node(redirection.host, redirection.port)
            # The node's own pipes may be in use.
            pipe = Pipe(partial(_connection_to, node))
            try:
                (redirection,) = await carry_out(pipe, [operation], asking=isinstance(redirection, AskError))
            finally:
                await pipe.close()
            if not isinstance(redirection, _REDIRECTIONS):
                break
        return redirection

    async def _look_around(self) -> None:
        """Ask the cluster which node holds what now; where nobody answers, the next failure asks again."""
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._client.nodes_manager.initialize()


_CarryOut = Callable[..., Awaitable[list[Any]]]


def _connection_to(node: ClusterNode | None) -> Any:
    if node is None:
        raise LostConnectionError("the node has left the cluster")
    return node.connection_class(**{**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)})


async def _read(pipe: Pipe, keys: list[bytes]) -> list[Any]:
    """Read many keys of one server with one command."""
    if len(keys) == 1:
        return await _get(pipe, keys)
    (values,) = await pipe.converse(_pack(b"MGET", *keys), 1, ANSWER_SECONDS)
    if isinstance(values, Exception):
        return [values] * len(keys)
    # It passes over a key that holds something else than a string as if there were none; GET tells.
    if None in values:
        missing = [index for index, value in enumerate(values) if value is None]
        for index, value in zip(missing, await _get(pipe, [keys[index] for index in missing]), strict=True):
            values[index] = value
    return cast("list[Any]", values)


async def _get(pipe: Pipe, keys: list[bytes], *, asking: bool = False) -> list[Any]:
    """Read each key with a command of its own: those of a Cluster's node have not one slot."""
    return await _converse(pipe, [_pack(b"GET", key) for key in keys], asking=asking)


async def _run(pipe: Pipe, calls: list[Call], *, asking: bool = False) -> list[Any]:
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


async def _converse(pipe: Pipe, commands: list[bytes], *, asking: bool) -> list[Any]:
    if not asking:
        return await pipe.converse(b"".join(commands), len(commands), ANSWER_SECONDS)
    packed = b"".join([_ASKING + command for command in commands])
    return (await pipe.converse(packed, 2 * len(commands), ANSWER_SECONDS))[1::2]


def _pack(*parts: bytes) -> bytes:
    """Return a command as it is sent; redis-py's own way to it takes longer than the rest of a read."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
