"""A site with device-bound sessions over HTTPS, for a real Chromium that has DBSC; it notes every request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from aiohttp_spry_session import SessionManager, SQLiteSessionAdapter, dbsc, get_session, setup
from demo.certificates import Certificates, server_context

__all__ = ["BoundSite", "Seen"]

PAGE = """<!doctype html><html lang="en"><title>A site</title><link rel="icon" href="data:,">
<p id="who">{who}</p><p id="device">{device}</p>
<form method="post" action="/sign-in"><button>Sign in</button></form>
<form method="post" action="/sign-out"><button>Sign out</button></form>
<form method="post" action="/pay"><input name="amount" value="42"><button>Pay</button></form>
"""


class Seen(NamedTuple):
    """A request, and what was answered."""

    method: str
    path: str
    status: int
    asked: dict[str, str]
    """The headers of the request, by their names in small letters."""
    answered: dict[str, str]


class BoundSite:
    """The site. It can be stopped and started again at the same address, as another process would be."""

    def __init__(self, folder: Path, certificates: Certificates, **options: Any) -> None:
        self.seen: list[Seen] = []
        self.ahead = 0.0
        """Seconds that the site's clock is ahead of the browser's."""
        self.port = 0
        self.answer_refresh: Callable[[web.Request], web.StreamResponse | None] = lambda request: None
        """What to answer a refresh with, in place of what the library says; ``None``: what it says."""
        self._file = folder / "sessions.db"
        self._context = server_context(certificates)
        self._options = options
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BoundSite]:
        """Serve while the block runs."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        self._runner = web.AppRunner(self._app())
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def to(self, path: str) -> list[Seen]:
        """What was asked of one path."""
        return [seen for seen in self.seen if seen.path == path]

    async def wait_for(self, path: str, *, statuses: Sequence[int] = (200,), count: int = 1) -> Seen:
        """Wait until a path was answered so, that often; return the last of them."""

        def there() -> list[Seen]:
            return [seen for seen in self.to(path) if seen.status in statuses]

        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(there()) >= count), 20)
        return there()[-1]

    @property
    def refreshes(self) -> list[int]:
        """What the refreshes were answered."""
        return [seen.status for seen in self.to("/.dbsc/refresh")]

    def _app(self) -> web.Application:
        app = web.Application()
        adapter = SQLiteSessionAdapter(self._file, expiration=86400)
        manager = SessionManager(adapter, name="__Host-sid", secure=True, clock=lambda: time.time() + self.ahead)
        setup(app, manager)
        dbsc.setup(app, dbsc.DeviceBinding(manager, exclude=("/static",), **self._options))
        app.middlewares.insert(0, self._note)
        app.router.add_get("/", self._home)
        app.router.add_get("/static/ping", self._ping)
        app.router.add_get("/elsewhere", self._elsewhere)
        app.router.add_get("/ping", self._ping)
        app.router.add_post("/sign-in", self._sign_in)
        app.router.add_post("/sign-out", self._sign_out)
        app.router.add_post("/pay", self._pay)
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = self.answer_refresh(request) if request.path == "/.dbsc/refresh" else None
        response: web.StreamResponse
        try:
            response = answer if answer is not None else await handler(request)
        except web.HTTPException as raised:
            response = raised
        asked, answered = (
            {name.lower(): value for name, value in each.headers.items()} for each in (request, response)
        )
        self.seen.append(Seen(request.method, request.path, response.status, asked, answered))
        async with self._news:
            self._news.notify_all()
        if isinstance(response, web.HTTPException):
            raise response
        return response

    async def _home(self, request: web.Request) -> web.Response:
        session = get_session(request)
        page = PAGE.format(who=session.owner or "nobody", device=dbsc.get_device(request).state)
        return web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text=get_session(request).owner or "nobody", headers={"Cache-Control": "no-store"})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        """A page of another site, where it is asked for by another name."""
        text = f'<!doctype html><title>Elsewhere</title><a href="{self.url}/?from=elsewhere">A site</a>'
        return web.Response(text=text, content_type="text/html")

    async def _sign_in(self, request: web.Request) -> web.Response:
        await get_session(request).bind("ada")
        raise web.HTTPSeeOther("/")

    async def _sign_out(self, request: web.Request) -> web.Response:
        await get_session(request).destroy(regenerate=False)
        raise web.HTTPSeeOther("/")

    async def _pay(self, request: web.Request) -> web.Response:
        proved = await dbsc.prove(request, within=30)
        form = await request.post()
        text = f'<!doctype html><title>Paid</title><p id="paid">{form["amount"]} {proved}</p>'
        return web.Response(text=text, content_type="text/html")
