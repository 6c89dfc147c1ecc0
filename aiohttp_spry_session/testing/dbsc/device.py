"""A test client that does what a browser with device-bound sessions does, by the application's own clock."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any, Literal

from aiohttp import ClientResponse, ClientSession, CookieJar
from aiohttp.test_utils import TestClient
from yarl import URL

from ...dbsc.headers import CHALLENGE, IDENTIFIER, REGISTRATION, RESPONSE, SKIPPED
from ...dbsc.keys import Algorithm
from ...managers import managers_of
from .keys import SoftwareKey

__all__ = ["DeviceSession", "SkipReason", "SoftwareDevice"]

SkipReason = Literal["unreachable", "server_error", "quota_exceeded"]
Site = Literal["none", "same-origin", "same-site", "cross-site"]

_MAX_CHALLENGES = 5
"""The fifth in a row ends a device session."""
_MAX_REDIRECTS = 20
_REGISTRATION = re.compile(r'\((?P<algorithms>[^)]*)\);path="(?P<path>[^"]*)";challenge="(?P<challenge>[^"]*)"')
_CHALLENGE = re.compile(r'"(?P<challenge>[^"]*)";id="(?P<id>[^"]*)"')


class DeviceSession:
    """What a browser knows of one device-bound session of a site."""

    def __init__(self, instructions: dict[str, Any], key: SoftwareKey) -> None:
        self.identifier: str = instructions["session_identifier"]
        self.refresh_url: str = instructions["refresh_url"]
        (credential,) = instructions["credentials"]
        self.cookie: str = credential["name"]
        self.excluded = [rule["path"] for rule in instructions["scope"]["scope_specification"]]
        self.key: SoftwareKey | None = key
        self.challenge: str | None = None
        self.ends_at = 0.0
        """When the bound cookie ends, in Unix seconds."""

    def covers(self, path: str) -> bool:
        """Whether requests for this path wait for a refresh."""
        return not any(path == out.rstrip("/") or path.startswith(f"{out.rstrip('/')}/") for out in self.excluded)


class SoftwareDevice:
    """A browser that binds its sessions to a key, in software.

    It registers where a response says so, refreshes when the bound cookie has expired (many requests share one
    refresh) and follows redirects, as Chromium does::

        device = SoftwareDevice(client)
        await device.post("/sign-in", data={"name": "ada"})
        clock.advance(700)
        assert (await device.get("/")).status == 200

    Unlike a browser it registers before the response is handed out, and refreshes nothing ahead of time.

    :param client: a started client of aiohttp's, whose cookies it uses. It has to send ``Secure`` cookies: see the
        fixture :func:`~aiohttp_spry_session.testing.plugin.device_client`.
    :param alg: how it signs, ``"ES256"`` or ``"RS256"``.
    :param clock: returns Unix seconds; by default that of the application's manager.
    """

    def __init__(
        self, client: TestClient[Any, Any], *, alg: Algorithm = "ES256", clock: Callable[[], float] | None = None
    ) -> None:
        self.client = client
        self.alg: Algorithm = alg
        self.session: DeviceSession | None = None
        """The device session, while the browser has one."""
        self.registers = True
        """Set it to ``False`` for a browser that ignores offers, or has not come to answering one."""
        self.offer: str | None = None
        """The last registration header that it saw."""
        self.refreshes: list[int] = []
        """What its refresh requests were answered, 403 with a challenge included."""
        self._clock = clock if clock is not None else next(iter(managers_of(client.app).values())).clock
        self._refreshing: asyncio.Task[None] | None = None
        self._skip: SkipReason | None = None
        self._skipped: str | None = None

    async def get(self, path: str, **options: Any) -> ClientResponse:
        """Send a GET, as a script of the site would."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        """Send a POST, as a script or form of the site would."""
        return await self.request("POST", path, **options)

    async def navigate(self, path: str, *, site: Site = "none") -> ClientResponse:
        """Open a page: typed (``none``), or by a link of this or another site, which refreshes nothing beforehand."""
        headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        response = await self.request("GET", path, headers={**headers, "Sec-Fetch-Site": site}, site=site)
        if response.headers.get("Refresh") == "0":
            return await self.request(
                "GET", path, headers={**headers, "Sec-Fetch-Site": "same-origin"}, site="same-origin"
            )
        return response

    async def request(
        self, method: str, path: str, *, site: Site = "same-origin", allow_redirects: bool = True, **options: Any
    ) -> ClientResponse:
        """Send a request, once what it needs is fresh; return the last response of a chain of redirects."""
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "empty", **options.pop("headers", {})}
        for _ in range(_MAX_REDIRECTS):
            await self._prepare(path, may_refresh=site != "cross-site")
            skipped = {} if self._skipped is None else {SKIPPED: self._skipped}
            response = await self.client.request(
                method, path, allow_redirects=False, headers={**headers, **skipped}, **options
            )
            await self._observe(response)
            location = response.headers.get("Location")
            if not allow_redirects or location is None or response.status not in (301, 302, 303, 307, 308):
                return response
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, options = "GET", {}
            path = str(response.url.join(URL(location, encoded=True)).relative())
        raise RuntimeError(f"more than {_MAX_REDIRECTS} redirects: the last one leads to {path}")

    async def register(self, path: str, challenge: str) -> ClientResponse:
        """Make a key and register it, as a response asked."""
        key = SoftwareKey(self.alg)
        response = await self.client.post(path, headers={RESPONSE: key.prove(challenge, registering=True)})
        if response.status == 200:
            self.session = DeviceSession(json.loads(await response.read()), key)
            self._note_cookie(response, self.session)
        return response

    def skip(self, reason: SkipReason | None = "unreachable") -> None:
        """Refresh nothing from now on, for this reason, of which requests tell; with ``None`` refresh again."""
        self._skip = reason

    def lose_key(self) -> None:
        """Forget the key, as a browser does whose profile was copied to another machine, or whose TPM was cleared."""
        if self.session is not None:
            self.session.key = None

    def steal(self) -> ClientSession:
        """Return a client with a copy of the cookies, and no key. Close it: it is an asynchronous context manager."""
        url = self.client.make_url("/")
        jar = CookieJar(unsafe=True, quote_cookie=False, treat_as_secure_origin=url)
        for cookie in self.client.session.cookie_jar:
            jar.update_cookies({cookie.key: cookie}, url)
        return ClientSession(url, cookie_jar=jar)

    async def _prepare(self, path: str, *, may_refresh: bool) -> None:
        session, self._skipped = self.session, None
        if session is None or not session.covers(URL(path).path) or not self._has_expired(session):
            return
        self.client.session.cookie_jar.clear(lambda cookie: cookie.key == session.cookie)
        if not may_refresh:
            return
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(session))
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, _: asyncio.Task[None]) -> None:
        self._refreshing = None

    def _has_expired(self, session: DeviceSession) -> bool:
        return session.ends_at <= self._clock()

    async def _refresh(self, session: DeviceSession) -> None:
        if session.key is None:
            self.session = None
            return
        for _ in range(_MAX_CHALLENGES):
            if self._skip is not None:
                self._skipped = _skipped(self._skip, session)
                return
            headers = {IDENTIFIER: session.identifier}
            if session.challenge is not None:
                headers[RESPONSE] = session.key.prove(session.challenge)
            response = await self.client.post(session.refresh_url, headers=headers)
            self.refreshes.append(response.status)
            session.challenge = None
            self._note_challenge(response, session)
            if response.status != 403 or session.challenge is None:
                await self._take_answer(response, session)
                return
        self.session = None

    async def _take_answer(self, response: ClientResponse, session: DeviceSession) -> None:
        if response.status >= 500 or response.status == 407:
            self._skipped = _skipped("server_error", session)
        elif response.status == 200 and json.loads(await response.read() or b"{}").get("continue", True):
            self._note_cookie(response, session)
        else:
            self.session = None

    async def _observe(self, response: ClientResponse) -> None:
        if self.session is not None:
            self._note_cookie(response, self.session)
            self._note_challenge(response, self.session)
        offer = response.headers.get(REGISTRATION)
        if offer is None:
            return
        self.offer = offer
        found = _REGISTRATION.fullmatch(offer)
        if self.registers and found is not None and self.alg in found["algorithms"].split():
            await self.register(found["path"], found["challenge"])

    def _note_cookie(self, response: ClientResponse, session: DeviceSession) -> None:
        for header in response.headers.getall("Set-Cookie", ()):
            cookie = SimpleCookie(header).get(session.cookie)
            if cookie is not None:
                session.ends_at = self._clock() + int(cookie["max-age"])

    def _note_challenge(self, response: ClientResponse, session: DeviceSession) -> None:
        found = _CHALLENGE.fullmatch(response.headers.get(CHALLENGE, ""))
        if found is not None and found["id"] == session.identifier:
            session.challenge = found["challenge"]


def _skipped(reason: SkipReason, session: DeviceSession) -> str:
    return f'{reason};session_identifier="{session.identifier}"'
