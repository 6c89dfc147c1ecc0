"""The race lab: fifty requests at one session, at once.

The requests are real ones. This server sends them to itself, with the visitor's cookie, so that the lab works without
JavaScript and is not held back by the six connections that browsers open to a site.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from aiohttp_spry_session import SESSION, Session, SessionKey

from . import pages
from .keys import RACE, RaceResult
from .negotiation import json_response, wants_json
from .scratch import ScratchStore
from .settings import MANAGER

__all__ = ["REQUESTS", "setup"]

REQUESTS = 50
PARALLEL_RUNS = 2
SECONDS = 30.0

CLIENT = web.AppKey("client", aiohttp.ClientSession)
RUNS = web.AppKey("runs", asyncio.Semaphore)
SCRATCH = web.AppKey("scratch", ScratchStore)


async def show(request: web.Request) -> web.Response:
    """Show the lab, and the outcome of the last run."""
    result = await request[SESSION].get(RACE)
    return await pages.respond(request, "race.html", {"requests": REQUESTS, "result": result})


async def run(request: web.Request) -> web.Response:
    """Fire the requests, and keep what came of it."""
    name = secrets.token_hex(8)
    counter = counter_of(name)
    session, scratch = request[SESSION], request.app[SCRATCH]
    await session.set(counter, 0)
    await session.save()  # the others have to find it
    started = time.perf_counter()
    try:
        async with request.app[RUNS]:
            answers = await asyncio.gather(*(send_hit(request, session, name) for _ in range(REQUESTS)))
        elapsed = time.perf_counter() - started
        result = RaceResult(
            requests=REQUESTS,
            counted=await session.pop(counter),
            distinct=len(set(answers)),
            last_write_wins=await scratch.load(name),
            milliseconds=round(elapsed * 1000),
        )
    except (aiohttp.ClientError, TimeoutError) as error:
        raise web.HTTPBadGateway(text="The requests did not all come through. Please try again.") from error
    finally:
        await scratch.remove(name)
        await session.remove(counter)
    await session.set(RACE, result)
    if wants_json(request):
        return json_response(result)
    raise web.HTTPSeeOther("/race")


async def hit(request: web.Request) -> web.Response:
    """Count one request twice: in the session, and as last-write-wins does.

    The naive count is read when the request begins and written when it ends, as a session is that travels whole.
    """
    session, scratch = request[SESSION], request.app[SCRATCH]
    name = request.match_info["name"]
    counter = counter_of(name)
    if not await session.has(counter):
        raise web.HTTPNotFound
    naive = await scratch.load(name)
    counted = await session.increment(counter)
    await scratch.save(name, naive + 1)
    return web.json_response(counted)


async def send_hit(request: web.Request, session: Session, name: str) -> int:
    """Send one request to this server, in the visitor's name; return the count that it got."""
    host, port = request.get_extra_info("sockname")[:2]
    url = URL.build(scheme="http", host=host, port=port, path=f"/race/{name}/hit")
    headers = {
        hdrs.HOST: request.host,
        hdrs.COOKIE: f"{request.app[MANAGER].name}={session.identifier}",
    }
    async with request.app[CLIENT].post(url, json={}, headers=headers) as response:
        response.raise_for_status()
        return int(await response.json())


def counter_of(name: str) -> SessionKey[int]:
    """Return the key of one run: each has its own, so that two runs at once do not disturb one another."""
    return SessionKey(f"race-{name}", int, default=0)


async def run_lab(app: web.Application) -> AsyncIterator[None]:
    """Keep the client and the scratch store open while the application runs."""
    app[RUNS] = asyncio.Semaphore(PARALLEL_RUNS)
    app[SCRATCH] = ScratchStore()
    await app[SCRATCH].open()
    app[CLIENT] = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
    )
    try:
        yield
    finally:
        await app[CLIENT].close()
        await app[SCRATCH].close()


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.cleanup_ctx.append(run_lab)
    app.router.add_get("/race", show)
    app.router.add_post("/race", run)
    app.router.add_post("/race/{name:[0-9a-f]{16}}/hit", hit)
