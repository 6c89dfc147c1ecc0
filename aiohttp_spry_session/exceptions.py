"""Everything this package raises on purpose.

::

    SessionError
    ├── SessionValueError (also ValueError)
    ├── SessionTooLargeError
    ├── SessionNotLoadedError
    ├── HeadersSentError
    ├── SessionEndedError
    ├── TooManySessionsError
    ├── ConflictError
    └── AdapterError

No message and no attribute ever contains a session identifier (OWASP ASVS 5.0, 16.2.5).
"""

from __future__ import annotations

__all__ = [
    "AdapterError",
    "ConflictError",
    "HeadersSentError",
    "SessionEndedError",
    "SessionError",
    "SessionNotLoadedError",
    "SessionTooLargeError",
    "SessionValueError",
    "TooManySessionsError",
]


class SessionError(Exception):
    """The root of every exception of this package."""


class SessionValueError(SessionError, ValueError):
    """A key or value that cannot be stored, or read as the type asked for.

    ``key`` is the session key, where it was a usable one, else ``None``.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class SessionTooLargeError(SessionError):
    """The session would pass ``max_bytes``. ``size`` and ``limit`` are in bytes."""

    def __init__(self, size: int, limit: int, *, key: str | None = None) -> None:
        what = "the session" if key is None else f"with {key!r} the session"
        super().__init__(
            f"{what} would take {size} bytes, {limit} are allowed: store less, or raise SessionManager(max_bytes=...)"
        )
        self.size = size
        self.limit = limit
        self.key = key


class SessionNotLoadedError(SessionError):
    """A plain property was read before a lazy session was loaded: ``await session.load()`` first."""


class HeadersSentError(SessionError):
    """The change needs a cookie in the response, and its headers have already left."""


class SessionEndedError(SessionError):
    """The session ended while this request used it; the middleware answers 409.

    ``reason`` is one of the reasons listed at :class:`~aiohttp_spry_session.SessionEvent`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the session ended while this request used it ({reason}): nothing was stored; "
            "the client has to come back with the cookie that it holds by then"
        )
        self.reason = reason


class TooManySessionsError(SessionError):
    """The owner has ``max_sessions`` live sessions already, and ``when_full`` is ``"refuse"``; answered 409."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the owner has {most} live {'session' if most == 1 else 'sessions'} already: end one first")
        self.most = most


class ConflictError(SessionError):
    """A commit lost the race against other requests too often; the middleware answers 503."""


class AdapterError(SessionError):
    """The store failed, hung, answered garbage or is closed; the middleware answers 503.

    ``operation`` names the adapter's method. The cause, where there is one, is chained.
    """

    def __init__(self, operation: str, problem: str) -> None:
        super().__init__(f"session store: {operation}: {problem}")
        self.operation = operation
