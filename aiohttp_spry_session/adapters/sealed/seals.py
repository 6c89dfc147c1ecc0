"""A record's seal: AES-256-GCM over its payload, with all the rest of the record as associated data.

Why no nonce repeats. Each version of each session is sealed under a key of its own, derived from the handle and the
version. A nonce of 96 random bits could only meet its like among what is sealed for *one* version of *one* session: its
rivals for that version, of which the store accepts one. A site that seals 10,000 records a second for ten years makes
3.2 * 10^12 seals. Had every version 1,000 rivals (a commit is tried 128 times), the chance that any nonce was ever used
twice under one key would be below 3.2 * 10^12 * 1,000 / 2^97, which is 2 in 10^14. Under one key for all it would be 6
in 10^5, and NIST SP 800-38D allows 2^32 seals under one: less than five days' worth.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from ...record import SessionRecord
from .keys import ID_SIZE, Key

__all__ = ["BrokenSealError", "is_sealed", "seal", "unseal"]

MAGIC: Final = b"\xc1\x01"
"""No payload of this package begins so: MessagePack never uses the first byte. The second is the form of the seal."""

_NONCE_SIZE, _TAG_SIZE = 12, 16
_HEADER_SIZE = len(MAGIC) + ID_SIZE
_SMALLEST = _HEADER_SIZE + _NONCE_SIZE + _TAG_SIZE + 1

_OWNER_OUTSIDE, _OWNER_INSIDE = b"\x00", b"\x01"
_length = struct.Struct(">I")
_facts = struct.Struct(">qddi?")
_NEVER = float("inf")
_NO_OWNER = -1


class BrokenSealError(Exception):
    """A record that none of the keys sealed as it is; the message says why, for the log."""


def is_sealed(record: SessionRecord) -> bool:
    """Whether a record claims to be sealed."""
    return record.payload[: len(MAGIC)] == MAGIC


def seal(key: Key, handle: str, record: SessionRecord, *, hide_owner: bool) -> SessionRecord:
    """Return what is to be stored under the handle: the record with a sealed payload, and its owner hidden or not."""
    inside = _OWNER_OUTSIDE
    if hide_owner and record.owner is not None:
        owner = _to_bytes(record.owner)
        inside = _OWNER_INSIDE + _length.pack(len(owner)) + owner
        plain, record = record.payload, replace(record, owner=key.hidden(record.owner))
    else:
        plain = record.payload
    header, name, nonce = MAGIC + key.id, _to_bytes(handle), os.urandom(_NONCE_SIZE)
    cipher = AESGCM(key.for_record(name, record.version))
    sealed = header + nonce + cipher.encrypt(nonce, inside + plain, _bound(header, name, record))
    return replace(record, payload=sealed)


def unseal(keys: Mapping[bytes, Key], handle: str, record: SessionRecord) -> SessionRecord:
    """Return the record that was sealed.

    :raises BrokenSealError: where it is not exactly what one of the keys sealed for this handle.
    """
    payload = record.payload
    if not is_sealed(record) or len(payload) < _SMALLEST:
        raise BrokenSealError("it is not sealed")
    header = payload[:_HEADER_SIZE]
    key = keys.get(header[len(MAGIC) :])
    if key is None:
        raise BrokenSealError("it is sealed with a key that is not among those of this process")
    nonce_end, name = _HEADER_SIZE + _NONCE_SIZE, _to_bytes(handle)
    try:
        cipher = AESGCM(key.for_record(name, record.version))
        plain = cipher.decrypt(payload[_HEADER_SIZE:nonce_end], payload[nonce_end:], _bound(header, name, record))
    except (InvalidTag, OverflowError, struct.error, TypeError, AttributeError):  # fields that nobody could have sealed
        raise BrokenSealError("its seal is broken: it was changed, or copied from elsewhere") from None
    if plain[:1] == _OWNER_OUTSIDE:
        return replace(record, payload=plain[1:])
    owner_begin = 1 + _length.size
    owner_end = owner_begin + _length.unpack(plain[1:owner_begin])[0]
    return replace(
        record, payload=plain[owner_end:], owner=plain[owner_begin:owner_end].decode("utf-8", "surrogatepass")
    )


def _bound(header: bytes, handle: bytes, record: SessionRecord) -> bytes:
    """Return all of a record but its payload, so that no two different ones give the same bytes."""
    owner = b"" if record.owner is None else _to_bytes(record.owner)
    facts = _facts.pack(
        record.version,
        record.created_at,
        _NEVER if record.expires_at is None else record.expires_at,
        _NO_OWNER if record.owner is None else len(owner),
        record.retired,
    )
    return header + facts + owner + handle


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
