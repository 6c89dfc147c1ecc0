"""aiohttp-security on these sessions: who is remembered is the session's owner.

Needs aiohttp-security.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

try:
    from aiohttp_security.abc import AbstractIdentityPolicy
except ImportError as error:
    raise ImportError(
        "SessionIdentityPolicy needs aiohttp-security: pip install aiohttp-security", name="aiohttp_security"
    ) from error

from ..middleware import get_session

__all__ = ["SessionIdentityPolicy"]


class SessionIdentityPolicy(AbstractIdentityPolicy):
    """Keeps who somebody is in their session: signing in binds it, and signing out ends it.

    ``remember`` is :meth:`~aiohttp_spry_session.Session.bind`, so signing in gives the session a new identifier, and
    takes its options: ``await remember(request, response, "ada", expiration=timedelta(days=30))``. ``forget`` is
    :meth:`~aiohttp_spry_session.Session.destroy`. The cookie is in the response that the handler returns, whichever
    response is given to the two.

    :param key: the request key that :func:`~aiohttp_spry_session.setup` was given.
    """

    def __init__(self, key: str = "session") -> None:
        if not isinstance(key, str):
            raise ValueError(f"key must be the request key that setup was given, not a {type(key).__name__}")
        self._key = key

    async def identify(self, request: web.Request) -> str | None:
        """Return the owner of the request's session, or ``None``.

        :raises AdapterError: where the store failed: nobody is taken for anonymous.
        """
        session = get_session(request, self._key)
        await session.load()
        return session.owner

    async def remember(self, request: web.Request, response: web.StreamResponse, identity: str, **kwargs: Any) -> None:
        """Bind the session to its owner; ``kwargs`` are options of ``bind``."""
        await get_session(request, self._key).bind(identity, **kwargs)

    async def forget(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the session; nothing happens to who has none."""
        await get_session(request, self._key).destroy()
