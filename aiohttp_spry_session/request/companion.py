"""What may come on top of one request's session, seen from the core: it is asked in three places, and knows the rest.

Device binding is one. It is made for a request before the look-up, by the factory that was given to the manager's
:class:`~..manager.Requests`; without one there is none, and a request pays nothing for that.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Protocol, TypeVar

__all__ = ["Companion"]

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
