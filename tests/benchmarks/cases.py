"""What is measured: the same four handlers on each way to keep sessions."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import aiosqlite
from aiohttp import web

CASES = ("untouched", "read", "write", "ten")
"""A handler that leaves the session alone; one ``get``; one ``set``; ten operations, four of which write."""

OURS = ("memory", "memory-lazy", "sqlite", "sqlite-lazy", "redis", "postgres")
OTHERS = ("aiohttp-session-redis", "aiohttp-session-encrypted")
BASELINES = ("bare", "empty")
"""aiohttp alone, and with an empty middleware and response hook: the least that any session library can cost."""

VARIANTS = (*BASELINES, *OURS, *OTHERS)

TARGETS = {
    "memory-lazy-untouched": 0.92,
    "memory-read": 0.76,
    "memory-write": 0.66,
    "sqlite-lazy-untouched": 0.92,
    "sqlite-read": 0.66,
    "sqlite-write": 0.42,
    "redis-read": 0.68,
    "redis-write": 0.50,
    "postgres-read": 0.62,
    "postgres-write": 0.40,
}
"""The ratios of throughput to bare aiohttp's that are asked for."""

DATA = {"user": "ada@example.org", "theme": "dark", "language": "en"}
"""What each session holds: 60 bytes, more or less, in any encoding."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_counter = itertools.count()
_OWN_DATABASE = web.AppKey("own_database", aiosqlite.Connection)


def names() -> list[str]:
    """Return the names of all measurements."""
    found = ["bare"]
    for variant in VARIANTS[1:]:
        cases = CASES[:1] if variant == "empty" or variant.endswith("lazy") else CASES
        found += [f"{variant}-{case}" for case in cases]
    return found


def split(name: str) -> tuple[str, str]:
    """Return the variant and the case of a measurement."""
    if name == "bare":
        return "bare", "untouched"
    variant, _, case = name.rpartition("-")
    return variant, case


def handlers(variant: str) -> dict[str, Handler]:
    """Return a variant's handlers by the names of the cases, and ``start``, which starts a session."""
    if variant in BASELINES:
        return {"untouched": _untouched, "start": _untouched, "own": _ask_own_database}
    if variant in OTHERS:
        return _handlers_of_aiohttp_session()
    return {"untouched": _untouched, "read": _read, "write": _write, "ten": _ten, "start": _start, "own": _read_and_ask}


async def open_own_database(app: web.Application) -> AsyncIterator[None]:
    """Keep open what the handlers of ``own`` ask: for an application's ``cleanup_ctx``."""
    async with aiosqlite.connect(":memory:") as app[_OWN_DATABASE]:
        yield


async def _ask_own_database(request: web.Request) -> web.Response:
    async with request.app[_OWN_DATABASE].execute("SELECT 'ok'") as found:
        row = await found.fetchone()
    return web.Response(text=None if row is None else row[0])


async def _read_and_ask(request: web.Request) -> web.Response:
    await request["session"].get("user")
    return await _ask_own_database(request)


async def _untouched(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _start(request: web.Request) -> web.Response:
    session = request["session"]
    for key, value in DATA.items():
        await session.set(key, value)
    return web.Response(text="ok")


async def _read(request: web.Request) -> web.Response:
    await request["session"].get("user")
    return web.Response(text="ok")


async def _write(request: web.Request) -> web.Response:
    await request["session"].set("visits", next(_counter))
    return web.Response(text="ok")


async def _ten(request: web.Request) -> web.Response:
    session = request["session"]
    await session.has("user")
    await session.get("user")
    await session.get("theme")
    await session.get("language")
    await session.get("missing")
    await session.set("visits", next(_counter))
    await session.set("path", request.path)
    await session.set("flash", "saved")
    await session.get("flash")
    await session.remove("flash")
    return web.Response(text="ok")


def _handlers_of_aiohttp_session() -> dict[str, Handler]:
    from aiohttp_session import get_session

    async def start(request: web.Request) -> web.Response:
        session = await get_session(request)
        for key, value in DATA.items():
            session[key] = value
        return web.Response(text="ok")

    async def read(request: web.Request) -> web.Response:
        session = await get_session(request)
        session.get("user")
        return web.Response(text="ok")

    async def write(request: web.Request) -> web.Response:
        session = await get_session(request)
        session["visits"] = next(_counter)
        return web.Response(text="ok")

    async def ten(request: web.Request) -> web.Response:
        session = await get_session(request)
        "user" in session  # noqa: B015 - the operation is what is measured
        session.get("user")
        session.get("theme")
        session.get("language")
        session.get("missing")
        session["visits"] = next(_counter)
        session["path"] = request.path
        session["flash"] = "saved"
        session.get("flash")
        session.pop("flash", None)
        return web.Response(text="ok")

    return {"untouched": _untouched, "read": read, "write": write, "ten": ten, "start": start}
