"""An outage of the store, told in the log once, not once a request (promise 9)."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

from ..events import logger
from ..exceptions import AdapterError

__all__ = ["Outage"]

_READS = frozenset({"load", "find", "scan", "count"})

_SECONDS_BETWEEN_LINES = 60.0


class Outage:
    """Tells of the first failure with its traceback, then how many there are, and when the store answers again.

    A store that fails and answers by turns has an outage after the other: of those within a minute the first is told,
    and what fails in the others is counted.

    A store that can only be read, as one whose disk is full, answers every other operation: what is read while writes
    fail does not end an outage.

    :param clock: returns seconds; by default a monotonic clock.
    """

    __slots__ = ("_clock", "_count", "_told", "_told_at", "_writes", "going_on")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.going_on = False
        """Whether :meth:`answered` wants to know of what succeeds."""
        self._writes = False
        self._count = 0
        self._told = False
        """Whether the log knows of this outage."""
        self._told_at = -inf

    def failed(self, operation: str, error: AdapterError) -> None:
        """Count a failure; log the first one with its traceback, and how many there are once a minute at most."""
        self._count += 1
        self._writes = self._writes or operation not in _READS
        self.going_on = True
        now = self._clock()
        if now - self._told_at < _SECONDS_BETWEEN_LINES:
            return
        self._told_at = now
        if self._told:
            logger.error("the session store still fails: %s operations so far", self._count)
        else:
            self._told = True
            logger.error("the session store fails: %s", error, exc_info=error)

    def answered(self, operation: str) -> None:
        """Log the end of the outage, where what succeeded shows it. To be called only while one is going on."""
        if self._writes and operation in _READS:
            return
        self.going_on = self._writes = False
        if self._told:
            logger.warning("the session store answers again, after %s failed operations", self._count)
            self._told, self._count = False, 0
