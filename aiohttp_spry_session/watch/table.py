"""Which sessions are watched, under which handles, for which blocks of code, and which of them end soon."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from math import ceil, inf
from typing import Protocol

__all__ = ["Block", "Table", "Watched"]

PARTS = 50
"""A round over all sessions is cut into so many parts, so that no request waits behind it."""


class Block(Protocol):
    """Code that is to end with its session."""

    watched: Watched | None
    owner: str | None

    def end(self) -> None: ...


class Watched:
    """A session that blocks depend on."""

    __slots__ = ("again", "blocks", "ends_at", "handle", "is_due", "is_looked_at", "is_over")

    def __init__(self, handle: str) -> None:
        self.handle = handle
        self.blocks: set[Block] = set()
        """Empty: nobody depends on it any more."""
        self.ends_at = inf
        """In Unix seconds, as it was when the store was last asked."""
        self.is_over = self.is_due = self.is_looked_at = self.again = False
        """These are the watcher's."""


class Table:
    """All that is watched. Nothing here waits, asks a store, or reads a clock."""

    def __init__(self) -> None:
        self._by_handle: dict[str, Watched] = {}
        self._round: deque[Watched] = deque()  # in the order in which they are to be looked at again
        self._ends: list[tuple[float, int, Watched]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._by_handle)

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._by_handle.values()))

    def get(self, handle: str) -> Watched | None:
        """Return what is watched under a handle."""
        return self._by_handle.get(handle)

    def add(self, handle: str, block: Block) -> Watched:
        """Let a block depend on the session under a handle."""
        watched = self._by_handle.get(handle)
        if watched is None:
            watched = self._by_handle[handle] = Watched(handle)
            self._round.append(watched)
        watched.blocks.add(block)
        block.watched = watched
        return watched

    def remove(self, block: Block) -> None:
        """Let a block go; fine where it is not there."""
        watched, block.watched = block.watched, None
        if watched is not None:
            watched.blocks.discard(block)
            if not watched.blocks:
                del self._by_handle[watched.handle]

    def move(self, watched: Watched, handle: str) -> Watched:
        """Let what depends on a session follow it to another handle; return what is watched there."""
        del self._by_handle[watched.handle]
        other = self._by_handle.setdefault(handle, watched)
        if other is watched:
            watched.handle = handle
        else:
            blocks, watched.blocks = watched.blocks, set()
            for block in blocks:
                block.watched = other
            other.blocks |= blocks
        return other

    def ends(self, watched: Watched, ends_at: float, *, before: float) -> None:
        """Note when a session ends; one whose end comes ``before`` the next look at it is looked at then."""
        watched.ends_at = ends_at
        if ends_at < before:
            heapq.heappush(self._ends, (ends_at, next(self._numbers), watched))

    def next_end(self) -> float:
        """Return when to ask for :meth:`ended`, in Unix seconds."""
        return self._ends[0][0] if self._ends else inf

    def ended(self, now: float) -> list[Watched]:
        """Return those whose end has come, as far as is known; each once."""
        found: dict[Watched, None] = {}
        while self._ends and self._ends[0][0] <= now:
            watched = heapq.heappop(self._ends)[2]
            if watched.blocks and watched.ends_at <= now:
                found[watched] = None
        return list(found)

    def parts(self) -> int:
        """Return in how many parts a round is to be made."""
        return max(1, min(PARTS, len(self._round)))

    def next_part(self) -> list[Watched]:
        """Return those whose turn it is to be looked at again."""
        part = []
        for _ in range(ceil(len(self._round) / self.parts())):
            watched = self._round.popleft()
            if watched.blocks:
                self._round.append(watched)
                part.append(watched)
        return part

    def clear(self) -> None:
        """Forget what nobody depends on any more."""
        self._round.clear()
        self._ends.clear()
