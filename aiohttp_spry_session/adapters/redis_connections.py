"""Ways to the Redis server, or servers: calls that arrive together travel together, and none is ever sent twice.

redis-py repeats a command whose answer was lost, by default up to ten times. A repeated write may be a second one, so
calls go straight to the client's connections here, past its retries. Only what the server says it has not carried out
(an unknown script, a key that lives elsewhere) is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import ConnectionError as LostConnectionError

from ..exceptions import AdapterError
from .batching import Batcher
from .redis_scripts import Script

__all__ = ["ANSWER_SECONDS", "FAILURES", "Call", "Cluster", "Connections", "Server"]

ANSWER_SECONDS = 4.0
"""After this time an answer counts as lost, and its connection as dead."""

FAILURES = (RedisError, RedisClusterException, OSError)
"""What redis-py raises; one of them is no ``RedisError``."""

_MAX_REDIRECTIONS = 4
_LOOK_SECONDS = 1.0
_Command = tuple[bytes, ...]


class Call(NamedTuple):
    """One command for one key: a script, or where there is none, ``GET``."""

    key: bytes
    script: Script | None = None
    arguments: tuple[bytes, ...] = ()

    def command(self) -> _Command:
        if self.script is None:
            return b"GET", self.key
        return b"EVALSHA", self.script.sha, b"1", self.key, *self.arguments

    def whole_command(self) -> _Command:
        """Return the command for a server that does not know the script yet."""
        return b"EVAL", cast("Script", self.script).source, b"1", self.key, *self.arguments


class Connections(Protocol):
    """Carries out calls; what a server answers is in bytes, whatever the client was told to decode."""

    async def call(self, call: Call) -> Any:
        """Return the answer; raise what the call failed with."""
        ...

    async def drain(self) -> None:
        """Wait for what is under way."""
        ...


class Server:
    """One server: a standalone one, or the master that a Sentinel names. Takes two connections of the client's pool."""

    def __init__(self, client: Redis) -> None:
        self._pool: Any = client.connection_pool
        self._reads: Batcher[Call, Any] = Batcher(partial(self._send, _read_all))
        self._writes: Batcher[Call, Any] = Batcher(partial(self._send, _carry_out))

    async def call(self, call: Call) -> Any:
        return await (self._reads if call.script is None else self._writes).submit(call)

    async def drain(self) -> None:
        await self._reads.drain()
        await self._writes.drain()

    async def _send(self, carry_out: _CarryOut, calls: list[Call]) -> Sequence[Any]:
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await self._pool.get_connection()
            try:
                results = await carry_out(connection, calls)
                if any(isinstance(result, ReadOnlyError) for result in results):
                    # A failover made the server a replica; a new connection may lead to the new master.
                    await connection.disconnect()
            finally:
                await self._pool.release(connection)
        if any(isinstance(result, MovedError | ClusterCrossSlotError) for result in results):
            raise AdapterError(
                "call", "the server is a node of a Redis Cluster: pass a redis.asyncio.RedisCluster client"
            )
        return results


class Cluster:
    """A Redis Cluster. Each node is asked on its own, so that one that hangs holds up no other."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._batchers: dict[tuple[str, bool], Batcher[Call, Any]] = {}

    async def call(self, call: Call) -> Any:
        # Bytes are what the slot is computed from, whatever the client's type says.
        key = cast("str", call.key)
        try:
            node: Any = self._client.get_node_from_key(key)
        except SlotNotCoveredError:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._client.initialize()
                await self._client.nodes_manager.initialize()
            node = self._client.get_node_from_key(key)
        route = (node.name, call.script is None)
        batcher = self._batchers.get(route)
        if batcher is None:
            batcher = self._batchers[route] = Batcher(partial(self._send, node.name))
        return await batcher.submit(call)

    async def drain(self) -> None:
        for batcher in self._batchers.values():
            await batcher.drain()

    async def _send(self, name: str, calls: list[Call]) -> Sequence[Any]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                results = await self._ask_node(self._client.get_node(node_name=name), calls)
                astray = [index for index, result in enumerate(results) if isinstance(result, _REDIRECTIONS)]
                for index in astray:
                    results[index] = await self._follow(calls[index], results[index])
        except FAILURES:
            await self._look_around()
            raise
        if astray or any(isinstance(result, LostConnectionError) for result in results):
            await self._look_around()
        return results

    async def _follow(self, call: Call, redirection: Any) -> Any:
        """Send a call to where its key is; a redirected call was not carried out."""
        for _ in range(_MAX_REDIRECTIONS):
            node = self._client.get_node(redirection.host, redirection.port)
            if node is None:
                await self._look_around()
                node = self._client.get_node(redirection.host, redirection.port)
            (redirection,) = await self._ask_node(node, [call], asking=isinstance(redirection, AskError))
            if not isinstance(redirection, _REDIRECTIONS):
                break
        return redirection

    async def _ask_node(self, node: ClusterNode | None, calls: list[Call], *, asking: bool = False) -> list[Any]:
        if node is None:
            raise LostConnectionError("the node has left the cluster")
        connection = node.acquire_connection()
        try:
            await _refresh(connection)
            return await _carry_out(connection, calls, asking=asking)
        finally:
            node.release(connection)

    async def _look_around(self) -> None:
        """Ask the cluster which node holds what now; where nobody answers, the next failure asks again."""
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._client.nodes_manager.initialize()


_REDIRECTIONS = (MovedError, AskError)
_CarryOut = Callable[[Any, list[Call]], Awaitable[list[Any]]]


async def _read_all(connection: Any, calls: list[Call]) -> list[Any]:
    """Read many keys of one server with one command."""
    if len(calls) == 1:
        return await _carry_out(connection, calls)
    (values,) = await _converse(connection, [(b"MGET", *(call.key for call in calls))])
    if isinstance(values, Exception):
        return [values] * len(calls)
    # It passes over a key that holds something else than a string as if there were none; GET tells.
    missing = [index for index, value in enumerate(values) if value is None]
    if missing:
        for index, value in zip(missing, await _carry_out(connection, [calls[i] for i in missing]), strict=True):
            values[index] = value
    return cast("list[Any]", values)


async def _carry_out(connection: Any, calls: list[Call], *, asking: bool = False) -> list[Any]:
    """Return for each call its answer or what it failed with; the whole script goes where its name is unknown."""
    results = await _converse(connection, [call.command() for call in calls], asking=asking)
    unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
    if unknown:
        again = await _converse(connection, [calls[index].whole_command() for index in unknown], asking=asking)
        for index, result in zip(unknown, again, strict=True):
            results[index] = result
    return results


async def _converse(connection: Any, commands: list[_Command], *, asking: bool = False) -> list[Any]:
    if asking:
        commands = [part for command in commands for part in ((b"ASKING",), command)]
    await connection.send_packed_command(b"".join(map(_pack, commands)))
    results: list[Any] = []
    for _ in commands:
        try:
            results.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            results.append(error)
        except (RedisError, OSError) as error:
            # The connection is gone; what was answered before counts.
            results += [error] * (len(commands) - len(results))
            break
    return results[1::2] if asking else results


def _pack(command: _Command) -> bytes:
    """Return a command as it is sent; redis-py's own way to it takes longer than the rest of a read."""
    return b"*%d\r\n" % len(command) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in command])


async def _refresh(connection: Any) -> None:
    """Give up a connection that the other side has closed while nobody used it, as a pool does."""
    if connection.is_connected:
        look = getattr(connection, "can_read", None) or connection.can_read_destructive
        try:
            stale = await look()
        except (RedisError, OSError):
            stale = True
        if stale:
            await connection.disconnect()
