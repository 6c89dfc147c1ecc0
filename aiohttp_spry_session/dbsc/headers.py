"""The headers of the protocol, written and read as browsers speak them (structured fields, RFC 9651)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .keys import Algorithm

__all__ = [
    "CHALLENGE",
    "IDENTIFIER",
    "REGISTRATION",
    "RESPONSE",
    "SKIPPED",
    "only_value",
    "write_challenge",
    "write_registration",
]

REGISTRATION = "Secure-Session-Registration"
"""Of a response: make a key, and prove it there."""
CHALLENGE = "Secure-Session-Challenge"
"""Of a response: sign this next time."""
RESPONSE = "Secure-Session-Response"
"""Of a request: the proof. Browsers send the bare token."""
IDENTIFIER = "Sec-Secure-Session-Id"
"""Of a request: which device session is to be refreshed. Browsers send it unquoted."""
SKIPPED = "Secure-Session-Skipped"
"""Of a request: it needed a refresh, and went on without."""


class _Headers(Protocol):
    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]: ...


def write_registration(algorithms: Sequence[Algorithm], path: str, challenge: str) -> str:
    """Return the offer of a binding. Nothing in it needs escaping: a path has been checked, a challenge is ours."""
    return f'({" ".join(algorithms)});path="{path}";challenge="{challenge}"'


def write_challenge(challenge: str, identifier: str) -> str:
    """Return a challenge for the device session of this identifier."""
    return f'"{challenge}";id="{identifier}"'


def only_value(headers: _Headers, name: str) -> str | None:
    """Return a header's value, without the quotes that a structured string has; ``None`` unless it is there once."""
    values = headers.getall(name, ())
    if len(values) != 1:
        return None
    value = values[0].strip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
