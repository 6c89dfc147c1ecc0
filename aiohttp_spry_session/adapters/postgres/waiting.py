"""Operations that somebody else's hold on a row keeps from being decided: sent again until it is free."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from .sending import Sender
from .waves import Operation, first_wave

__all__ = ["Waiting"]

_SHORTEST, _LONGEST = 0.001, 0.02
"""Seconds between two rounds: the pause doubles while nothing comes free."""
_LIMIT = 256
"""The largest statement."""


class _Entry(NamedTuple):
    operation: Operation
    future: asyncio.Future[bool]
    deadline: float


class Waiting:
    """Holds nobody up: no statement waits for a lock, and between two rounds there is a pause.

    Whoever gives up takes the operation back, unless it is just on its way.

    :param patience: seconds until an operation fails.
    """

    def __init__(self, sender: Sender, patience: float) -> None:
        self._sender = sender
        self._patience = patience
        self._entries: list[_Entry] = []
        self._task: asyncio.Task[None] | None = None
        self.handles: set[bytes] = set()
        """What is waited for: any other operation on one of these has to come after."""

    def submit(self, operation: Operation) -> asyncio.Future[bool]:
        """Return what will tell whether the operation won; those on the same handle keep their order."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        future.add_done_callback(_look_at)
        self._entries.append(_Entry(operation, future, loop.time() + self._patience))
        self.handles.update(row.handle for row in operation)
        if self._task is None:
            self._task = loop.create_task(self._run())
        return future

    async def drain(self) -> None:
        """Wait until all is decided."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        pause = _SHORTEST
        try:
            while self._entries:
                # Others may be at the same rows: whoever waits for a random time meets fewer of them.
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                self._give_up()
                told = await self._round(list(self._entries))
                self._keep([entry for entry in self._entries if not entry.future.done()])
                pause = _SHORTEST if told else min(2 * pause, _LONGEST)
        finally:
            self._task = None
            # Only a loop that shuts down cancels this task: nobody may be left waiting.
            for entry in self._entries:
                entry.future.cancel()
            self._keep([])

    def _give_up(self) -> None:
        now = asyncio.get_running_loop().time()
        for entry in self._entries:
            if entry.operation.is_given_up:
                entry.future.cancel()
            elif entry.deadline <= now:
                held = f"another transaction has held the session's row for {self._patience} s: nothing was changed"
                _tell(entry.future, TimeoutError(held))
        self._keep([entry for entry in self._entries if not entry.future.done()])

    def _keep(self, entries: list[_Entry]) -> None:
        self._entries = entries
        self.handles = {row.handle for entry in entries for row in entry.operation}

    async def _round(self, entries: Sequence[_Entry]) -> bool:
        """Send all once more; return whether any of them was decided."""
        operations = [entry.operation for entry in entries]
        wave = first_wave(operations, range(len(operations)))
        decided: dict[int, bool | BaseException] = {}
        for start in range(0, len(wave.first), _LIMIT):
            indices = wave.first[start : start + _LIMIT]
            try:
                await self._sender.send(operations, indices, decided)
            except Exception as error:  # noqa: BLE001 - the callers get it
                decided = {**dict.fromkeys(indices, error), **decided}
        for index, leader in wave.echoes:
            if leader in decided:
                outcome = decided[leader]
                decided[index] = outcome if isinstance(outcome, BaseException) else False
        for index, outcome in decided.items():
            _tell(entries[index].future, outcome)
        return bool(decided)


def _tell(future: asyncio.Future[bool], outcome: bool | BaseException) -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _look_at(future: asyncio.Future[bool]) -> None:
    """Let nobody complain that nobody looked: whoever asked may have gone before this was made."""
    if not future.cancelled():
        future.exception()
