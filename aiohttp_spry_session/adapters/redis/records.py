"""A session record as the bytes of one Redis string.

A header of fixed length comes first, so that a script can check and change it without reading the payload::

    format, state, has owner           one byte each
    version, created, end, indexed     big-endian doubles; an end of infinity is never
    length of the owner, of the link   unsigned, four bytes each

Then the owner and the link in UTF-8, then the payload, which is nobody's business here. *Indexed* is until when the
owner's index is known to hold the session. The *link* is the other handle of a rotation: at the new one it is the
origin, at the old one, which is retired, the successor. Version 1.0 wrote no successor, and passes over ours.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import NamedTuple

from ...record import SessionRecord

__all__ = [
    "FORMAT",
    "HEADER",
    "LIVE",
    "PENDING",
    "RETIRED",
    "Stored",
    "decode",
    "decode_plain",
    "encode",
    "end_of",
    "pack_time",
    "time_to_live",
    "to_bytes",
    "to_str",
]

FORMAT = 1
LIVE, RETIRED, PENDING = 0, 1, 2
"""The states: what each means, and who may change it, stands in :mod:`.scripts`."""
HEADER = ">BBBddddI4I4"
"""The header as Lua's ``struct`` writes it."""

_header = struct.Struct(">BBBddddII")
_NEVER = math.inf
_MAX_MILLISECONDS = 10**15
_SLACK_MILLISECONDS = 1000


class Stored(NamedTuple):
    """What is kept at a session's key."""

    record: SessionRecord
    origin: str | None
    """The handle that the session was rotated from, where nothing was written since."""
    pending: bool
    """Whether the rotation may not have happened: the origin has to lead here for the record to be live."""
    successor: str | None
    """The handle that the session was rotated to."""


def encode(
    record: SessionRecord, *, indexed: float = -math.inf, origin: str | None = None, successor: str | None = None
) -> bytes:
    """Return a record's bytes; with an ``origin`` it is pending, and only a retired one has a ``successor``."""
    owner = b"" if record.owner is None else to_bytes(record.owner)
    link = to_bytes(origin or successor or "")
    state = PENDING if origin is not None else RETIRED if record.retired else LIVE
    header = _header.pack(
        FORMAT,
        state,
        record.owner is not None,
        record.version,
        record.created_at,
        end_of(record.expires_at),
        indexed,
        len(owner),
        len(link),
    )
    return header + owner + link + record.payload


def decode_plain(data: bytes) -> SessionRecord | None:
    """Return the record of a session without an owner; ``None`` where there is more, or less, to find out."""
    if len(data) < _header.size:
        return None
    form, state, has_owner, version, created_at, end, indexed, _, link_size = _header.unpack_from(data)
    if form != FORMAT or has_owner or link_size or state != LIVE or _is_odd(version, created_at, end, indexed):
        return None
    return SessionRecord(data[_header.size :], int(version), created_at, None if end == _NEVER else end)


def decode(data: bytes) -> Stored | None:
    """Return what the bytes say; ``None`` where they are no record of ours."""
    if len(data) < _header.size or data[0] != FORMAT:
        return None
    _, state, has_owner, version, created_at, end, indexed, owner_size, link_size = _header.unpack_from(data)
    owner_end = _header.size + owner_size
    link_end = owner_end + link_size
    if len(data) < link_end or state > PENDING or _is_odd(version, created_at, end, indexed):
        return None
    try:
        owner = to_str(data[_header.size : owner_end]) if has_owner else None
        link = to_str(data[owner_end:link_end]) if link_size else None
    except UnicodeDecodeError:
        return None
    end, retired = None if end == _NEVER else end, state == RETIRED
    record = SessionRecord(data[link_end:], int(version), created_at, end, owner, retired)
    return Stored(record, None if retired else link, state == PENDING, link if retired else None)


def _is_odd(version: float, created_at: float, end: float, indexed: float) -> bool:
    """Whether there is a number that nobody writes; the scripts refuse the same."""
    return not version.is_integer() or not math.isfinite(created_at) or math.isnan(end) or math.isnan(indexed)


def end_of(expires_at: float | None) -> float:
    """Return an end as it is stored."""
    return _NEVER if expires_at is None else expires_at


def time_to_live(seconds: float) -> bytes:
    """Return, in milliseconds, how long Redis keeps what ends in so many seconds; nothing for an infinite time.

    It is a little more: the server keeps time by itself, and must not end a session before the application does.
    """
    if seconds == _NEVER:
        return b""
    milliseconds = math.ceil(seconds * 1000)
    if not 0 <= milliseconds <= _MAX_MILLISECONDS:
        milliseconds = 0 if milliseconds < 0 else _MAX_MILLISECONDS
    return b"%d" % (milliseconds + _SLACK_MILLISECONDS)


pack_time: Callable[[float], bytes] = struct.Struct(">d").pack
"""Returns a time for a script, exact."""


def to_bytes(text: str) -> bytes:
    """Return any text as bytes."""
    return text.encode("utf-8", "surrogatepass")


def to_str(data: bytes) -> str:
    """Return the text of such bytes."""
    return data.decode("utf-8", "surrogatepass")
