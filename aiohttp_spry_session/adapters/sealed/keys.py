"""The keys of sealed records: read, made, and what is derived from each."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["ID_SIZE", "KEY_SIZE", "Key", "generate_key", "keys_from_text", "read_keys"]

KEY_SIZE: Final = 32
"""Bytes: 256 bits."""

ID_SIZE: Final = 8
_BLOCK: Final = 64

_SALT = b"aiohttp-spry-session sealed records"
_ALLOWED = "keys are 32 random bytes, or their base64 text, as generate_key() and `spry-session keygen` make them"


class Key:
    """A key, as the four that are derived from it by HKDF-SHA256 (RFC 5869), each for one purpose.

    Whoever knows one of them learns nothing about the others, or the key.
    """

    __slots__ = ("_inner", "_outer", "_owners", "_sealing", "canary", "id")

    def __init__(self, key: bytes) -> None:
        def derive(purpose: bytes, size: int = KEY_SIZE) -> bytes:
            return HKDF(algorithm=SHA256(), length=size, salt=_SALT, info=purpose).derive(key)

        self.id = derive(b"id", ID_SIZE)
        """Names the key in what it sealed."""
        self.canary = derive(b"canary")
        """Is kept in the store, to tell whether this is the right key."""
        self._sealing = derive(b"sealing")
        self._owners = derive(b"owners")
        # HMAC (RFC 2104) as far as the key goes: each record is spared what makes it seven times as slow.
        self._inner = sha256(bytes(byte ^ 0x36 for byte in self._sealing.ljust(_BLOCK, b"\0")))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in self._sealing.ljust(_BLOCK, b"\0")))

    def __repr__(self) -> str:
        return f"<key {self.id.hex()}>"

    def for_record(self, handle: bytes, version: int) -> bytes:
        """Return the key that seals one version of one session.

        It is HKDF-Expand of the sealing key: its first block, which is all there is of 256 bits.
        """
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(version.to_bytes(8, signed=True) + handle + b"\x01")
        outer.update(inner.digest())
        return outer.digest()

    def hidden(self, owner: str) -> str:
        """Return what stands for an owner in the store: a keyed hash, 43 characters."""
        digest = hmac.digest(self._owners, owner.encode("utf-8", "surrogatepass"), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def generate_key() -> str:
    """Return a new key: 256 random bits, as base64 text of 44 characters."""
    return base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode()


def keys_from_text(text: str) -> list[str]:
    """Return the keys of a setting, which has them apart by commas, spaces or line ends; the first one seals.

    :raises ValueError: where there is none, or one that is not 256 bits.
    """
    keys = text.replace(",", " ").split()
    read_keys(keys)
    return keys


def read_keys(keys: bytes | str | Sequence[bytes | str]) -> tuple[Key, ...]:
    """Return one or more keys, each once; ``ValueError`` for anything but 256 bits. No message repeats a key."""
    given = [keys] if isinstance(keys, bytes | str) else list(keys)
    if not given:
        raise ValueError(f"at least one key is needed: {_ALLOWED}")
    return tuple(Key(key) for key in dict.fromkeys(_read_key(key) for key in given))


def _read_key(key: object) -> bytes:
    if isinstance(key, str):
        try:
            raw = base64.b64decode(key.replace("-", "+").replace("_", "/").rstrip("=") + "=", validate=True)
        except ValueError:
            raise ValueError(f"a key that is text has to be base64: {_ALLOWED}") from None
    elif isinstance(key, bytes):
        raw = key
    else:
        raise ValueError(f"a key cannot be a {type(key).__name__}: {_ALLOWED}")
    if len(raw) != KEY_SIZE:
        raise ValueError(f"a key has 256 bits, this one has {8 * len(raw)}: {_ALLOWED}")
    return raw
