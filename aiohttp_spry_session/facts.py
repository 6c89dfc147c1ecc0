"""Facts: what is known of a session beside its values, and how they stand in its payload.

They are one entry among the values, under a name that no user of a session can take: a space, then JSON. A space comes
before no JSON that our codec writes, so that nothing stored by a handler, under whatever name and by whatever version,
is ever read as facts. Version 1.0, which may serve a site together with this one while it is deployed, reads the
values, carries the facts along in what it writes, and lists them in ``keys`` and ``find``; its ``clear`` removes them.

Version 1.0 hands them on to another owner, too. So facts of a sign-in always say when that was, and hold only for a
session that was created no later: a ``bind`` moves a session's creation.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from msgspec.structs import replace

from .exceptions import SessionValueError
from .options import MAX_LIFETIME_SECONDS, read_flag, read_lifetime

__all__ = [
    "FACTS_KEY",
    "MAX_DEVICE_BYTES",
    "NO_FACTS",
    "USE_SECONDS",
    "Facts",
    "authenticated_at",
    "confirmed",
    "decode_facts",
    "encode_facts",
    "last_used_at",
    "read_facts",
    "read_level",
    "signed_in",
    "used",
]

FACTS_KEY = "\0facts"
"""The name of their entry."""
MAX_DEVICE_BYTES = 1024
"""The largest device and the longest level: ``max_bytes`` counts neither."""
USE_SECONDS = 1.0
"""How exactly a use is kept at most."""

_VERSION = 1
_Lifetime = Annotated[float, Meta(gt=0, le=MAX_LIFETIME_SECONDS)]
_Level = Annotated[str, Meta(min_length=1)]
_NAMES = {
    "expiration": "e",
    "max_lifetime": "m",
    "persistent": "p",
    "authenticated_at": "a",
    "level": "l",
    "last_used_at": "u",
    "device": "d",
    "binding": "b",
    "bound_at": "k",
    "version": "v",
    "unknown": "?",
}


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, rename=_NAMES):
    """What is known of one session. Times are in Unix seconds; a fact that is not known takes no room.

    Fields may be added, each with a default and a higher version; none ever changes its meaning.
    """

    expiration: _Lifetime | UnsetType | None = UNSET
    """In seconds; ``None`` is never, ``UNSET`` the adapter's."""
    max_lifetime: _Lifetime | UnsetType | None = UNSET
    """In seconds; ``None`` is no limit, ``UNSET`` the manager's."""
    persistent: bool | None = None
    """``None`` is the manager's."""
    authenticated_at: float | None = None
    """When the user proved who they are; :func:`authenticated_at` knows more."""
    level: _Level | None = None
    last_used_at: float | None = None
    device: dict[str, str] | None = None
    """Not to be changed."""
    binding: bytes | None = None
    """To the device; opaque."""
    bound_at: float | None = None
    """When the device's key was registered; ``None`` also while it is only offered."""
    version: int = _VERSION
    """Of whoever wrote them last, or before with fields that nobody since knew."""
    unknown: dict[str, Raw] | None = None
    """Fields of a newer version, to be written again as they are."""


NO_FACTS = Facts()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Facts).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_KNOWN = frozenset(_NAMES.values())


def encode_facts(facts: Facts) -> bytes:
    """Return what is stored under :data:`FACTS_KEY`; nothing where nothing is known."""
    if facts == NO_FACTS:
        return b""
    if facts.unknown is None:
        return b" " + _encode(facts)
    fields = _decode_fields(_encode(replace(facts, unknown=None)))
    return b" " + _encode(fields | facts.unknown)


def decode_facts(data: bytes, created_at: float) -> Facts:
    """Return the facts that hold for a session created then; ``ValueError`` for what :func:`encode_facts` never wrote.

    Of those that another owner had, in version 1.0, only the last use is left.
    """
    if data[:1] != b" ":
        raise ValueError("not a session's facts")
    try:
        facts = _decode(data)
        if facts.unknown is not None or facts.version < _VERSION:
            raise ValueError("not a session's facts")
        if facts.version > _VERSION:
            fields = _decode_fields(data)
            facts = replace(facts, unknown={name: fields[name] for name in fields if name not in _KNOWN} or None)
    except RecursionError as error:
        raise ValueError("a session's facts, nested too deep") from error
    if facts.authenticated_at is not None and facts.authenticated_at < created_at:
        return Facts(last_used_at=facts.last_used_at)
    return facts


