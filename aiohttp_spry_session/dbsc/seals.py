"""What a server hands out and knows again without keeping it: challenges, and the bound cookie.

Both are numbers with an HMAC under the session's own secret, which only its record holds. So a challenge costs no
write, a bound cookie no look-up, and neither is of any use to another session, or in the other's place.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Literal

import msgspec

__all__ = ["Challenge", "Pass", "make_challenge", "make_pass", "read_challenge", "read_pass"]

Purpose = Literal["register", "refresh"]

_MAX_LENGTH = 256
"""Characters; more than any of ours has."""


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
    return _sealed(secret, purpose, f"{issued}.{issued + int(lifetime)}.{counter}.{secrets.token_hex(16)}")


def read_challenge(text: str, secret: bytes, purpose: Purpose, now: float) -> Challenge | None:
    """Return a challenge that was made for this session and purpose and is still alive; ``None`` for any other text."""
    opened = _opened(secret, purpose, text)
    if opened is None:
        return None
    issued, until, counter, _ = opened.split(".")
    challenge = Challenge(int(issued), int(until), int(counter))
    return challenge if now < challenge.until else None


def make_pass(secret: bytes, *, issued: int, until: int) -> str:
    """Return the value of a bound cookie."""
    return _sealed(secret, "pass", f"{issued}.{until}")


def read_pass(text: str, secret: bytes) -> Pass | None:
    """Return what a bound cookie of this session says, however old; ``None`` for any other text."""
    opened = _opened(secret, "pass", text)
    if opened is None:
        return None
    issued, _, until = opened.partition(".")
    return Pass(int(issued), int(until))


def _sealed(secret: bytes, purpose: str, text: str) -> str:
    return f"{text}.{_mac(secret, purpose, text)}"


def _opened(secret: bytes, purpose: str, text: str) -> str | None:
    """Return what was sealed; ``None`` for any other text. Nothing is read before it is known as ours."""
    if len(text) > _MAX_LENGTH or not text.isascii():
        return None
    sealed, _, mac = text.rpartition(".")
    return sealed if hmac.compare_digest(_mac(secret, purpose, sealed), mac) else None


def _mac(secret: bytes, purpose: str, text: str) -> str:
    # The purpose comes first and has no full stop in it, so that no text of one is a text of another.
    return hmac.digest(secret, f"{purpose}.{text}".encode(), "sha256").hex()
