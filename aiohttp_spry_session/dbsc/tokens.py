"""What a browser sends as its proof: a JSON Web Token, read as strictly as it can be (RFC 7519, RFC 8725).

Reading is cheap and decides nothing: whoever reads a token checks its challenge first, then lets a key verify it.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from .keys import Algorithm, DeviceKey, ProofError, from_base64url

__all__ = ["MAX_TOKEN", "Token", "read_token"]

MAX_TOKEN = 6144
"""Characters. A registration with the longest RSA key takes some 1700."""

_MAX_BRACKETS = 64
"""So many a part of a token may have; a registration has three."""

_TYPE = "dbsc+jwt"


class Token(msgspec.Struct, frozen=True):
    """A token whose form is right, and of which nothing is proved yet."""

    algorithm: Algorithm
    challenge: str
    """The claim ``jti``."""
    jwk: Any
    """What the header says of a key; ``None`` where it says nothing."""
    signed: bytes
    signature: bytes

    def new_key(self) -> DeviceKey:
        """Return the key that the token brings along, where that made its signature; else :class:`ProofError`."""
        if self.jwk is None:
            raise ProofError("a registration without a key")
        key = DeviceKey.read(self.algorithm, self.jwk)
        self.check(key)
        return key

    def check(self, key: DeviceKey) -> None:
        """Raise :class:`ProofError` unless the key made the token's signature."""
        if self.algorithm != key.algorithm or not key.verifies(self.signature, self.signed):
            raise ProofError("a signature of another key")


def read_token(text: str, algorithms: tuple[Algorithm, ...]) -> Token:
    """Return the token that a header holds; :class:`ProofError` for anything that is not exactly one.

    :param algorithms: those that are allowed.
    """
    if len(text) > MAX_TOKEN:
        raise ProofError("too long")
    parts = text.split(".")
    if len(parts) != 3:
        raise ProofError("not three parts")
    header, claims = _object(parts[0]), _object(parts[1])
    algorithm = header.get("alg")
    if header.get("typ") != _TYPE:
        raise ProofError("another type of token")
    if algorithm not in algorithms:
        raise ProofError("an algorithm that is not allowed")
    if "crit" in header or "b64" in header:
        raise ProofError("an extension that nobody here understands")
    challenge = claims.get("jti")
    if not isinstance(challenge, str):
        raise ProofError("no challenge")
    signed = f"{parts[0]}.{parts[1]}".encode()
    return Token(algorithm, challenge, header.get("jwk"), signed, from_base64url(parts[2]))


def _object(part: str) -> dict[str, Any]:
    try:
        text = from_base64url(part).decode()
        if text.count("[") + text.count("{") > _MAX_BRACKETS:  # how deep is too deep differs between versions of Python
            raise ProofError("too many brackets")
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except ValueError:
        raise ProofError("not JSON") from None
    if not isinstance(found, dict):
        raise ProofError("not a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that is there twice: two readers could take different ones (RFC 8725, 2.4)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProofError("a name twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ProofError(f"{constant} is not JSON")
