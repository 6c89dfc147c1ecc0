"""A device's public key: read from a JWK (RFC 7517), checked as narrowly as possible, and used to verify.

Two algorithms are there, as browsers use them: ECDSA on P-256 (``ES256``) and RSA with PKCS #1 v1.5 (``RS256``), both
with SHA-256. A key belongs to one algorithm for ever: no token says how it is to be verified (RFC 8725, 3.1).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["ALGORITHMS", "Algorithm", "DeviceKey", "ProofError", "from_base64url", "to_base64url"]

Algorithm = Literal["ES256", "RS256"]

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 4096
"""Shorter is weak (RFC 7518, 3.3); longer only costs time, and whoever chooses the key chooses how much."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


class ProofError(Exception):
    """A token or key that proves nothing. Never leaves the package: it becomes a response."""


def from_base64url(text: object) -> bytes:
    """Return the bytes of base64url without padding (RFC 7515, 2); :class:`ProofError` unless it is in exact form."""
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise ProofError("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(data) != text:  # bits of the last character that count for nothing
        raise ProofError("not base64url in its only form")
    return data


def to_base64url(data: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class DeviceKey(msgspec.Struct, frozen=True):
    """The public half of the key pair that a browser made and cannot export."""

    algorithm: Algorithm
    jwk: bytes
    """The JWK's required members as canonical JSON: what its thumbprint is taken of (RFC 7638, 3)."""

    @classmethod
    def read(cls, algorithm: Algorithm, jwk: object) -> DeviceKey:
        """Return the key of a JWK; :class:`ProofError` for one that is not a sound public key for the algorithm."""
        if not isinstance(jwk, Mapping):
            raise ProofError("a key must be a JSON object")
        if _PRIVATE & jwk.keys():
            raise ProofError("a private or secret key")
        kind = _KINDS[algorithm]
        if jwk.get("kty") != kind.kty or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
            raise ProofError("a key for something else")
        members = {name: jwk.get(name) for name in kind.members}
        kind.load(members)
        return cls(algorithm, json.dumps(members, sort_keys=True, separators=(",", ":")).encode())

    @property
    def thumbprint(self) -> str:
        """The key's name: SHA-256 of its canonical JSON, base64url (RFC 7638). Safe to show."""
        return to_base64url(hashlib.sha256(self.jwk).digest())

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the private half made this signature, in the form that JWTs have (RFC 7518, 3.3 and 3.4)."""
        kind = _KINDS[self.algorithm]
        try:
            kind.verify(kind.load(json.loads(self.jwk)), signature, message)
        except InvalidSignature:
            return False
        return True


class _Kind(NamedTuple):
    """What is particular to an algorithm."""

    kty: str
    members: tuple[str, ...]
    load: Callable[[Mapping[str, Any]], Any]
    verify: Callable[[Any, bytes, bytes], None]


def _load_ec(members: Mapping[str, Any]) -> ec.EllipticCurvePublicKey:
    x, y = from_base64url(members["x"]), from_base64url(members["y"])
    if members["crv"] != "P-256" or len(x) != 32 or len(y) != 32:
        raise ProofError("a key on another curve")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + x + y)
    except ValueError:
        raise ProofError("a point that is not on the curve") from None


def _verify_ec(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    if len(signature) != 64:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))


def _load_rsa(members: Mapping[str, Any]) -> rsa.RSAPublicKey:
    n, e = (from_base64url(members[name]) for name in ("n", "e"))
    # The longest first: nothing is computed with a number that is too long.
    if not MIN_RSA_BITS <= 8 * len(n) <= MAX_RSA_BITS or n[0] < 0x80 or not n[-1] % 2:
        raise ProofError(f"a modulus must be odd and have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    if int.from_bytes(e, "big") != 65537 or len(e) != 3:
        raise ProofError("an exponent must be 65537")
    return rsa.RSAPublicNumbers(65537, int.from_bytes(n, "big")).public_key()


def _verify_rsa(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> None:
    key.verify(signature, message, padding.PKCS1v15(), SHA256())


_KINDS: dict[Algorithm, _Kind] = {
    "ES256": _Kind("EC", ("crv", "kty", "x", "y"), _load_ec, _verify_ec),
    "RS256": _Kind("RSA", ("e", "kty", "n"), _load_rsa, _verify_rsa),
}

ALGORITHMS: tuple[Algorithm, ...] = tuple(_KINDS)
