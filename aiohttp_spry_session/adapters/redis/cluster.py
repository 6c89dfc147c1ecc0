"""Ways to the nodes of a Redis Cluster: each call goes to the master that holds its key, wherever that moves."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, MovedError, SlotNotCoveredError
from redis.exceptions import ConnectionError as LostConnectionError

from ..batching import Batcher
from .connections import ANSWER_SECONDS, Call, CarryOut, Pipes, get_each, run_each
from .failures import FAILURES
from .pipe import Pipe

__all__ = ["Cluster"]

_MAX_REDIRECTIONS = 4
_LOOK_SECONDS = 1.0
_REDIRECTIONS = (MovedError, AskError)


class _Node(NamedTuple):
    """The ways to one node of a Cluster."""

    pipes: Pipes
    reads: Batcher[bytes, Any]
    writes: Batcher[Call, Any]


class Cluster:
    """A Redis Cluster. Each node is asked on its own, so that one that hangs holds up no other."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        self._nodes: dict[str, _Node] = {}

    async def get(self, key: bytes) -> bytes | None:
        value: bytes | None = await (await self._node_of(key)).reads.submit(key)
        return value

    async def run(self, call: Call) -> Any:
        return await (await self._node_of(call.key)).writes.submit(call)

    async def keys(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        try:
            await self._client.initialize()
            for master in self._client.get_primaries():
                async for keys in self._node(master.name).pipes.walk.keys(pattern):
                    yield keys
        except FAILURES:
            await self._look_around()
            raise

    def connection(self) -> Any:
        """Return a connection to one of the masters: each tells what any of them is told to publish."""
        nodes = self._client.get_primaries()
        return _connection_to(random.choice(nodes) if nodes else None)  # noqa: S311 - no secret

    @property
    def losses(self) -> int:
        return sum(node.pipes.losses for node in self._nodes.values())

    async def close(self) -> None:
        for node in self._nodes.values():
            await node.reads.drain()
            await node.writes.drain()
            await node.pipes.close()

    async def _node_of(self, key: bytes) -> _Node:
        """Return the master that holds a key's slot; where none is known to, the cluster is asked again."""
        # Bytes are what the slot is computed from, whatever the client's type says. The node is the master.
        text: Any = key
        try:
            found: Any = self._client.get_node_from_key(text)
        except SlotNotCoveredError:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._client.initialize()
                await self._client.nodes_manager.initialize()
            found = self._client.get_node_from_key(text)
        return self._node(found.name)

    def _node(self, name: str) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            # None shows that it can write: the replicas of a Cluster send to their master.
            pipes = Pipes(partial(self._connection_to, name))
            node = self._nodes[name] = _Node(
                pipes,
                Batcher(partial(self._send, pipes, pipes.reads, get_each)),
                Batcher(partial(self._send, pipes, pipes.writes, run_each)),
            )
        return node

    def _connection_to(self, name: str) -> Any:
        return _connection_to(self._client.get_node(node_name=name))

    async def _send(self, pipes: Pipes, pipe: Pipe, carry_out: CarryOut, operations: list[Any]) -> Sequence[Any]:
        try:
            results = await pipes.use(pipe, carry_out, operations)
            astray = [index for index, result in enumerate(results) if isinstance(result, _REDIRECTIONS)]
            for index in astray:
                results[index] = await self._follow(carry_out, operations[index], results[index])
        except FAILURES:
            await self._look_around()
            raise
        if astray or any(isinstance(result, LostConnectionError | OSError) for result in results):
            await self._look_around()
        return results

    async def _follow(self, carry_out: CarryOut, operation: Any, redirection: Any) -> Any:
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


def _connection_to(node: ClusterNode | None) -> Any:
    if node is None:
        raise LostConnectionError("the node has left the cluster")
    return node.connection_class(**{**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)})
