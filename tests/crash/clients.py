"""Clients that remember what a server has promised them by its answers, and check that it is so after a crash."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import aiohttp

COOKIE = "SPRY_SESSION_ID"


@dataclass(slots=True)
class SharedCounter:
    """A session that all clients increment: what was answered, and what was only asked for."""

    cookie: str
    asked: int = 0
    answers: set[int] = field(default_factory=set)

    async def increment(self, http: aiohttp.ClientSession) -> None:
        """Increment; no two answers may be the same."""
        self.asked += 1
        answer, _ = await ask(http, "increment", self.cookie)
        assert answer not in self.answers, "two increments were answered with the same sum"
        self.answers.add(answer)

    async def check(self, http: aiohttp.ClientSession) -> None:
        """Compare with what is stored."""
        stored, _ = await ask(http, "dump", self.cookie)
        assert stored is not None, "the shared session is gone"
        assert max(self.answers, default=0) <= stored["counter"] <= self.asked


@dataclass(slots=True)
class Client:
    """One browser: its session's values, those of the request in flight, and the identifiers that are dead."""

    choice: random.Random
    cookie: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    in_flight: tuple[str, Any] | None = None
    dead: list[str] = field(default_factory=list)
    leaving: str = ""
    """The operation in flight, where it ends or moves the session."""

    async def step(self, http: aiohttp.ClientSession) -> None:
        """Send one request, and remember what its answer promises."""
        if not self.cookie:
            await self._start(http)
            return
        operation = self.choice.choices([self._put, self._increment, self._rotate, self._destroy], [10, 10, 2, 1])[0]
        await operation(http)
        self.in_flight, self.leaving = None, ""

    async def check(self, http: aiohttp.ClientSession) -> None:
        """Compare with what is stored, and take over what the request in flight came to."""
        for identifier in self.dead:
            stored, _ = await ask(http, "dump", identifier)
            assert stored is None, "a session that was ended or rotated away is back"
        if self.cookie:
            stored, _ = await ask(http, "dump", self.cookie)
            if stored is None:
                assert self.leaving, "a session whose writes were answered is gone"
                self.cookie, self.values = "", {}
            else:
                assert stored in self._possible(), "the stored values are not those that were answered"
                self.values = stored
        self.in_flight, self.leaving = None, ""

    def _possible(self) -> list[dict[str, Any]]:
        if self.in_flight is None:
            return [self.values]
        key, value = self.in_flight
        return [self.values, {**self.values, key: value}]

    async def _start(self, http: aiohttp.ClientSession) -> None:
        _, cookie = await ask(http, "start", "")
        assert cookie
        self.cookie, self.values = cookie, {"counter": 0}

    async def _put(self, http: aiohttp.ClientSession) -> None:
        key, value = f"key{self.choice.randrange(5)}", "x" * self.choice.randrange(300)
        self.in_flight = key, value
        await ask(http, f"put?key={key}&value={value}", self.cookie)
        self.values[key] = value

    async def _increment(self, http: aiohttp.ClientSession) -> None:
        expected = self.values["counter"] + 1
        self.in_flight = "counter", expected
        answer, _ = await ask(http, "increment", self.cookie)
        assert answer == expected
        self.values["counter"] = answer

    async def _rotate(self, http: aiohttp.ClientSession) -> None:
        self.leaving = "rotate"
        _, cookie = await ask(http, "rotate", self.cookie)
        assert cookie
        self.dead.append(self.cookie)
        self.cookie = cookie

    async def _destroy(self, http: aiohttp.ClientSession) -> None:
        self.leaving = "destroy"
        await ask(http, "destroy", self.cookie)
        self.dead.append(self.cookie)
        self.cookie, self.values = "", {}


async def ask(http: aiohttp.ClientSession, path: str, cookie: str) -> tuple[Any, str]:
    """Send a request; return the JSON of its answer, if there is any, and the identifier that it set."""
    headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
    async with http.get(f"/{path}", headers=headers) as response:
        body = await response.json() if response.content_type == "application/json" else await response.read()
        assert response.status == 200
        sent = response.cookies.get(COOKIE)
        return body, sent.value if sent is not None else ""
