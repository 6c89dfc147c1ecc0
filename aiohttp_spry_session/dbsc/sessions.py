"""What the endpoints need of the core: the live session that a browser presents, and a way to change its binding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ..facts import Facts

__all__ = ["BoundSession", "Change", "Sessions", "UnsettledError"]

Change = Callable[[Facts], Facts]
"""Makes new facts of the newest stored ones; what it raises comes out, and nothing is changed."""


class UnsettledError(Exception):
    """Which session is meant is not settled at this moment: it was rotated away, or several are live.

    Never leaves the package: it becomes a response.
    """


class BoundSession(Protocol):
    """A live session."""

    @property
    def handle(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    @property
    def since(self) -> float:
        """When it was last bound to its owner, or started, in Unix seconds."""
        ...

    @property
    def facts(self) -> Facts:
        """What is known of it, its binding included."""
        ...

    def change(self, change: Change) -> Awaitable[None]:
        """Store other facts, with no other change, on the newest stored state.

        :raises UnsettledError: where the session was rotated away meanwhile.
        :raises SessionEndedError: where it has ended.
        :raises ConflictError: where others kept changing it.
        :raises AdapterError: where the store failed.
        """
        ...


class Sessions(Protocol):
    """The sessions of a manager."""

    def find(self, identifiers: Sequence[str]) -> Awaitable[BoundSession | None]:
        """Return the live session that one of the presented identifiers leads to; ``None`` where none does any more.

        It costs a load for each, changes nothing, and is no use of the session.

        :raises UnsettledError: where another identifier has taken over, or several are live.
        :raises AdapterError: where the store failed.
        """
        ...
