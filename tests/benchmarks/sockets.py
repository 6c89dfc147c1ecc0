"""Open WebSockets that end with their session: what ten thousand cost, and how soon each is closed.

``python -m tests.benchmarks.sockets [crowd | distance | outage]``. The server of ``crowd`` and the process that revokes
in ``distance`` are this module again.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from aiohttp_spry_session import SESSION, SessionManager, adapter_from_url, get_session, setup

from .stores import available, urls

_ROOT = Path(__file__).parents[2]
_SOCKETS = 10_000
_AT_ONCE = 100
_IDLE_SECONDS = 20.0
_REVOKES = 100
_AWAY_SECONDS = 10.0
_OWNER = f"crowd {os.getpid()}"
_STATM = Path("/proc/self/statm")


# The server: one process with all the sockets.


async def _sign_in(request: web.Request) -> web.Response:
    session = get_session(request)
    await session.bind(_OWNER)
    return web.Response()


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    if "watched" in request.query:
        async with request[SESSION].alive(socket):
            await socket.receive()
    else:
        await socket.receive()
    return socket


async def _usage(request: web.Request) -> web.Response:
    pages = int(_STATM.read_text().split()[1])  # noqa: ASYNC240 - no disk is read
    return web.json_response({"cpu": time.process_time(), "memory": pages * os.sysconf("SC_PAGE_SIZE")})


async def _serve(url: str) -> None:
    manager = SessionManager(adapter_from_url(url), timeout=30)

    async def revoke(request: web.Request) -> web.Response:
        started = time.perf_counter()
        ended = await manager.revoke_owner(_OWNER)
        return web.json_response({"ended": ended, "seconds": time.perf_counter() - started})

    app = web.Application()
    app.router.add_get("/in", _sign_in)
    app.router.add_get("/socket", _socket)
    app.router.add_get("/usage", _usage)
    app.router.add_get("/revoke", revoke)
    setup(app, manager)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


@asynccontextmanager
async def _process(*arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.sockets", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.wait_for(process.wait(), 60)


# The client: as little as possible for each socket.


class _Client(asyncio.Protocol):
    """Opens a WebSocket, and notes when the close frame comes."""

    def __init__(self, cookie: str, path: str) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[float] = loop.create_future()
        self._cookie = cookie
        self._path = path
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nCookie: {self._cookie}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.opened.done():
            head, separator, self._data = self._data.partition(b"\r\n\r\n")
            if not separator:
                self._data = head
                return
            self.opened.set_result(None)
        if self._data[:1] == b"\x88" and not self.closed.done():
            self.closed.set_result(time.monotonic())
            mask = os.urandom(4)  # answers with the same code, as a browser does
            code = bytes(byte ^ mask[index] for index, byte in enumerate(self._data[2:4]))
            self.transport.write(b"\x88\x82" + mask + code)


async def _crowd(url: str, sockets: int, *, watched: bool) -> dict[str, Any]:
    """Open so many sockets, let them be, end all their sessions; return what it took."""
    async with _process("serve", "--url", url) as server, AsyncExitStack() as stack:
        port = int(await server.stdout.readline())
        base = f"http://127.0.0.1:{port}"
        jar = aiohttp.DummyCookieJar()
        client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))

        async def ask(path: str) -> Any:
            async with client.get(base + path) as response:
                return await response.json()

        async def sign_in() -> str:
            async with client.get(f"{base}/in") as response:
                return response.headers["Set-Cookie"].partition(";")[0]

        cookies: list[str] = []
        for start in range(0, sockets, _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, sockets))
            cookies += await asyncio.gather(*(sign_in() for _ in part))
        before = await ask("/usage")
        loop = asyncio.get_running_loop()
        path = "/socket?watched" if watched else "/socket"
        clients: list[_Client] = []
        for start in range(0, sockets, _AT_ONCE):
            part_of = [
                loop.create_connection(lambda cookie=cookie: _Client(cookie, path), "127.0.0.1", port)
                for cookie in cookies[start : start + _AT_ONCE]
            ]
            made = [one for _, one in await asyncio.gather(*part_of)]
            await asyncio.gather(*(one.opened for one in made))
            clients += made
        opened = await ask("/usage")
        started = time.monotonic()
        await asyncio.sleep(_IDLE_SECONDS)
        idle = await ask("/usage")
        seconds = time.monotonic() - started
        found = {
            "sockets": len(clients),
            "kilobytes each": (idle["memory"] - before["memory"]) / len(clients) / 1024,
            "processor idle %": 100 * (idle["cpu"] - opened["cpu"]) / seconds,
            "closed before": sum(one.closed.done() for one in clients),
        }
        if watched:
            started = time.monotonic()
            used = (await ask("/usage"))["cpu"]
            revoked = await ask("/revoke")
            closed = await asyncio.wait_for(asyncio.gather(*(one.closed for one in clients)), 60)
            found |= {
                "revoked": revoked["ended"],
                "processor seconds": (await ask("/usage"))["cpu"] - used,
                "revoke seconds": revoked["seconds"],
                "first closed after": min(closed) - started,
                "last closed after": max(closed) - started,
            }
        for one in clients:
            one.transport.abort()
    return found


# How long a revoke in another process takes to close a socket here.


async def _revoke_lines(url: str) -> None:
    async with SessionManager(adapter_from_url(url)) as manager:
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            started = time.monotonic()
            ended = await manager.revoke(line.strip())
            print(json.dumps([ended, started, time.monotonic()]), flush=True)


class _Site:
    """A server in this process, whose sockets are watched, and a client of it."""

    def __init__(self, url: str) -> None:
        self.manager = SessionManager(adapter_from_url(url))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _Site:
        app = web.Application()
        app.router.add_get("/in", _sign_in)
        app.router.add_get("/socket", _socket)
        setup(app, self.manager)
        runner = web.AppRunner(app)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._client = await self._stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def open(self) -> tuple[str, aiohttp.ClientWebSocketResponse]:
        """Return a new session's handle, and a socket that depends on it."""
        from aiohttp_spry_session.identifiers import handle_of

        async with self._client.get(f"{self._base}/in") as response:
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        socket = await self._client.ws_connect(f"{self._base}/socket?watched", headers={"Cookie": cookie})
        return handle_of(cookie.partition("=")[2]), socket


