"""One variant's server: prints its port, serves until its standard input ends, so that it never outlives its parent."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator

from aiohttp import web

from aiohttp_spry_session import SessionManager, adapter_from_url, middleware, setup

from .cases import OTHERS, VARIANTS, Handler, handlers, open_own_database


def application(variant: str, url: str) -> web.Application:
    """Return a variant's application; ``url`` names its store."""
    app = web.Application()
    for name, handler in handlers(variant).items():
        app.router.add_get(f"/{name}", handler)
    app.router.add_get("/cpu", _cpu)
    app.cleanup_ctx.append(open_own_database)
    if variant in OTHERS:
        _set_up_aiohttp_session(app, variant, url)
    elif variant == "empty":
        app.middlewares.append(_empty_middleware)
        app.on_response_prepare.append(_empty_hook)
    elif variant != "bare":
        setup(app, SessionManager(adapter_from_url(url, expiration=24 * 60 * 60), lazy=variant.endswith("-lazy")))
    return app


async def _cpu(request: web.Request) -> web.Response:
    return web.Response(text=f"{time.process_time_ns()}")


class _NoCohort:
    """In place of the package's: every request sends as soon as it can."""

    async def gather(self) -> None:
        pass


@web.middleware
async def _empty_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


async def _empty_hook(request: web.Request, response: web.StreamResponse) -> None:
    pass


def _set_up_aiohttp_session(app: web.Application, variant: str, url: str) -> None:
    import aiohttp_session

    if variant == "aiohttp-session-encrypted":
        from aiohttp_session.cookie_storage import EncryptedCookieStorage

        aiohttp_session.setup(app, EncryptedCookieStorage(b"0123456789abcdef0123456789abcdef", max_age=24 * 60 * 60))
        return

    from aiohttp_session.redis_storage import RedisStorage
    from redis.asyncio import Redis

    client = Redis.from_url(url)

    async def close(app: web.Application) -> AsyncIterator[None]:
        yield
        await client.aclose()

    aiohttp_session.setup(app, RedisStorage(client, max_age=24 * 60 * 60))
    app.cleanup_ctx.append(close)


async def serve(variant: str, url: str) -> None:
    """Serve on a free port until standard input ends."""
    runner = web.AppRunner(application(variant, url), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    await runner.cleanup()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--url", default="memory://")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--without-turn", action="store_true", help="send without waiting for the cohort")
    args = parser.parse_args()
    if args.without_turn:
        middleware.Cohort = _NoCohort  # type: ignore[assignment, misc]
    if args.loop == "uvloop":
        import uvloop

        uvloop.run(serve(args.variant, args.url))
    else:
        asyncio.run(serve(args.variant, args.url))


if __name__ == "__main__":
    main()
