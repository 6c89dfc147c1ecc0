"""Values to bytes and back, and the bytes of a whole session. Nothing is ever unpickled (promise 10)."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID
from zlib import crc32

import msgspec

from .facts import FACTS_KEY, NO_FACTS, Facts, decode_facts, encode_facts

__all__ = [
    "Codec",
    "JSONCodec",
    "entry_size",
    "facts_of",
    "has_facts",
    "pack",
    "packed_size",
    "read_codec",
    "unpack",
    "unpack_session",
]

_MAX_DEPTH = 64
_KEPT = (bytes, bytearray, memoryview, datetime, date, time, timedelta, UUID, Decimal)
"""Types without parts that the encoder writes as text by itself."""
_LEAVES = frozenset({str, bool, type(None), *_KEPT})
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1
_TOO_LONG = "an integer past 64 bits has no exact JSON form everywhere"


class Codec(Protocol):
    """Turns one value into bytes and back.

    Either method raises any :class:`ValueError`, :class:`TypeError` or :class:`RecursionError` for what it
    cannot do; the session turns it into a :class:`~aiohttp_spry_session.SessionValueError` that names the key.
    """

    def encode(self, value: Any) -> bytes:
        """Return the bytes of a value."""
        ...

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Return a new object from the bytes, converted to ``type`` and checked."""
        ...


def read_codec(codec: Codec | None) -> Codec:
    """Check the option ``codec``; ``None`` is a new :class:`JSONCodec`."""
    if codec is None:
        return JSONCodec()
    if not (callable(getattr(codec, "encode", None)) and callable(getattr(codec, "decode", None))):
        raise ValueError(f"codec must have the methods encode and decode; a {type(codec).__name__} has not")
    return codec


