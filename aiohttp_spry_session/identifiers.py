"""Session identifiers: the secret in the cookie, and the handle that stands for it everywhere else (promise 10)."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import cast

from .cookies import is_cookie_value
from .exceptions import SessionError

__all__ = ["IdentifierGenerator", "IdentifierSource", "generate_identifier", "handle_of"]

IdentifierGenerator = Callable[[], str | Awaitable[str]]


def generate_identifier() -> str:
    """Return 256 random bits from :mod:`secrets` as 43 base64url characters (ASVS 7.2.3)."""
    return secrets.token_urlsafe(32)


def handle_of(identifier: str) -> str:
    """Return the SHA-256 of an identifier as 64 hexadecimal digits.

    The store knows a session by this name only, so a stolen store opens no session (ASVS 14.1.2), and
    looking it up leaks nothing through timing (CVE-2019-16782). What is no identifier has a handle all the same, so
    that its rejection can be told apart in a log.
    """
    return sha256(identifier.encode("utf-8", "backslashreplace")).hexdigest()


class IdentifierSource:
    """Calls the application's generator, which may be synchronous or not, and checks what it returns."""

    def __init__(self, generator: IdentifierGenerator, *, max_length: int) -> None:
        if not callable(generator):
            raise ValueError("identifier_generator must be a callable without arguments")
        self._generator = generator
        self._max_length = max_length
        # Known beforehand for ours; for another it shows when it is first called.
        self.synchronous = generator is generate_identifier

    async def new(self) -> str:
        """Return a new identifier; a generator that returns what no cookie can hold is a SessionError."""
        made = self._generator()
        if inspect.isawaitable(made):
            return self._checked(await made)
        self.synchronous = True
        return self._checked(made)

    def new_now(self) -> str:
        """Return a new identifier without awaiting; only where :attr:`synchronous` is true."""
        return self._checked(cast("str", self._generator()))

    def _checked(self, made: object) -> str:
        if not isinstance(made, str) or not is_cookie_value(made) or len(made) > self._max_length:
            raise SessionError(
                "identifier_generator must return a non-empty str of cookie characters (RFC 6265: visible ASCII "
                f"without quotes, comma, semicolon and backslash), at most {self._max_length} of them"
            )
        return made
