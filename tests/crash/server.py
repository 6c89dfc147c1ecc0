"""The server that is killed: prints its port, and goes by itself only when its standard input ends."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from aiohttp_spry_session import SessionManager, SQLiteSessionAdapter, setup


async def start(request: web.Request) -> web.Response:
    await request["session"].set("counter", 0)
    return web.Response()


async def put(request: web.Request) -> web.Response:
    await request["session"].set(request.query["key"], request.query["value"])
    return web.Response()


async def increment(request: web.Request) -> web.Response:
    return web.json_response(await request["session"].increment("counter"))


async def rotate(request: web.Request) -> web.Response:
    await request["session"].rotate()
    return web.Response()


async def destroy(request: web.Request) -> web.Response:
    await request["session"].destroy(regenerate=False)
    return web.Response()


async def dump(request: web.Request) -> web.Response:
    """Answer with all that the session holds, or with nothing where there is none."""
    session = request["session"]
    return web.json_response(None if session.is_new else {key: await session.get(key) for key in await session.keys()})


def application(path: str) -> web.Application:
    app = web.Application()
    for handler in (start, put, increment, rotate, destroy, dump):
        app.router.add_get(f"/{handler.__name__}", handler)
    setup(app, SessionManager(SQLiteSessionAdapter(path)))
    return app


async def serve(path: str) -> None:
    runner = web.AppRunner(application(path), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
