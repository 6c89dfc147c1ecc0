"""The one value that crosses the boundary of a store, and what takes its place once it was rotated away."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import msgspec

__all__ = ["RETIRED_SECONDS", "SessionRecord", "Successor", "latest", "retire", "successor_of"]

RETIRED_SECONDS = 60.0
"""How long a rotated-away handle is remembered, unless its grace is longer."""


class SessionRecord(msgspec.Struct, frozen=True, gc=False):
    """A session as a store sees it: opaque bytes, and what the store needs to know to keep its promises.

    Frozen and slotted. A ``msgspec.Struct``, made in a tenth of the time that a frozen dataclass takes, and no work
    for the garbage collector, though there be millions; ``dataclasses.replace`` and its like take it all the same.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    payload: bytes
    version: int
    created_at: float
    expires_at: float | None
    owner: str | None = None
    retired: bool = False

    def is_expired(self, now: float) -> bool:
        """Whether the record's end, if it has one, has come; ``now`` in Unix seconds."""
        return self.expires_at is not None and self.expires_at <= now


SessionRecord.__dataclass_fields__ = {
    field.name: field
    for field in dataclasses.fields(
        dataclasses.make_dataclass("SessionRecord", [field.name for field in msgspec.structs.fields(SessionRecord)])
    )
}


class Successor(msgspec.Struct, array_like=True, frozen=True):
    """What a retired record names: the handle that took over, and until when the old one still leads there."""

    handle: str
    grace_until: float
    """In Unix seconds; 0: not for a moment, whatever anybody's clock says (promise 3)."""


_encode_successor = msgspec.msgpack.Encoder().encode
_decode_successor = msgspec.msgpack.Decoder(Successor).decode


def retire(record: SessionRecord, handle: str, *, now: float, grace: float = 0.0) -> SessionRecord:
    """Return what takes the place of a rotated-away record: ``record`` is the one that lives on, under ``handle``.

    It holds none of the session's data, and leaves the store after 60 s, or after ``grace`` seconds if that is longer.
    """
    return SessionRecord(
        payload=_encode_successor(Successor(handle, now + grace if grace else 0.0)),
        version=record.version,
        created_at=record.created_at,
        expires_at=now + max(RETIRED_SECONDS, grace),
        retired=True,
    )


def successor_of(record: SessionRecord) -> Successor | None:
    """Return what a retired record names; ``None`` where its payload is corrupt."""
    try:
        return _decode_successor(record.payload)
    except ValueError:  # msgspec's own, or UnicodeDecodeError
        return None


def latest(first: float | None, second: float | None) -> float | None:
    """Return the later of two ends in Unix seconds; ``None`` is never."""
    return None if first is None or second is None else max(first, second)
