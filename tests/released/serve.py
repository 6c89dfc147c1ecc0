"""A site whose sessions are in one store: run by each version in a process of its own, with the same handlers.

``python serve.py STORE [OPTION...]``; prints its port. Which version it is says ``PYTHONPATH``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web

import aiohttp_spry_session
from aiohttp_spry_session import SessionAdapter, SessionManager, SQLiteSessionAdapter, setup

routes = web.RouteTableDef()


def adapter_of(kind: str, *options: str) -> SessionAdapter:
    """Return the adapter of this version."""
    if kind == "sqlite":
        return SQLiteSessionAdapter(options[0])
    if kind == "redis":
        from aiohttp_spry_session.adapters.redis import RedisSessionAdapter

        return RedisSessionAdapter(options[0], prefix=options[1])
    from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter

    return PostgresSessionAdapter(options[0], schema=options[1], create_schema=True)


async def told(session: Any) -> web.Response:
    """Answer what is in a session, without what only the newer version knows."""
    values = {key: await session.get(key) for key in await session.keys() if not key.startswith("\0")}
    return web.json_response([aiohttp_spry_session.__version__, session.owner, dict(sorted(values.items()))])


@routes.get("/read")
async def read(request: web.Request) -> web.Response:
    return await told(request["session"])


@routes.get("/set")
async def put(request: web.Request) -> web.Response:
    for key, value in request.query.items():
        await request["session"].set(key, value)
    return await told(request["session"])


@routes.get("/increment")
async def increment(request: web.Request) -> web.Response:
    await request["session"].increment("n")
    return await told(request["session"])


@routes.get("/rotate")
async def rotate(request: web.Request) -> web.Response:
    await request["session"].rotate(grace=float(request.query.get("grace", 0)))
    return await told(request["session"])


@routes.get("/bind")
async def bind(request: web.Request) -> web.Response:
    await request["session"].bind("ada")
    return await told(request["session"])


@routes.get("/destroy")
async def destroy(request: web.Request) -> web.Response:
    await request["session"].destroy(regenerate=False)
    return web.json_response([])


async def main(*store: str) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.add_routes(routes)
    setup(app, SessionManager(adapter_of(*store), name="sid"))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
