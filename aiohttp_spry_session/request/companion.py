"""What may come on top of one request's session, seen from the core: it is asked in few places, and knows the rest.

Device binding is a :class:`Companion`, who comes in from another session library a :class:`Newcomer`. Each is made for
a request before the look-up, by the factory that was given to the manager's :class:`~..manager.Requests`; without one
there is none, and a request pays nothing for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Protocol, TypeVar

from ..record import SessionRecord

__all__ = ["Companion", "Newcomer", "Records"]

S = TypeVar("S", contravariant=True)
"""The state of a request's session."""


class Companion(Protocol[S]):
    """On top of one request's session."""

    def arrived(self, state: S, now: float) -> None:
        """At the look-up, of a live session: ``state.refuse`` it where this request may not have it.

        What this raises is raised by the look-up.
        """
        ...

    def offer(self, state: S) -> bytes | None:
        """At ``bind``: return what the session's facts are to keep as its ``binding``; the same at each attempt."""
        ...

    def leaving(self, state: S, headers: MutableMapping[str, str]) -> None:
        """At the headers, after the cookie was written into them."""
        ...


class Records(Protocol):
    """What a newcomer needs of the store."""

    @property
    def rotates_at_once(self) -> bool: ...
    def load(self, handle: str, /) -> Awaitable[SessionRecord | None]: ...
    def create(self, handle: str, record: SessionRecord, /) -> Awaitable[bool]: ...
    def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord, /) -> Awaitable[bool]: ...


class Newcomer(Protocol[S]):
    """The client of one request, who may hold what another session library gave it."""

    async def identify(self, state: S, store: Records, clock: Callable[[], float]) -> Sequence[str]:
        """At the look-up, where the client presented nothing that the store knows.

        Return the identifiers under which the store may hold its sessions by now. They are looked up as if the client
        had presented them: of several that are live none is used. What this raises is raised by the look-up.
        """
        ...

    def leaving(self, state: S, headers: MutableMapping[str, str]) -> None:
        """At the headers, before the cookie is written into them, and also where none will be."""
        ...