class JSONCodec:
    """Values as JSON, by msgspec.

    Refused: NaN and infinities, lone surrogates, integers past 64 bits, mapping keys that are not strings,
    cycles, and containers nested more than 64 deep.
    """

    def encode(self, value: Any) -> bytes:
        """Return the UTF-8 JSON of a value."""
        kind = type(value)
        if kind is int:
            if not _MIN_INTEGER <= value <= _MAX_INTEGER:
                raise ValueError(_TOO_LONG)
        elif kind is not str and kind is not bool and value is not None and not _check_exact(value):
            value = msgspec.to_builtins(value, builtin_types=_KEPT)
            _check_exact(value)
        return _encode(value)

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Return a new object from JSON, converted to ``type`` by msgspec and checked."""
        if type is Any:
            return _decode(data)
        try:
            decoder = _decoder(type)
        except TypeError:  # an unhashable type expression, such as Annotated[int, {}]
            return msgspec.json.decode(data, type=type)
        return decoder.decode(data)


_FORMAT = 1
_header = struct.Struct(">BI")  # format, CRC-32 of what follows
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, bytes]).decode
_FACTS_MARK = FACTS_KEY.encode()
_FACTS_END = _header.size + 5 + 1 + len(_FACTS_MARK)  # they come first; the headers of map and key before them


@lru_cache(maxsize=512)
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type)


def pack(values: dict[str, bytes], facts: Facts = NO_FACTS) -> bytes:
    """Return a session's payload: a format byte, a checksum, and its keys and encoded values as a MessagePack map.

    Facts are one entry of the map; without any it is, byte for byte, what version 1.0 wrote.
    """
    if FACTS_KEY in values:
        raise ValueError(f"a session key must not be {FACTS_KEY!r}")
    if facts is not NO_FACTS and (data := encode_facts(facts)):
        values = {FACTS_KEY: data, **values}
    body = _pack(values)
    return _header.pack(_FORMAT, crc32(body)) + body


def packed_size(count: int, entries: int) -> int:
    """Return the length of the payload of so many entries, whose sizes add up to ``entries``; without facts."""
    return _header.size + (1 if count < 16 else 3 if count < 65536 else 5) + entries


def entry_size(key: str, value: bytes) -> int:
    """Return how many bytes a key and its value take in a payload (MessagePack, str and bin formats)."""
    name, data = len(key) if key.isascii() else len(key.encode()), len(value)
    return (
        (1 if name < 32 else 2 if name < 256 else 3 if name < 65536 else 5)
        + name
        + (2 if data < 256 else 3 if data < 65536 else 5)
        + data
    )


def unpack(payload: bytes) -> dict[str, bytes]:
    """Return the encoded values of a payload; ``ValueError`` for anything that :func:`pack` did not write."""
    return unpack_session(payload, -math.inf)[0]


def unpack_session(payload: bytes, created_at: float) -> tuple[dict[str, bytes], Facts, int]:
    """Return the encoded values of a payload, the facts, and its length without them; ``ValueError`` as above.

    ``created_at`` is the record's: facts of a sign-in before it do not hold.
    """
    body = payload[_header.size :]
    if len(payload) < _header.size or _header.unpack_from(payload) != (_FORMAT, crc32(body)):
        raise ValueError("not a session's payload, or damaged")
    values = _unpack(body)
    data = values.pop(FACTS_KEY, None)
    if data is None:
        return values, NO_FACTS, len(payload)
    count = len(values)
    size = len(payload) - entry_size(FACTS_KEY, data) - packed_size(count + 1, 0) + packed_size(count, 0)
    return values, decode_facts(data, created_at), size


def facts_of(payload: bytes, created_at: float) -> Facts:
    """Return the facts alone; ``ValueError`` as above."""
    return unpack_session(payload, created_at)[1] if has_facts(payload) else NO_FACTS


def has_facts(payload: bytes) -> bool:
    """Return whether there may be facts in a payload that :func:`pack` wrote: fast, and never wrong where there are."""
    return payload.find(_FACTS_MARK, 0, _FACTS_END) > 0


def _check_exact(value: Any) -> bool:
    """Refuse what JSON would change silently; return whether ``value`` consists of JSON's own types and leaves.

    Keys are looked at before anything is converted: made text, two of them could become one (CVE-2026-25480). What
    the conversion of other types brings to light (``False``) has to be checked in its turn.
    """
    builtin = True
    pending: list[tuple[Iterable[Any], int]] = [((value,), 0)]
    while pending:
        items, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} deep")
        for item in items:
            kind = type(item)
            if kind in _LEAVES:
                continue
            if kind is int:
                if not _MIN_INTEGER <= item <= _MAX_INTEGER:
                    raise ValueError(_TOO_LONG)
                continue
            if kind is float:
                if not math.isfinite(item):
                    raise ValueError(f"{item} has no JSON form")
                continue
            if kind is dict:
                for key in item:
                    if type(key) is not str:
                        _check_keys(item)
                        builtin = False
                        break
                pending.append((item.values(), depth + 1))
            elif kind is list or kind is tuple:
                pending.append((item, depth + 1))
            else:
                builtin = False
                if parts := _parts(item):
                    pending.append((parts, depth + 1))
    return builtin


def _check_keys(mapping: dict[Any, Any]) -> None:
    """Refuse keys that are not text, and different ones that would be stored as the same text."""
    seen: set[str] = set()
    for key in dict.keys(mapping):
        if not isinstance(key, str):
            raise TypeError(f"a mapping key must be a str, not {type(key).__name__}")
        # An Enum is stored as its value, which need not be the text that it is; a subclass may think that it differs.
        text = str.__str__(key._value_ if isinstance(key, Enum) else key)
        if text in seen:
            raise ValueError(f"two mapping keys would both be stored as {text!r}")
        seen.add(text)


def _parts(item: Any) -> Iterable[Any]:
    """Return what msgspec will convert of an object that is neither a leaf nor of a type of JSON."""
    if isinstance(item, Enum):
        item = item._value_
        if not isinstance(item, dict | list | tuple):
            return ()
    if isinstance(item, dict):
        _check_keys(item)
        return dict.values(item)
    if isinstance(item, list | tuple | set | frozenset):
        return item
    if isinstance(item, msgspec.Struct):
        names: Iterable[str] = item.__struct_fields__
    elif dataclasses.is_dataclass(item):
        names = (field.name for field in dataclasses.fields(item))
    else:
        names = (field.name for field in getattr(type(item), "__attrs_attrs__", ()))
    return [getattr(item, name, None) for name in names]
