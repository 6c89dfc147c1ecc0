"""What sealed records cost a request: CPU time of this process for requests by HTTP, sealed and not, in turn.

``python -m tests.benchmarks.sealing``
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from aiohttp import web

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionManager, SQLiteSessionAdapter, setup
from aiohttp_spry_session.adapters.sealed import SealedAdapter

__all__ = ["main"]

CONNECTIONS, REQUESTS, ROUNDS = 16, 150, 9


async def read(request: web.Request) -> web.Response:
    return web.Response(text=str(await request["session"].get("n")))


async def write(request: web.Request) -> web.Response:
    await request["session"].set("n", 1)
    return web.Response()


async def start(adapter: SessionAdapter) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.add_routes([web.get("/read", read), web.get("/write", write)])
    setup(app, SessionManager(adapter))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


async def ask(port: int, path: str) -> None:
    """Make requests on one connection, the first of which starts a session."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    cookie = ""
    for number in range(REQUESTS):
        target = "/write" if not number else path
        writer.write(f"GET {target} HTTP/1.1\r\nHost: t\r\n{cookie}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        await reader.readexactly(int(head.partition("Content-Length: ")[2].partition("\r")[0]))
        if not number:
            value = head.partition("Set-Cookie: ")[2]
            assert value
            cookie = f"Cookie: {writer_cookie(head)}\r\n"
    writer.close()
    await writer.wait_closed()


def writer_cookie(head: str) -> str:
    return head.partition("Set-Cookie: ")[2].partition(";")[0]


async def measure(port: int, path: str) -> float:
    """Return the microseconds of CPU time of one request, of its client too."""
    begun = time.process_time()
    await asyncio.gather(*(ask(port, path) for _ in range(CONNECTIONS)))
    return (time.process_time() - begun) / (CONNECTIONS * REQUESTS) * 1e6


async def main() -> None:
    """Print, for each store and kind of request, the plain and the sealed time, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {
            "memory": MemorySessionAdapter,
            "SQLite": lambda: SQLiteSessionAdapter(Path(folder) / f"{time.monotonic_ns()}.db"),
        }
        for name, make in stores.items():
            plain, plain_port = await start(make())
            sealed, sealed_port = await start(SealedAdapter(make(), b"k" * 32))
            for path in ("/read", "/write"):
                pairs = [(await measure(plain_port, path), await measure(sealed_port, path)) for _ in range(ROUNDS)]
                one, other = (statistics.median(times) for times in zip(*pairs, strict=True))
                ratio = statistics.median(second / first for first, second in pairs)
                print(f"{name} {path[1:]}: {one:.0f} µs, sealed {other:.0f} µs, ratio {ratio:.3f}")
            await plain.cleanup()
            await sealed.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
