"""A limit to guessing passwords."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

__all__ = ["Throttle"]


class Throttle:
    """Counts failures by key, in this process.

    :param failures: how many are allowed within ``seconds``.
    :param keys: how many keys are remembered; the one without failures for longest is forgotten first.
    """

    def __init__(
        self,
        *,
        failures: int = 10,
        seconds: float = 300.0,
        keys: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._seconds = seconds
        self._keys = keys
        self._clock = clock
        self._seen: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def is_exhausted(self, key: Hashable) -> bool:
        """Whether there were too many failures of late."""
        times = self._seen.get(key)
        return times is not None and len(times) == self._failures and times[0] > self._clock() - self._seconds

    def record(self, key: Hashable) -> None:
        """Remember a failure."""
        times = self._seen.setdefault(key, deque(maxlen=self._failures))
        times.append(self._clock())
        self._seen.move_to_end(key)
        while len(self._seen) > self._keys:
            self._seen.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Begin anew, after a success."""
        self._seen.pop(key, None)
