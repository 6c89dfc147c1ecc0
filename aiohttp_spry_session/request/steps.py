"""What the state machine asks of a store: one step each, which lands as a whole or not at all."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, Protocol

from msgspec import Struct

from ..facts import Facts
from ..record import SessionRecord
from .view import Sent

__all__ = ["Create", "Extend", "Extension", "Move", "Step", "Store", "Update"]

Extension = Literal["renew", "rolling"]
"""Why a session's end moves: it was asked for, or a rolling manager does it by itself."""


class Store(Protocol):
    """What steps need of a store."""

    def create(self, handle: str, record: SessionRecord, /) -> Awaitable[bool]: ...
    def update(self, handle: str, record: SessionRecord, /) -> Awaitable[bool]: ...
    def renew(self, handle: str, expires_at: float | None, /) -> Awaitable[bool]: ...
    def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord, /) -> Awaitable[bool]: ...


class Create(Struct, frozen=True, gc=False):
    """Start a session."""

    identifier: str
    handle: str
    record: SessionRecord
    values: dict[str, bytes]
    facts: Facts
    sent: Sent
    reason: str

    def send(self, store: Store) -> Awaitable[bool]:
        """Try it; ``False``: the identifier is in use."""
        return store.create(self.handle, self.record)

    def __repr__(self) -> str:
        return f"<Create {self.handle}>"  # (promise 10) never the identifier


class Update(Struct, frozen=True, gc=False):
    """Store the request's changes on the newest state, and perhaps a new end."""

    handle: str
    record: SessionRecord
    values: dict[str, bytes]
    facts: Facts
    sent: Sent
    extension: Extension | None

    def send(self, store: Store) -> Awaitable[bool]:
        """Try it; ``False``: it is not the newest state any more."""
        return store.update(self.handle, self.record)


class Extend(Struct, frozen=True, gc=False):
    """Move the end, and nothing else."""

    handle: str
    expires_at: float | None
    extension: Extension

    def send(self, store: Store) -> Awaitable[bool]:
        """Try it; ``False``: the session is not there any more."""
        return store.renew(self.handle, self.expires_at)


class Move(Struct, frozen=True, gc=False):
    """Let the session go on under a new identifier, with the request's changes."""

    handle: str
    identifier: str
    new: str
    record: SessionRecord
    retired: SessionRecord
    values: dict[str, bytes]
    facts: Facts
    sent: Sent
    reason: str

    def send(self, store: Store) -> Awaitable[bool]:
        """Try it; ``False``: it is not the newest state any more."""
        return store.rotate(self.handle, self.new, self.record, self.retired)

    def __repr__(self) -> str:
        return f"<Move {self.handle}>"  # (promise 10) never the identifier


Step = Create | Update | Extend | Move
