"""A worker process: serves sessions from a SQLite file until its standard input is closed; prints its port."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from aiohttp_spry_session import SessionManager, SQLiteSessionAdapter, get_session, setup


async def increment(request):
    return web.Response(text=str(await get_session(request).increment("n")))


async def login(request):
    await get_session(request).bind("ada")
    return web.Response()


async def mark(request):
    """Set a key of the request's own, which no other request may undo."""
    await get_session(request).set(request.query["key"], True)
    return web.Response()


async def show(request):
    session = get_session(request)
    return web.json_response({key: await session.get(key) for key in await session.keys()})


async def main(path):
    app = web.Application()
    app.add_routes(
        [
            web.get("/increment", increment),
            web.get("/login", login),
            web.get("/mark", mark),
            web.get("/show", show),
        ]
    )
    setup(app, SessionManager(SQLiteSessionAdapter(path)))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
