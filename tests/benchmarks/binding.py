"""What a device-bound session costs a request: ``python -m tests.benchmarks.binding``.

Each case is the middleware around a handler that reads the owner, on the memory adapter, without a server; the best of
many rounds, in the processor's time. Compare the figures of one run with each other.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, dbsc, get_session, setup
from aiohttp_spry_session.dbsc.binding import challenge_for, new_offer, pass_for, register
from aiohttp_spry_session.dbsc.keys import Algorithm
from aiohttp_spry_session.facts import Facts
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing.dbsc import SoftwareKey
from aiohttp_spry_session.testing.explorer.requests import bare_request

__all__ = ["main", "measure"]

RESPONSE = web.Response()

CASES: dict[str, Algorithm | bool | None] = {
    "no binding set up": None,
    "unbound": False,
    "bound, ES256": "ES256",
    "bound, RS256": "RS256",
}
"""Whether a binding is set up, and the algorithm of the device's key."""


class _Route:
    """What a request knows of the handler that it leads to."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler


async def handler(request: web.Request) -> web.Response:
    """Use the session."""
    if get_session(request).owner != "ada":
        raise AssertionError("nobody is signed in")
    return RESPONSE


async def prepare(case: Algorithm | bool | None) -> tuple[Callable[[web.Request], Awaitable[Any]], str]:
    """Return what answers a request, and the cookies of a signed-in browser."""
    manager = SessionManager(MemorySessionAdapter(expiration=None), secure=True)
    app = web.Application()
    setup(app, manager)
    inner = app.middlewares[0]
    requests = requests_of(manager)
    state = requests.driver.begin(())
    session = requests.session(state)
    await session.bind("ada")
    cookies = f"{manager.name}={session.identifier}"
    if case is None:
        return lambda request: inner(request, handler), cookies
    devices = dbsc.DeviceBinding(manager, grace=0)
    dbsc.setup(app, devices)
    binding, now = new_offer(), time.time()
    if case:
        assert not isinstance(case, bool)
        proof = SoftwareKey(case).prove(challenge_for(binding, devices.options, now), registering=True)
        binding, challenge = register(binding, proof, devices.options, now)
        cookies += f"; {manager.name}-bound={pass_for(binding, devices.options, challenge.issued, now)}"
    facts = Facts(binding=binding.packed(), bound_at=now if case else None, authenticated_at=now)
    await requests.driver.amend(state, lambda _: facts)
    outer = app.middlewares[0]

    async def answer(request: web.Request) -> web.StreamResponse:
        return await inner(request, handler)

    return lambda request: outer(request, answer), cookies


async def measure(*, rounds: int, requests: int) -> dict[str, float]:
    """Return the microseconds of a request in each case."""
    prepared = {name: await prepare(case) for name, case in CASES.items()}
    best = dict.fromkeys(CASES, float("inf"))
    for _ in range(rounds):
        for name, (answer, cookies) in prepared.items():
            made = [bare_request({"Cookie": cookies}) for _ in range(requests)]
            for request in made:
                request._match_info = _Route(handler)  # type: ignore[assignment]
            began = time.process_time()
            for request in made:
                await answer(request)
            best[name] = min(best[name], (time.process_time() - began) / requests * 1e6)
    return best


def main() -> None:
    """Print the figures."""
    figures = asyncio.run(measure(rounds=15, requests=3000))
    for name, microseconds in figures.items():
        beside = microseconds - figures["unbound"]
        sys.stdout.write(f"{name:20}{microseconds:7.1f} \N{MICRO SIGN}s   beside unbound {beside:+5.1f}\n")


if __name__ == "__main__":
    main()
