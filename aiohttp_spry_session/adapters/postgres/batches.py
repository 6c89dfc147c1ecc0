"""A batch of writes: cut so that each statement meets a handle once, and rid of what a lock holds up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .sending import Sender
from .waiting import Waiting
from .waves import Operation, Wave, first_wave

__all__ = ["Outcome", "Writer"]

Outcome = bool | BaseException | asyncio.Future[bool]
"""Whether an operation won, or what it failed with, or what will tell."""


class Writer:
    """Writes batches to one table.

    :param patience: seconds that an operation waits for a row that somebody else holds.
    """

    def __init__(self, sender: Sender, patience: float) -> None:
        self._sender = sender
        self._waiting = Waiting(sender, patience)

    async def write(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out operations, those on the same handle in their order; return what became of each.

        Where somebody else holds a row that an operation needs, this does not wait for it: there stands a future. A
        failure is that of the operations whose outcome it left open, not of those that were done before.
        """
        outcomes: dict[int, Outcome] = {}
        pending: Sequence[int] = range(len(operations))
        try:
            while pending := self._unhindered(operations, pending, outcomes):
                wave = first_wave(operations, pending)
                await self._send(operations, wave.first, outcomes)
                pending = _remainder(wave, outcomes)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            return [outcomes.get(index, error) for index in range(len(operations))]
        return [outcomes[index] for index in range(len(operations))]

    async def drain(self) -> None:
        """Wait until everything that a lock holds up is decided."""
        await self._waiting.drain()

    def _unhindered(
        self, operations: Sequence[Operation], pending: Sequence[int], outcomes: dict[int, Outcome]
    ) -> Sequence[int]:
        """Return those that may go; one whose handle another one waits for goes after that."""
        if not self._waiting.handles:
            return pending
        others: list[int] = []
        for index in pending:
            if self._waiting.handles.isdisjoint(row.handle for row in operations[index]):
                others.append(index)
            else:
                outcomes[index] = self._waiting.submit(operations[index])
        return others

    async def _send(
        self, operations: Sequence[Operation], indices: Sequence[int], outcomes: dict[int, Outcome]
    ) -> None:
        decided: dict[int, bool | BaseException] = {}
        try:
            await self._sender.send(operations, indices, decided)
        finally:
            outcomes.update(decided)
        if len(decided) < len(indices):
            for index in indices:
                if index not in decided:
                    outcomes[index] = self._waiting.submit(operations[index])


def _remainder(wave: Wave, outcomes: dict[int, Outcome]) -> Sequence[int]:
    """Enter the outcomes that follow from those of a wave; return what is to be done after it."""
    undecided: list[int] = []
    for index, leader in wave.echoes:
        outcome = outcomes[leader]
        if isinstance(outcome, asyncio.Future):
            undecided.append(index)
        else:
            outcomes[index] = outcome if isinstance(outcome, BaseException) else False
    return sorted(wave.later + undecided) if undecided else wave.later