async def _distance(url: str, revokes: int) -> dict[str, Any]:
    """Return the seconds from the acknowledged revoke in another process to the close of the socket here."""
    taken = []
    async with _process("revoke", "--url", url) as other, _Site(url) as site:
        await other.stdout.readline()
        _, kept = await site.open()  # so that listening goes on between two
        await asyncio.sleep(0.3)
        for number in range(revokes):
            handle, socket = await site.open()
            await asyncio.sleep(0.01 + 0.5 * (number * 0.618 % 1))  # at whatever moment between two looks
            other.stdin.write(f"{handle}\n".encode())
            message = await asyncio.wait_for(socket.receive(), 30)
            closed = time.monotonic()
            ended, _, acknowledged = json.loads(await other.stdout.readline())
            assert (ended, message.data) == (True, 4401)
            taken.append(closed - acknowledged)
        await kept.close()
    return {"median": statistics.median(taken), "worst": max(taken)}


async def _outage(sockets: int) -> dict[str, Any]:
    """Let Redis be silent for ten seconds."""
    from tests.servers.process import guardian
    from tests.servers.redis import RedisServer

    server = RedisServer()
    server.start()
    try:
        async with _process("revoke", "--url", server.url) as other, _Site(server.url) as site:
            await other.stdout.readline()
            opened = [await site.open() for _ in range(sockets)]
            receiving = [asyncio.ensure_future(socket.receive()) for _, socket in opened]
            await asyncio.sleep(1)
            tasks = len(asyncio.all_tasks())
            server.pause()
            await asyncio.sleep(_AWAY_SECONDS)
            during = sum(one.done() for one in receiving)
            most = len(asyncio.all_tasks())
            server.resume()
            await asyncio.sleep(6)
            after = len(asyncio.all_tasks())
            started = time.monotonic()
            for handle, _ in opened:
                other.stdin.write(f"{handle}\n".encode())
            messages = await asyncio.wait_for(asyncio.gather(*receiving), 60)
            return {
                "ended during": during,
                "tasks before, during, after": (tasks, most, after),
                "closed afterwards": sum(message.data == 4401 for message in messages),
                "seconds for all": time.monotonic() - started,
            }
    finally:
        server.close()
        guardian.dismiss()


def _print(title: str, found: dict[str, Any]) -> None:
    figures = ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items()
    )
    print(f"{title}: {figures}", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["crowd", "distance", "outage", "serve", "revoke"])
    parser.add_argument("--url")
    parser.add_argument("--sockets", type=int, default=_SOCKETS)
    parser.add_argument("--revokes", type=int, default=_REVOKES)
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis", "postgres"])
    arguments = parser.parse_args()
    if arguments.part == "serve":
        asyncio.run(_serve(arguments.url))
    elif arguments.part == "revoke":
        asyncio.run(_revoke_lines(arguments.url))
    elif arguments.part == "outage":
        _print("Redis silent for ten seconds", asyncio.run(_outage(min(arguments.sockets, 200))))
    else:
        names = [name for name in arguments.stores if available(name)]
        with tempfile.TemporaryDirectory() as directory, urls(names, Path(directory)) as found:
            for name, url in found.items():
                if arguments.part == "crowd":
                    for watched in (False, True):
                        title = f"{name}, {'watched' if watched else 'unwatched'}"
                        _print(title, asyncio.run(_crowd(url, arguments.sockets, watched=watched)))
                elif name != "memory":
                    _print(name, asyncio.run(_distance(url, arguments.revokes)))


if __name__ == "__main__":
    main()
