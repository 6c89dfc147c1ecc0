"""A device's key pair in software, and the tokens that a browser makes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from ...dbsc.keys import Algorithm, to_base64url

__all__ = ["SoftwareKey"]


class SoftwareKey:
    """A key pair of an algorithm; each one made is new."""

    def __init__(self, algorithm: Algorithm = "ES256") -> None:
        self.algorithm: Algorithm = algorithm
        self._private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if algorithm == "ES256":
            self._private = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "RS256":
            self._private = rsa.generate_private_key(65537, 2048)
        else:
            raise ValueError(f"algorithm must be 'ES256' or 'RS256', not {algorithm!r}")

    @property
    def jwk(self) -> dict[str, str]:
        """The public half."""
        public = self._private.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            point = public.public_numbers()
            return {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n, 256), "e": _number(numbers.e, 3)}

    def sign(self, message: bytes) -> bytes:
        """Return a signature in the form that JWTs have."""
        if isinstance(self._private, rsa.RSAPrivateKey):
            return self._private.sign(message, padding.PKCS1v15(), SHA256())
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def prove(self, challenge: str, *, registering: bool = False) -> str:
        """Return the token that a browser sends: with the key when it registers, and without it later."""
        header = {"typ": "dbsc+jwt", "alg": self.algorithm, **({"jwk": self.jwk} if registering else {})}
        return self.token(header, {"jti": challenge})

    def token(self, header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes) -> str:
        """Return any token, signed with this key; bytes are taken as they are."""
        parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
        signed = ".".join(map(to_base64url, parts))
        return f"{signed}.{to_base64url(self.sign(signed.encode()))}"


def _number(value: int, length: int) -> str:
    return to_base64url(value.to_bytes(length, "big"))
