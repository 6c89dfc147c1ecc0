"""The session that a test client holds, given and looked at without a login page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http.cookies import Morsel
from typing import Any

from aiohttp.test_utils import TestClient

from ..identifiers import handle_of
from ..manager import SessionManager, requests_of
from ..managers import managers_of
from ..request.arrival import Place
from ..request.companion import Companion
from ..request.state import SessionState
from ..request.status import CookieAction
from ..session import Session

__all__ = ["StoredSession", "start_session"]


async def start_session(
    client: TestClient[Any, Any],
    *,
    owner: str | None = None,
    values: Mapping[str, Any] | None = None,
    key: str = "session",
    manager: SessionManager | None = None,
) -> StoredSession:
    """Start a session in the store, give its cookie to the test client, and return it.

    The client's next request is that of a visitor who has this session already::

        client = await aiohttp_client(app)
        session = await start_session(client, owner="ada", values={"basket": ["tea"]})
        response = await client.post("/basket/empty")
        assert await session.get("basket") == []

    :param client: a started client of aiohttp's, such as ``aiohttp_client`` makes.
    :param owner: whose session it is to be, as :meth:`~aiohttp_spry_session.Session.bind` takes it.
    :param values: what it is to hold.
    :param key: the ``key`` that was given to :func:`~aiohttp_spry_session.setup`.
    :param manager: the application's manager, where ``setup`` was called on a sub-application.
    :raises LookupError: where the application has no manager under this key, or the client keeps no cookies.
    """
    stored = StoredSession(client, key=key, manager=manager)
    async with stored.begin(()) as session:
        for name, value in (values or {}).items():
            await session.set(name, value)
        if owner is not None:
            await session.bind(owner)
        # Nobody may have asked for anything: a session that is handed out is kept all the same.
        _ = session.identifier
    if stored.identifier is None:
        raise LookupError("the client keeps no cookies: give it another jar than DummyCookieJar")
    return stored


class StoredSession:
    """The session that a test client holds by its cookie, to be looked at and changed from outside a request.

    It follows the client: after a request that rotated the session, signed in or signed out, this is what the client
    holds then.
    """

    def __init__(
        self, client: TestClient[Any, Any], *, key: str = "session", manager: SessionManager | None = None
    ) -> None:
        if manager is None:
            manager = managers_of(client.app).get(key)
        if manager is None:
            raise LookupError(f"the application has no session manager under the key {key!r}: pass manager=...")
        self.client = client
        self.manager = manager

    @property
    def identifier(self) -> str | None:
        """The secret in the client's cookie; ``None`` where it has no such cookie."""
        return self._cookie(self.manager.name)

    @property
    def handle(self) -> str:
        """The handle of the session.

        :raises LookupError: where the client has no session cookie.
        """
        identifier = self.identifier
        if identifier is None:
            raise LookupError(f"the client has no cookie {self.manager.name}")
        return handle_of(identifier)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[Session]:
        """Use the session as one more request of this client would: the block is the handler.

        What the block changed is committed at its end, unless it raised; the client gets the cookie, where there is
        one to be sent.

        :raises SessionEndedError: at the end, where the session ended meanwhile.
        """
        identifier = self.identifier
        async with self.begin(() if identifier is None else (identifier,)) as session:
            yield session

    @asynccontextmanager
    async def begin(
        self, presented: tuple[str, ...], *, companion: Companion[SessionState] | None = None
    ) -> AsyncIterator[Session]:
        """Use the session of a request that presents these identifiers; see :meth:`request`."""
        requests = requests_of(self.manager)
        spare = self._cookie(f"{self.manager.name}-next") if presented else None
        state = requests.driver.begin(presented, () if spare is None else (spare,))
        state.companion = companion
        session = requests.session(state)
        try:
            await session.load()
            yield session
            await requests.driver.save(state, last=True)
        except BaseException:
            state.discard()
            raise
        finally:
            # As in a response: what took effect before an error still has its cookie.
            await requests.driver.leave(state, partial(self._take_cookies, state))

    async def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any:
        """Return a value, as :meth:`~aiohttp_spry_session.Session.get` does."""
        return await (await self._look()).get(key, default, type=type)

    async def values(self) -> dict[str, Any]:
        """Return all values; ``{}`` where there is no session."""
        session = await self._look()
        return {key: await session.get(key) for key in await session.keys()}

    async def owner(self) -> str | None:
        """Return whose session it is; ``None`` where it is nobody's, or there is none."""
        return (await self._look()).owner

    async def exists(self) -> bool:
        """Return whether the client's cookie leads to a live session."""
        return not (await self._look()).is_new

    async def set(self, key: str, value: Any) -> None:
        """Set a value, as :meth:`~aiohttp_spry_session.Session.set` does."""
        async with self.request() as session:
            await session.set(key, value)

    async def remove(self, key: str) -> None:
        """Remove a value, as :meth:`~aiohttp_spry_session.Session.remove` does."""
        async with self.request() as session:
            await session.remove(key)

    async def end(self) -> bool:
        """End the session behind the client's back, as ``revoke`` does; return whether there was one."""
        return self.identifier is not None and await self.manager.revoke(self.handle)

    async def _look(self) -> Session:
        """Return the session for reading: nothing is committed, so a look renews nothing and starts nothing."""
        identifier = self.identifier
        requests = requests_of(self.manager)
        session = requests.session(requests.driver.begin(() if identifier is None else (identifier,)))
        await session.load()
        return session

    def _cookie(self, name: str) -> str | None:
        for cookie in self.client.session.cookie_jar:
            if cookie.key == name:
                return cookie.value
        return None

    def _take_cookies(self, state: SessionState) -> None:
        self._take_cookie(self.manager.name, state.cookie.action, state.place)
        # Beside it that of a rotation whose outcome nobody knows.
        self._take_cookie(f"{self.manager.name}-next", state.cookie.spare_action, state.cookie.spare)

    def _take_cookie(self, name: str, action: CookieAction, place: Place | None) -> None:
        jar = self.client.session.cookie_jar
        if action is CookieAction.EXPIRE:
            jar.clear(lambda cookie: cookie.key == name)
        elif action is CookieAction.SEND and place is not None:
            cookie: Morsel[str] = Morsel()
            cookie.set(name, place.identifier, place.identifier)
            # No other attribute: Domain and Secure would keep a client on http://127.0.0.1 from sending it.
            cookie["path"] = self.manager.path or "/"
            jar.update_cookies({name: cookie}, self.client.make_url("/"))
