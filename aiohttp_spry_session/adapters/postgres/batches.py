"""A batch of writes: cut so that each statement meets a handle once, and so that nobody fails for a neighbour."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .connections import Connections, is_collision, is_rolled_back
from .statements import Kind, Row, columns

__all__ = ["Operation", "Outcome", "Writer"]

Operation = tuple[Row, ...]
"""One row; of a rotation two, the old one first."""

Outcome = bool | BaseException

_ATTEMPTS = 10
_PAUSE = 0.002


class _Wave(NamedTuple):
    """A part of a batch, as indices of operations."""

    first: Sequence[int]
    """Those that go now: no two of them have a handle in common."""

    echoes: list[tuple[int, int]]
    """Those that lose, unless the one they are paired with fails: it updates the same version before them."""

    later: list[int]
    """Those that have to wait for one of the first."""


class Writer:
    """Writes batches to one table."""

    def __init__(self, connections: Connections, statement: str, clock: Callable[[], float]) -> None:
        self._connections = connections
        self._statement = statement
        self._clock = clock

    async def write(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations, those on the same handle in their order; return what became of each.

        What the server rolled back is tried again, each operation by itself. Nothing whose answer was lost is sent
        again: it may have taken effect.
        """
        outcomes: dict[int, Outcome] = {}
        pending: Sequence[int] = range(len(operations))
        try:
            while pending:
                wave = _first_wave(operations, pending)
                await self._write_wave(operations, wave.first, outcomes)
                for index, leader in wave.echoes:
                    outcomes[index] = outcomes[leader] if isinstance(outcomes[leader], BaseException) else False
                pending = wave.later
        except Exception as error:  # noqa: BLE001 - each caller gets it
            return [outcomes.get(index, error) for index in range(len(operations))]
        return [outcomes[index] for index in range(len(operations))]

    async def _write_wave(
        self, operations: Sequence[Operation], indices: Sequence[int], outcomes: dict[int, Outcome]
    ) -> None:
        try:
            won = await self._send([row for index in indices for row in operations[index]])
        except Exception as error:
            if not is_rolled_back(error):
                raise
            for index in indices:
                outcomes[index] = await self._write_alone(operations[index])
        else:
            for index in indices:
                outcomes[index] = operations[index][0].handle in won

    async def _write_alone(self, operation: Operation) -> Outcome:
        attempts = 0
        while True:
            attempts += 1
            try:
                return operation[0].handle in await self._send(operation)
            except Exception as error:
                if not is_rolled_back(error):
                    raise
                if not is_collision(error) or attempts == _ATTEMPTS:
                    return error
                # Others are at the same row: whoever waits for a random time meets fewer of them.
                await asyncio.sleep(random.random() * _PAUSE * attempts)  # noqa: S311 - no secret

    async def _send(self, rows: Sequence[Row]) -> set[bytes]:
        return {won for (won,) in await self._connections.fetch(self._statement, self._clock(), *columns(rows))}


def _first_wave(operations: Sequence[Operation], pending: Sequence[int]) -> _Wave:
    handles = [row.handle for index in pending for row in operations[index]]
    if len(set(handles)) == len(handles):
        return _Wave(pending, [], [])
    first: list[int] = []
    wave = _Wave(first, [], [])
    last: dict[bytes, int | None] = {}
    for index in pending:
        operation = operations[index]
        leader = last.get(operation[0].handle)
        if leader is not None and _is_echo(operation, operations[leader]):
            wave.echoes.append((index, leader))
        elif last.keys().isdisjoint(row.handle for row in operation):
            first.append(index)
            last.update((row.handle, index) for row in operation)
        else:
            wave.later.append(index)
            last.update((row.handle, None) for row in operation)
    return wave


def _is_echo(operation: Operation, leader: Operation) -> bool:
    """Whether an operation needs the version that the one before it has just replaced, or has not found."""
    row = operation[0]
    return (
        row.kind in (Kind.UPDATE, Kind.RETIRE)
        and leader[0].kind == Kind.UPDATE
        and leader[0].handle == row.handle
        and leader[0].version == row.version
    )
