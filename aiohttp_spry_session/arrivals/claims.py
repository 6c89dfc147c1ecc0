"""What stands in the store for an old cookie, so that its session arrives once, and never again after its end.

Under a name made of the cookie's value there is a *claim*. It is made open, a live record without values, and then
rotated: in one step the session is live under its own handle, and the claim is done, a retired record that leads
nowhere and stays for as long as the cookie could live. So of any number of requests, one of them however late, one
makes the session; each of them can do so, and none waits for another. What was ended is not made again: a claim that is
done is never rotated.

An adapter may take two steps to rotate (``rotates_at_once``). What is left behind by the first would be live, and of a
session that has ended: so its identifier is made of a number too that only the claim tells, when it is done.
"""

from __future__ import annotations

import base64
import secrets
from hashlib import sha256
from typing import Final

from ..codec import pack
from ..cookies import is_cookie_value
from ..record import SessionRecord

__all__ = ["arrived_as", "claim_of", "done", "identifier_of", "new_salt", "opened"]

_MAX_IDENTIFIER: Final = 128
"""So many characters of an old cookie are taken for an identifier as they are. A longer one would come with every
request, beside the old cookie where a browser keeps that: servers take 8 KB of cookies."""

_DONE: Final = b"\xc1arrived\x01"
"""No payload of this package begins with the first of these bytes: MessagePack never uses it."""
_OPEN_SECONDS: Final = 60.0
_SLACK_SECONDS: Final = 86_400.0
"""How much longer a claim stays than the cookie could live: clocks differ, and old processes that still run may write
the session once more."""


def claim_of(value: str) -> str:
    """Return the name of a cookie's claim.

    It has a space, as no handle has: so no identifier leads there, and who has the cookie has no claim revoked.
    """
    return f"arrival {sha256(value.encode()).hexdigest()}"


def identifier_of(value: str, salt: bytes = b"") -> str:
    """Return the identifier of the session that arrives by a cookie's value.

    It is that value where it can be one; else, and with a salt, a digest of it.
    """
    if not salt and len(value) <= _MAX_IDENTIFIER and is_cookie_value(value):
        return value
    digest = sha256(b"arrived\0" + salt + b"\0" + value.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def new_salt() -> bytes:
    """Return a number that nobody can guess."""
    return secrets.token_bytes(32)


def opened(now: float) -> SessionRecord:
    """Return a new claim. It is there for a moment, or for a minute where its request came to an end."""
    return SessionRecord(pack({}), 0, now, now + _OPEN_SECONDS)  # the session begins with the version 1, as any other


def done(salt: bytes, now: float, ends_at: float | None) -> SessionRecord:
    """Return what takes its place when the session is there."""
    return SessionRecord(_DONE + salt, 1, now, None if ends_at is None else ends_at + _SLACK_SECONDS, retired=True)


def arrived_as(claim: SessionRecord, value: str) -> str | None:
    """Return the identifier of the session that has arrived, by a claim that is retired.

    ``None`` where it was ended while it was open, as by ``revoke_all``.
    """
    return identifier_of(value, claim.payload[len(_DONE) :]) if claim.payload.startswith(_DONE) else None
