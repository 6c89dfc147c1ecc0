"""One statement of writes: sent so that nobody fails for a neighbour, and nobody waits for a neighbour's lock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from .connections import Connections, is_collision, is_locked, is_rolled_back
from .statements import Kind, Row, columns
from .waves import Operation

__all__ = ["Sender"]

_ATTEMPTS = 10
_PAUSE = 0.002
_HELD_UP = 2


class Sender:
    """Sends operations without a handle in common.

    :param ended: gets the keys of the sessions that a statement has ended, once that is committed.
    """

    def __init__(
        self,
        connections: Connections,
        statement: str,
        clock: Callable[[], float],
        ended: Callable[[list[bytes]], None],
    ) -> None:
        self._connections = connections
        self._statement = statement
        self._clock = clock
        self._ended = ended

    async def send(
        self, operations: Sequence[Operation], indices: Sequence[int], decided: dict[int, bool | BaseException]
    ) -> None:
        """Carry out some of the operations, and enter what became of each.

        What is not entered when this returns was held up by somebody else's hold on a row, and has changed nothing.
        What is not entered when this raises may have taken effect. What the server rolled back is tried again, each
        operation by itself; nothing whose answer was lost is sent again.
        """
        try:
            won, skipped = await self._fetch([row for index in indices for row in operations[index]])
        except Exception as error:
            if not is_rolled_back(error):
                raise
            if is_locked(error):
                await self._send_around(operations, indices, decided)
            else:
                for index in indices:
                    outcome = await self._send_alone(operations[index])
                    if outcome is not None:
                        decided[index] = outcome
        else:
            for index in indices:
                operation = operations[index]
                if not skipped or skipped.isdisjoint(row.handle for row in operation):
                    decided[index] = operation[0].handle in won

    async def _send_around(
        self, operations: Sequence[Operation], indices: Sequence[int], decided: dict[int, bool | BaseException]
    ) -> None:
        """Send each by itself, until it shows that it is more than one that is held up: each of those takes its time.

        None of them has a handle in common with another, so the order is free, and each gets its chance by and by.
        """
        held_up = 0
        for index in random.sample(indices, len(indices)):
            outcome = await self._send_alone(operations[index])
            if outcome is not None:
                decided[index] = outcome
            else:
                held_up += 1
                if held_up == _HELD_UP:
                    return

    async def _send_alone(self, operation: Operation) -> bool | BaseException | None:
        """Return what became of it; ``None``: somebody else holds a row."""
        attempts = 0
        while True:
            attempts += 1
            try:
                won, skipped = await self._fetch(operation)
            except Exception as error:
                if is_locked(error):
                    return None
                if not is_rolled_back(error):
                    raise
                if not is_collision(error) or attempts == _ATTEMPTS:
                    return error
                # Others are at the same row: whoever waits for a random time meets fewer of them.
                await asyncio.sleep(random.random() * _PAUSE * attempts)  # noqa: S311 - no secret
            else:
                return None if skipped else operation[0].handle in won

    async def _fetch(self, rows: Sequence[Row]) -> tuple[set[bytes], set[bytes]]:
        """Return the handles of what won, and those of what was skipped."""
        won: set[bytes] = set()
        skipped: set[bytes] = set()
        for handle, is_decided in await self._connections.fetch(self._statement, self._clock(), *columns(rows)):
            (won if is_decided else skipped).add(handle)
        ended = [row.handle for row in rows if (row.retired or row.kind is Kind.DESTROY) and row.handle in won]
        if ended:
            self._ended(ended)
        return won, skipped
