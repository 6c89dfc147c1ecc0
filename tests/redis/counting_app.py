"""An application in a process of its own, for ``test_processes.py``: its arguments are a URL, a prefix and a port."""

from __future__ import annotations

import sys

from aiohttp import web

from aiohttp_spry_session import SessionManager, get_session, setup
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter


async def increment(request: web.Request) -> web.Response:
    return web.Response(text=str(await get_session(request).increment("n")))


def main(url: str, prefix: str, port: str) -> None:
    app = web.Application()
    app.router.add_get("/increment", increment)
    setup(app, SessionManager(RedisSessionAdapter(url, prefix=prefix)))
    web.run_app(app, host="127.0.0.1", port=int(port), print=lambda *text: print("ready", flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
