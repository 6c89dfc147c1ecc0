"""Handlers that many tests serve."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from aiohttp_spry_session import Session, SessionManager, get_session

Action = Callable[[Session], Awaitable[Any]]

ACTIONS: dict[str, Action] = {
    "set": lambda session: session.set("x", 1),
    "remove": lambda session: session.remove("n"),
    "clear": lambda session: session.clear(),
    "renew": lambda session: session.renew(),
    "update": lambda session: session.update("x", lambda value: 1),
    "increment": lambda session: session.increment("x"),
    "pop": lambda session: session.pop("n"),
    "rotate": lambda session: session.rotate(),
    "rotate_with_grace": lambda session: session.rotate(grace=30),
    "bind": lambda session: session.bind("user"),
    "destroy": lambda session: session.destroy(),
    "destroy_for_good": lambda session: session.destroy(regenerate=False),
}
"""Everything that changes a session, by name."""

PLAIN = ("set", "remove", "clear", "renew")
COMMIT_POINTS = ("update", "increment", "pop", "rotate", "bind")


def doing(*actions: Action | str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that does these things to its session, one after the other."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        for action in actions:
            await (ACTIONS[action] if isinstance(action, str) else action)(session)
        return web.Response(text="done")

    return handler


async def read(request: web.Request) -> web.Response:
    """Tell all that is in the session."""
    session = get_session(request)
    return web.json_response({key: await session.get(key) for key in await session.keys()})


async def write(request: web.Request) -> web.Response:
    """Set what the query says, each value as JSON."""
    session = get_session(request)
    for key, value in request.query.items():
        await session.set(key, json.loads(value))
    return web.Response(text="written")


async def untouched(request: web.Request) -> web.Response:
    """Leave the session alone."""
    return web.Response(text="fine")


async def perform(request: web.Request) -> web.Response:
    """Do the action that the path names."""
    await ACTIONS[request.match_info["action"]](get_session(request))
    return web.Response(text="done")


PATHS = {"read": read, "write": write, "untouched": untouched, "do/{action}": perform}


async def run(visit: Callable[..., Awaitable[Any]], manager: SessionManager, *steps: Action) -> None:
    """Run steps, each in a request of its own, on one session."""
    left = list(steps)
    failures: list[BaseException] = []

    async def handler(request: web.Request) -> web.Response:
        try:
            await left.pop(0)(get_session(request))
        except BaseException as failure:  # noqa: BLE001 - it is raised again, out of the server
            failures.append(failure)
        return web.Response()

    visitor = await visit(manager, new=True, x=handler)
    while left:
        response = await visitor.ask("/x")
        for failure in failures:
            raise failure
        assert response.status == 200
