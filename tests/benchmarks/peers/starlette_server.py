"""Starlette on uvicorn, bare or with starsessions; serves until its standard input ends."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from .data import DATA, LIFETIME, visits


def application(store: str, url: str) -> Starlette:
    """Return the application; ``store`` is ``bare``, ``memory`` or ``redis``."""
    middleware = [] if store == "bare" else [_sessions(store, url)]
    start, read, write = (_untouched,) * 3 if store == "bare" else _handlers()
    routes = {"cpu": _cpu, "untouched": _untouched, "start": start, "read": read, "write": write}
    return Starlette(
        routes=[Route(f"/{path}", handler) for path, handler in routes.items()],
        middleware=middleware,
    )


def _sessions(store: str, url: str) -> Middleware:
    from starsessions import InMemoryStore, SessionMiddleware, SessionStore

    kept: SessionStore = InMemoryStore()
    if store == "redis":
        from redis.asyncio import Redis
        from starsessions.stores.redis import RedisStore

        kept = RedisStore(connection=Redis.from_url(url))
    return Middleware(SessionMiddleware, store=kept, lifetime=LIFETIME, cookie_https_only=False)


def _handlers() -> tuple[Callable[[Request], Awaitable[Any]], ...]:
    from starsessions import load_session

    async def start(request: Request) -> PlainTextResponse:
        await load_session(request)
        request.session.update(DATA)
        return PlainTextResponse("ok")

    async def read(request: Request) -> PlainTextResponse:
        await load_session(request)
        return PlainTextResponse("ok" if request.session.get("user") == DATA["user"] else "lost")

    async def write(request: Request) -> PlainTextResponse:
        await load_session(request)
        request.session["visits"] = next(visits)
        return PlainTextResponse("ok")

    return start, read, write


async def _untouched(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def _cpu(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{time.process_time_ns()}")


async def serve(app: Any) -> None:
    """Serve on a free port until standard input ends."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        app, loop="asyncio", http="httptools", lifespan="off", access_log=False, log_level="warning"
    )
    server = uvicorn.Server(config)
    print(listening.getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await reader.read()
    server.should_exit = server.force_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(serve(application(sys.argv[1], sys.argv[2])))
