"""A server process that counts visits: prints its port, and serves until its standard input ends."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from aiohttp_spry_session import SessionManager, get_session, setup
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter


async def count(request: web.Request) -> web.Response:
    return web.Response(text=str(await get_session(request).increment("visits")))


async def visits(request: web.Request) -> web.Response:
    return web.Response(text=str(await get_session(request).get("visits")))


def application(manager: SessionManager) -> web.Application:
    """Return the application: ``/count`` counts a visit, ``/visits`` tells how many there were."""
    app = web.Application()
    app.router.add_get("/count", count)
    app.router.add_get("/visits", visits)
    setup(app, manager)
    return app


async def main(dsn: str, namespace: str) -> None:
    adapter = PostgresSessionAdapter(dsn, schema=namespace, create_schema=True)
    runner = web.AppRunner(application(SessionManager(adapter, timeout=30.0)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
