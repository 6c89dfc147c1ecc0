"""The key of a request's session: typed, and found by its plain name too."""

from __future__ import annotations

from aiohttp import web

from .session import Session

__all__ = ["SESSION", "NamedKey"]


class NamedKey(web.RequestKey[Session]):
    """A ``RequestKey`` that is equal to its name: ``request["session"]`` and ``request[SESSION]`` are one entry.

    aiohttp's own keys look through the stack for the module that they are made in; a thread has none, so this one
    takes its name as it is.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"key must be a non-empty str, not {name!r}")
        self.name = name

    def __eq__(self, other: object) -> bool:
        return self.name == (other.name if isinstance(other, NamedKey) else other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __lt__(self, other: object) -> bool:
        return self.name < (other.name if isinstance(other, NamedKey) else str(other))

    def __repr__(self) -> str:
        return f"<RequestKey({self.name}, type={Session.__module__}.{Session.__qualname__})>"


SESSION: web.RequestKey[Session] = NamedKey("session")
"""The typed key of ``request["session"]``."""