def authenticated_at(facts: Facts, owner: str | None, created_at: float) -> float | None:
    """Return when a session's user proved who they are; ``None`` where it has none.

    Where no fact says otherwise that was when it was created: at the ``bind``, in version 1.0 as well.
    """
    if owner is None:
        return None
    return created_at if facts.authenticated_at is None else facts.authenticated_at


def last_used_at(facts: Facts, created_at: float) -> float:
    """Return when a session was last used, as far as that was stored; its creation was a use."""
    return created_at if facts.last_used_at is None else facts.last_used_at


def used(facts: Facts, created_at: float, now: float) -> Facts:
    """Return the facts with a use that happens now; to the second, so that many a write costs nothing more."""
    return facts if now < last_used_at(facts, created_at) + USE_SECONDS else replace(facts, last_used_at=now)


def signed_in(facts: Facts, now: float) -> Facts:
    """Return the facts of a sign-in that happens now, and creates the session."""
    return facts if facts == NO_FACTS else replace(facts, authenticated_at=now)


def confirmed(facts: Facts, now: float, created_at: float, *, level: str | None = None) -> Facts:
    """Return facts, with those of a user who just proved again who they are; a level of ``None`` stays as it was.

    Never earlier than the creation, which may be told by a faster clock.
    """
    return replace(facts, authenticated_at=max(now, created_at), level=facts.level if level is None else level)


def read_facts(
    *,
    level: str | None = None,
    device: Mapping[str, str] | None = None,
    expiration: timedelta | float | UnsetType | None = UNSET,
    max_lifetime: timedelta | float | UnsetType | None = UNSET,
    persistent: bool | UnsetType = UNSET,
) -> Facts:
    """Check what a sign-in tells of its session; :func:`signed_in` adds when it was.

    :raises SessionValueError: for a level or device that is none.
    :raises ValueError: for a lifetime that adapters or cookies cannot hold, or a flag that is none.
    """
    return Facts(
        level=read_level(level),
        device=_read_device(device),
        expiration=expiration if expiration is UNSET else read_lifetime("expiration", expiration),
        max_lifetime=max_lifetime if max_lifetime is UNSET else read_lifetime("max_lifetime", max_lifetime),
        persistent=None if persistent is UNSET else read_flag("persistent", persistent),
    )


def read_level(level: str | None) -> str | None:
    """Check a level; ``SessionValueError`` for one that is neither ``None`` nor a short, non-empty, valid ``str``."""
    if level is None:
        return None
    if not isinstance(level, str) or not level:
        raise SessionValueError(f"a level must be a non-empty str, such as 'password', or None, not {level!r:.80}")
    if _text_size(level, "a level") > MAX_DEVICE_BYTES:
        raise SessionValueError(f"a level may take {MAX_DEVICE_BYTES} bytes, not {_text_size(level, 'a level')}")
    return str(level)


def _read_device(device: Mapping[str, str] | None) -> dict[str, str] | None:
    if device is None:
        return None
    if not isinstance(device, Mapping):
        raise SessionValueError(f"a device must be a mapping of str to str, or None, not {type(device).__name__}")
    copy: dict[str, str] = {}
    for name, text in device.items():
        for part in (name, text):
            if not isinstance(part, str):
                raise SessionValueError(f"a device must be a mapping of str to str; a {type(part).__name__} is in it")
            _text_size(part, "the text of a device")
        copy[str(name)] = str(text)
    if (size := len(_encode(copy))) > MAX_DEVICE_BYTES:
        raise SessionValueError(
            f"a device may take {MAX_DEVICE_BYTES} bytes as JSON, not {size}: "
            "cut what comes from the client, such as its User-Agent"
        )
    return copy or None


def _text_size(text: str, what: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise SessionValueError(f"{what} must be valid Unicode") from error
