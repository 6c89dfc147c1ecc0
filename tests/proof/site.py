"""A browser and an application on a store that can go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

from aiohttp import web

from aiohttp_spry_session import Session, SessionAdapter, SessionManager, get_session, session_middleware
from aiohttp_spry_session.codec import unpack
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter
from aiohttp_spry_session.testing.explorer.gate import Call, Gate
from aiohttp_spry_session.testing.explorer.operations import CANARY, VALUES, Operation, Scene
from aiohttp_spry_session.testing.explorer.requests import bare_request

from ..support import arrive, session_of

OWNER = "ann"


@dataclass
class Reply:
    """What a client got; ``status`` is 0 where the request was cancelled."""

    status: int
    cookie: str | None = None


class Store(FaultyAdapter):
    """A store that can go wrong, and tells what reached it all the same."""

    def __init__(self, adapter: SessionAdapter, clock: FakeClock) -> None:
        self.inner = adapter
        self.inner.clock = clock
        self.gate = Gate(adapter)
        super().__init__(self.gate)

    def landed(self) -> list[Call]:
        """Return the writes that took effect."""
        return [call for call in self.gate.calls if call.outcome is True or call.method == "destroy"]

    async def stored(self) -> list[dict[str, Any]]:
        """Return what every live record holds that once was the browser's session."""
        handles = {handle for call in self.gate.calls for handle in (call.handle, call.new)}
        found = [await self.inner.load(handle) for handle in handles]
        return [
            {key: json.loads(value) for key, value in unpack(record.payload).items()}
            for record in found
            if record is not None and not record.retired and CANARY in unpack(record.payload)
        ]


class Defaults(Store):
    """A store that leaves ``renew`` and ``rotate`` to the base class: each of their calls can go wrong by itself."""

    renew = SessionAdapter.renew
    rotate = SessionAdapter.rotate


class Site:
    """A browser and an application on a store that can go wrong."""

    def __init__(self, store: Store, clock: FakeClock, *, hangs: bool = False, rolling: bool = False) -> None:
        self.store = store
        self.clock = clock
        self.manager = SessionManager(store, clock=clock, rolling=rolling, timeout=0.001 if hangs else None)
        self.other = SessionManager(store.inner, clock=clock)
        self.cookie: str | None = None
        self.interfered = False

    async def start(self) -> None:
        """Give the browser a session, and let it grow older than half of its life."""

        async def handler(session: Session) -> None:
            for key, value in VALUES.items():
                await session.set(key, value)
            await session.bind(OWNER)

        await self.ask(handler)
        self.clock.advance(700)
        self.store.calls.clear()
        self.store.gate.calls.clear()

    async def ask(self, use: Callable[[Session], Awaitable[Any]]) -> Reply:
        """Send a request; the browser takes the cookie over."""

        async def handler(request: web.Request) -> web.Response:
            await use(get_session(request))
            return web.Response()

        headers = {"Cookie": f"{self.manager.name}={self.cookie}"} if self.cookie else {}
        try:
            response = await session_middleware(self.manager)(bare_request(headers), handler)
        except web.HTTPException as error:
            response = error
        except asyncio.CancelledError:
            return Reply(0)
        cookies: SimpleCookie = SimpleCookie("; ".join(response.headers.getall("Set-Cookie", ())))
        if self.manager.name not in cookies:
            return Reply(response.status)
        value = cookies[self.manager.name].value
        self.cookie = value or None
        return Reply(response.status, value)

    async def do(self, operation: Operation, *, contended: bool) -> Reply:
        """Do the operation; where it is contended, another request comes between its look-up and its commit."""
        scene = Scene("a", self.manager, handle_of(self.cookie or ""), OWNER)
        if operation.outside is not None:
            await asyncio.create_task(operation.outside(scene))
            return Reply(200)

        async def use(session: Session) -> None:
            if contended:
                await self._interfere()
            await operation.run(session, scene)

        return await asyncio.create_task(self.ask(use))

    async def _interfere(self) -> None:
        life = arrive(self.other, [self.cookie or ""])
        await session_of(life).set("other", True)
        await life.commit()
        self.interfered = True

    async def view(self) -> dict[str, Any]:
        """Return what the browser's session holds; empty where it has none."""
        values: dict[str, Any] = {}

        async def use(session: Session) -> None:
            values.update({key: await session.get(key) for key in await session.keys()})

        assert (await self.ask(use)).status == 200
        return values


@dataclass
class Case:
    """What goes wrong."""

    fault: str
    at: int
    after: bool

    def arm(self, store: FaultyAdapter) -> None:
        """Let it go wrong at the next calls; an error stays, as in an outage."""
        getattr(store, self.fault)(at=self.at, after=self.after, times=None if self.fault == "fail" else 1)
