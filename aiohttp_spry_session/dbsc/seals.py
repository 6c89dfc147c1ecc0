"""What a server hands out and knows again without keeping it: challenges, and the bound cookie.

Both are numbers with an HMAC under the session's own secret, which only its record holds. So a challenge costs no
write, a bound cookie no look-up, and neither is of any use to another session, or in the other's place.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Literal

import msgspec

from .keys import to_base64url

__all__ = ["Challenge", "Pass", "make_challenge", "make_pass", "read_challenge", "read_pass"]

Purpose = Literal["register", "refresh"]

_NUMBER = r"(0|[1-9][0-9]{0,14})"
_MAC = r"([A-Za-z0-9_-]{43})"
_CHALLENGE = re.compile(rf"({_NUMBER}\.{_NUMBER}\.{_NUMBER}\.[A-Za-z0-9_-]{{22}})\.{_MAC}")
_PASS = re.compile(rf"({_NUMBER}\.{_NUMBER})\.{_MAC}")


class Challenge(msgspec.Struct, frozen=True, gc=False):
    """A challenge that this server made for this session. Times are in whole Unix seconds."""

    issued: int
    until: int
    counter: int
    """How many proofs the session had accepted by then: where that is no longer so, it was used."""


class Pass(msgspec.Struct, frozen=True, gc=False):
    """What a bound cookie says: the key was there after ``issued``, and need not be shown again before ``until``."""

    issued: int
    until: int


def make_challenge(secret: bytes, purpose: Purpose, *, counter: int, now: float, lifetime: float) -> str:
    """Return a new challenge, of characters that need no quoting anywhere; it lives for ``lifetime`` seconds."""
    issued = int(now)
    nonce = to_base64url(secrets.token_bytes(16))
    return _sealed(secret, purpose, f"{issued}.{issued + int(lifetime)}.{counter}.{nonce}")


def read_challenge(text: str, secret: bytes, purpose: Purpose, now: float) -> Challenge | None:
    """Return a challenge that was made for this session and purpose and is still alive; ``None`` for any other text."""
    found = _CHALLENGE.fullmatch(text)
    if found is None or not hmac.compare_digest(_mac(secret, purpose, found[1]), found[5]):
        return None
    challenge = Challenge(int(found[2]), int(found[3]), int(found[4]))
    return challenge if now < challenge.until else None


def make_pass(secret: bytes, *, issued: int, until: int) -> str:
    """Return the value of a bound cookie."""
    return _sealed(secret, "pass", f"{issued}.{until}")


def read_pass(text: str, secret: bytes) -> Pass | None:
    """Return what a bound cookie of this session says, however old; ``None`` for any other text."""
    found = _PASS.fullmatch(text)
    if found is None or not hmac.compare_digest(_mac(secret, "pass", found[1]), found[4]):
        return None
    return Pass(int(found[2]), int(found[3]))


def _sealed(secret: bytes, purpose: str, text: str) -> str:
    return f"{text}.{_mac(secret, purpose, text)}"


def _mac(secret: bytes, purpose: str, text: str) -> str:
    # The purpose comes first and has no full stop in it, so that no text of one is a text of another.
    return to_base64url(hmac.digest(secret, f"{purpose}.{text}".encode(), "sha256"))
