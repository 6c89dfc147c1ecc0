"""Cost of each operation and of the middleware, in process, in microseconds."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from aiohttp_spry_session import Session, SessionKey, SessionManager, adapter_from_url, setup

from ..support import arrive, session_of
from .cases import CASES, DATA, Handler, handlers
from .results import best, print_table, save

_USER = SessionKey("user", str, default="")

Operation = Callable[[Session], Awaitable[object]]


async def _set_and_save(session: Session) -> None:
    await session.set("visits", 1)
    await session.save()


async def _set_and_pop(session: Session) -> None:
    await session.set("token", "x")
    await session.pop("token")


async def _renew_and_save(session: Session) -> None:
    await session.renew()
    await session.save()


OPERATIONS: dict[str, Operation] = {
    "has": lambda session: session.has("user"),
    "get": lambda session: session.get("user"),
    "get, typed key": lambda session: session.get(_USER),
    "keys": lambda session: session.keys(),
    "set": lambda session: session.set("visits", 1),
    "remove": lambda session: session.remove("missing"),
    "reload": lambda session: session.reload(),
    "set + save": _set_and_save,
    "increment": lambda session: session.increment("visits"),
    "update": lambda session: session.update("visits", lambda visits: visits + 1, 0),
    "set + pop": _set_and_pop,
    "renew + save": _renew_and_save,
    "rotate": lambda session: session.rotate(),
    "bind": lambda session: session.bind("ada"),
    "destroy": lambda session: session.destroy(),
}

_REQUESTS = (
    ("empty middleware and hook", None, "untouched"),
    ("untouched, lazy=True", True, "untouched"),
    *((case, False, case) for case in CASES),
)


def run(*, rounds: int = 7, memory_runs: int = 1000, sqlite_runs: int = 100, store: bool = True) -> dict[str, Any]:
    """Measure, print, and store the results."""
    result: dict[str, Any] = {"operations": {}, "requests": {}}
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for name, url, runs in (
            ("memory", "memory://", memory_runs),
            ("sqlite", f"sqlite:///{directory}/micro.db", sqlite_runs),
        ):
            operations, requests = asyncio.run(_measure(url, runs, rounds))
            for part, found in (("operations", operations), ("requests", requests)):
                for label, figures in found.items():
                    result[part].setdefault(label, {})[name] = figures
    _print("an operation on a loaded session", result["operations"])
    _print("a request through the middleware and the response hook", result["requests"])
    if store:
        save("micro", result)
    return result


async def _measure(url: str, runs: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    operations: dict[str, float] = {}
    async with SessionManager(adapter_from_url(url)) as manager:
        for label, operation in OPERATIONS.items():
            operations[label] = best([await _time_operation(manager, operation, runs) for _ in range(rounds)])
    requests: dict[str, float] = {}
    for label, lazy, case in _REQUESTS:
        async with _application(url, lazy) as (app, cookie):
            handler = handlers("memory")[case]
            requests[label] = best([await _time_request(app, handler, cookie, runs) for _ in range(rounds)])
    return operations, requests


async def _time_operation(manager: SessionManager, operation: Operation, runs: int) -> float:
    session = session_of(arrive(manager, ()))
    for key, value in DATA.items():
        await session.set(key, value)
    await session.save()
    await operation(session)
    started = time.perf_counter()
    for _ in range(runs):
        await operation(session)
    return (time.perf_counter() - started) / runs * 1e6


@asynccontextmanager
async def _application(url: str, lazy: bool | None) -> Any:
    """Give a started application, and a session's cookie."""
    app = web.Application()
    if lazy is None:
        app.middlewares.append(_empty_middleware)
        app.on_response_prepare.append(_empty_hook)
        app.freeze()
        yield app, "SPRY_SESSION_ID=" + 43 * "x"
        return
    setup(app, SessionManager(adapter_from_url(url), lazy=lazy))
    app.freeze()
    await app.startup()
    try:
        response = web.Response()
        request = make_mocked_request("GET", "/")
        await _pass(app, request, response, handlers("memory")["start"])
        yield app, response.headers["Set-Cookie"].partition(";")[0]
    finally:
        await app.cleanup()


async def _time_request(app: web.Application, handler: Handler, cookie: str, runs: int) -> float:
    headers = {"Cookie": cookie}
    work = [(make_mocked_request("GET", "/", headers=headers), web.Response()) for _ in range(runs + 10)]
    for request, response in work[:10]:
        await _pass(app, request, response, handler)
    started = time.perf_counter()
    for request, response in work[10:]:
        await _pass(app, request, response, handler)
    return (time.perf_counter() - started) / runs * 1e6


async def _pass(app: web.Application, request: web.Request, response: web.Response, handler: Handler) -> None:
    await app.middlewares[0](request, handler)
    await app.on_response_prepare.send(request, response)


@web.middleware
async def _empty_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handler(request)


async def _empty_hook(request: web.Request, response: web.StreamResponse) -> None:
    pass


def _print(title: str, found: dict[str, Any]) -> None:
    print(f"\nmicroseconds for {title}, one at a time, best of the repeats")
    rows = [[label, f"{figures['memory']:.2f}", f"{figures['sqlite']:.2f}"] for label, figures in found.items()]
    print_table(["", "memory", "SQLite"], rows)
