"""What stands in the two stores for a session that moves, or has ended, and is no session itself.

A session is at most once taken out of the old store, in three steps, each of them one call of one store; whoever
comes upon the first or second makes the next:

1. In the old store, ``MOVING`` takes its place: nothing changes it there any more. It holds the whole record.
2. In the new store, the record is created, just as it was.
3. In the old store, ``MOVED`` takes the place of ``MOVING``, and stays for as long as the record could have lived.

Step 2 may be made by several, one of them late. So, for as long as the record could have lived, its handle is never
free in the new store: what was rotated away or ended leaves a *husk* there, a retired record that stays longer than it
is seen. One that was ended is not seen at all: a *grave* stands under a name made of the handle's.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from ...record import SessionRecord, latest

__all__ = ["dig", "grave_of", "husk", "is_husk", "is_moved", "moved", "moving", "moving_record", "seen", "tombstone"]

_MOVING: Final = b"\xc1moving\x01"
_MOVED: Final = b"\xc1moved\x01"
_HUSK: Final = b"\xc1husk\x01"
"""No payload of this package begins with the first of these bytes: MessagePack never uses it."""

_SLACK_SECONDS: Final = 60.0
"""How much longer marks stay than what they keep away: the clocks of machines differ."""


class _Husk(msgspec.Struct, array_like=True, frozen=True):
    payload: bytes
    expires_at: float | None


_encode = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(SessionRecord).decode
_decode_husk = msgspec.msgpack.Decoder(_Husk).decode


def moving(record: SessionRecord) -> SessionRecord:
    """Return what takes the place of a live record in the old store; it still counts as its owner's."""
    return replace(record, payload=_MOVING + _encode(record), version=record.version + 1)


def moving_record(record: SessionRecord) -> SessionRecord | None:
    """Return the record that is on its way; ``None`` where this is no mark of that."""
    if record.retired or not record.payload.startswith(_MOVING):
        return None
    try:
        return _decode_record(record.payload[len(_MOVING) :])
    except ValueError:  # somebody else wrote it: as it stands it is corrupt, for whoever reads sessions
        return None


def moved(mark: SessionRecord) -> SessionRecord:
    """Return what takes the place of a ``MOVING`` mark."""
    return SessionRecord(_MOVED, mark.version + 1, mark.created_at, _later(mark.expires_at), retired=True)


def is_moved(record: SessionRecord) -> bool:
    """Whether this says that the session is in the new store, or was."""
    return record.retired and record.payload == _MOVED


def husk(record: SessionRecord, *others: SessionRecord) -> SessionRecord:
    """Return a retired record so that it stays for as long as any of the others could live."""
    end = record.expires_at
    for other in others:
        end = latest(end, other.expires_at)
    return replace(record, payload=_HUSK + _encode(_Husk(record.payload, record.expires_at)), expires_at=_later(end))


def tombstone(record: SessionRecord, *others: SessionRecord) -> SessionRecord:
    """Return what takes the place of a live record that is destroyed, and keeps late copies away."""
    ended = SessionRecord(b"", record.version + 1, record.created_at, record.expires_at, retired=True)
    return husk(ended, *others)


def is_husk(record: SessionRecord) -> bool:
    """Whether a record is there for longer than it is seen."""
    return record.retired and record.payload.startswith(_HUSK)


def seen(record: SessionRecord, now: float) -> SessionRecord | None:
    """Return the record that others see: of a husk, what was made one, until its end."""
    if not is_husk(record):
        return record
    try:
        inside = _decode_husk(record.payload[len(_HUSK) :])
    except ValueError:
        return record
    found = replace(record, payload=inside.payload, expires_at=inside.expires_at)
    return None if found.is_expired(now) else found


def grave_of(handle: str) -> str:
    """Return the name under which it is written that a session has ended."""
    return f"{handle} ended"


def dig(record: SessionRecord) -> SessionRecord:
    """Return what is written there: nothing but until when."""
    return replace(record, payload=b"", owner=None, retired=True)


def _later(end: float | None) -> float | None:
    return None if end is None else end + _SLACK_SECONDS
