"""What stands in a row for a handle, an owner and a record; and what is read from a row that somebody else wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ...events import logger
from ...record import SessionRecord

__all__ = ["after", "encode", "key_of", "read_handle", "read_record", "stored_payload"]

_MAX_KEY = 1024
_DIGEST = b"\xff"
"""Begins a key that is a digest; no text in UTF-8 begins so."""
_LENGTH = 4

_FIRST_TIME, _LAST_TIME = -62_135_596_800.0, 253_402_300_800.0
"""What a ``datetime`` can show, in Unix seconds: from the year 1 to the end of the year 9999."""


def encode(text: str) -> bytes:
    """Return a handle or an owner as it is stored."""
    return text.encode("utf-8", "surrogatepass")


def key_of(handle: str) -> bytes:
    """Return what stands for a handle in the primary key, which has no room for a long one.

    A long one is there as a digest, and in front of the payload.
    """
    return _key(encode(handle))


def _key(stored: bytes) -> bytes:
    return stored if len(stored) <= _MAX_KEY else _DIGEST + hashlib.sha256(stored).digest()


def after(key: bytes) -> bytes:
    """Return the first of all keys that come after one."""
    return key + b"\0"


def stored_payload(handle: str, key: bytes, payload: bytes) -> bytes:
    """Return the payload as it is stored under a key."""
    if key[0:1] != _DIGEST:
        return payload
    stored = encode(handle)
    return len(stored).to_bytes(_LENGTH) + stored + payload


def read_record(row: Sequence[Any]) -> SessionRecord | None:
    """Return the record that a row stores: its handle, and the fields of the record.

    One that nobody here wrote is logged, and counts as absent.
    """
    key, stored, version, created_at, expires_at, owner, retired = row
    try:
        payload = stored[_LENGTH + len(_long_handle(key, stored)) :] if key[0:1] == _DIGEST else stored
        if type(payload) is not bytes or type(version) is not int or type(retired) is not bool:
            raise TypeError
        # Not a number is neither before nor after anything.
        if not _FIRST_TIME <= created_at < _LAST_TIME:
            raise ValueError
        if expires_at is not None and not _FIRST_TIME <= expires_at < _LAST_TIME:
            raise ValueError
        return SessionRecord(
            payload, version, created_at, expires_at, None if owner is None else _decode(owner), retired
        )
    except (TypeError, ValueError):  # UnicodeDecodeError is one
        _report_corrupt(key, stored)
        return None


def read_handle(row: Sequence[Any]) -> str | None:
    """Return the handle of a row; where that is none, it is logged, and the row counts as absent."""
    key, payload, *_ = row
    try:
        stored = _long_handle(key, payload) if key[0:1] == _DIGEST else key
        if _key(stored) != key:
            raise ValueError
        return _decode(stored)
    except (TypeError, ValueError):
        _report_corrupt(key, payload)
        return None


def _long_handle(key: bytes, payload: bytes) -> bytes:
    stored = payload[_LENGTH : _LENGTH + int.from_bytes(payload[:_LENGTH])]
    if _key(stored) != key:
        raise ValueError
    return stored


def _decode(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _report_corrupt(key: bytes, payload: bytes) -> None:
    try:
        handle = _decode(_long_handle(key, payload) if key[0:1] == _DIGEST else key)
    except (TypeError, ValueError):
        handle = key.decode(errors="backslashreplace")
    logger.error("the stored session %r is corrupt and counts as absent", handle)
