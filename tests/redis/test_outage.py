"""Outages of a real server: nobody is logged out, nothing is written twice, and it all works again afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.redis import connections as redis_connections
from aiohttp_spry_session.adapters.redis import scripts as scripts
from tests.servers.redis import RedisServer

from ..support import COOKIE
from .proxy import LossyProxy
from .visits import ADAPTER, Serve, get, seen


async def test_a_stopped_server(serve: Serve, redis_server: RedisServer) -> None:
    """While it is stopped every use of a session is answered 503; afterwards the session is as it was."""
    browser = await serve(redis_server.url)
    assert await get(browser, "/increment") == (200, "1")
    redis_server.stop()
    for path in ("/increment", "/read", "/login", "/both?v=1"):
        assert (await get(browser, path))[0] == 503
    redis_server.start()
    assert await seen(browser) == {"new": False, "n": 1}
    assert await get(browser, "/increment") == (200, "2")


async def test_a_hanging_server(serve: Serve, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 within the time limit; what hangs is carried out once at the most, and no connection stays in its way."""
    monkeypatch.setattr(redis_connections, "ANSWER_SECONDS", 0.6)
    browser = await serve(redis_server.url, timeout=0.5)
    assert await get(browser, "/increment") == (200, "1")
    redis_server.pause()
    begin = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(get(browser, "/increment") for _ in range(5)))
    assert {status for status, _ in answers} == {503}
    assert asyncio.get_running_loop().time() - begin < 2  # one after the other they would take longer
    redis_server.resume()
    async with asyncio.timeout(30):
        while (await get(browser, "/read"))[0] == 503:
            pass
    assert (await seen(browser))["n"] == 1, "the reads hung, so nothing was written"
    assert await get(browser, "/increment") == (200, "2")


async def test_a_silent_connection_is_given_up_in_time(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any other time limit, an answer that does not come counts as lost, and does not hold up what follows."""
    monkeypatch.setattr(redis_connections, "ANSWER_SECONDS", 0.5)
    adapter = RedisSessionAdapter(redis_server.url, prefix=prefix)
    await adapter.open()
    redis_server.pause()
    hanging = asyncio.ensure_future(adapter.load("h"))
    done, _ = await asyncio.wait([hanging], timeout=30)
    redis_server.resume()
    assert done == {hanging}
    assert isinstance(hanging.exception(), TimeoutError)
    assert await adapter.load("h") is None
    await adapter.close()


async def test_a_server_that_hangs_over_a_write(
    serve: Serve, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write was sent and the answer never came: it counts once, or not at all, however often others try."""
    redis_server.must_be_own()
    monkeypatch.setattr(redis_connections, "ANSWER_SECONDS", 0.6)
    browser = await serve(redis_server.url, timeout=0.5)
    await get(browser, "/increment")
    adapter = browser.app[ADAPTER]
    original = adapter.update

    async def update(*arguments: Any) -> bool:
        redis_server.pause()
        return await original(*arguments)

    monkeypatch.setattr(adapter, "update", update)
    assert (await get(browser, "/increment"))[0] == 503
    monkeypatch.setattr(adapter, "update", original)
    redis_server.resume()
    async with asyncio.timeout(30):
        while (answer := await get(browser, "/increment"))[0] == 503:
            pass
    assert answer[1] in ("2", "3")
    assert await seen(browser) == {"new": False, "n": int(answer[1])}


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(redis_server) as proxy:
        yield proxy


@pytest.mark.parametrize("own", [True, False], ids=["our client", "a client that retries"])
async def test_a_lost_answer_is_no_second_write(serve: Serve, proxy: LossyProxy, client: Redis, *, own: bool) -> None:
    """The server has carried the increment out when the connection breaks: 503, sent once, counted once."""
    await client.script_load(scripts.UPDATE.source.decode())  # else the first try is answered that it is not known
    given = None if own else Redis.from_url(proxy.url)
    browser = await serve(given or proxy.url)
    assert await get(browser, "/increment") == (200, "1")
    for lost in range(1, 4):
        sent = proxy.count(scripts.UPDATE.sha)
        proxy.marker = scripts.UPDATE.sha
        assert (await get(browser, "/increment"))[0] == 503
        proxy.marker = None
        assert proxy.count(scripts.UPDATE.sha) == sent + 1
        assert await seen(browser) == {"new": False, "n": 1 + 2 * lost - 1}
        assert await get(browser, "/increment") == (200, str(1 + 2 * lost))
    if given is not None:
        await given.aclose()


@pytest.mark.parametrize("lost", [scripts.UPDATE, scripts.ACTIVATE, scripts.RELEASE], ids=["2nd", "3rd", "4th"])
async def test_a_lost_answer_to_a_login_logs_in(
    serve: Serve, proxy: LossyProxy, client: Redis, prefix: str, lost: scripts.Script
) -> None:
    """The rotation has happened: the browser gets the new cookie, keeps its values, and has its whole time."""
    browser = await serve(proxy.url)
    await get(browser, "/increment")
    await client.script_load(lost.source.decode())
    proxy.marker = lost.sha
    status, _ = await get(browser, "/login")
    proxy.marker = None
    assert status == 200
    times = sorted([await client.pttl(key) async for key in client.scan_iter(f"{prefix}s:*")])
    assert times[-1] > 1_190_000
    assert times[0] > (1_190_000 if lost is scripts.ACTIVATE else 50_000), "what leads there is kept until it is live"
    assert await seen(browser) == {"new": False, "n": 1}


async def test_connections_that_were_closed_while_idle_cost_nothing(
    serve: Serve, redis_server: RedisServer, client: Redis
) -> None:
    """A balancer or a firewall that ends idle connections is not noticed."""
    browser = await serve(redis_server.url)
    for number in range(1, 4):
        assert await get(browser, "/increment") == (200, str(number))
        assert await client.client_kill_filter(_type="normal", skipme=True)
        await client.ping()


async def test_a_server_that_becomes_a_replica(serve: Serve, redis_server: RedisServer, client: Redis) -> None:
    """What it refuses is 503, and its connection is given up: a new one may lead to the new master."""
    browser = await serve(redis_server.url + "?client_name=ours")
    assert await get(browser, "/increment") == (200, "1")
    before = {one["id"] for one in await client.client_list() if one["name"] == "ours"}
    await client.replicaof("127.0.0.1", "1")
    assert (await get(browser, "/increment"))[0] == 503
    await client.replicaof("NO", "ONE")
    assert await get(browser, "/increment") == (200, "2")
    after = {one["id"] for one in await client.client_list() if one["name"] == "ours"}
    assert after - before


class Load:
    """Browsers that write as fast as they can until they are told to stop, and what they were answered."""

    def __init__(self, browser: TestClient, identifiers: list[str]) -> None:
        self._browser = browser
        self._stopped = False
        self._answered = asyncio.Condition()
        self.counts = {identifier: Counter[int]() for identifier in identifiers}
        self.mistakes: list[str] = []
        self._tasks = [asyncio.ensure_future(self._visit(identifier)) for identifier in identifiers]

    def total(self, status: int) -> int:
        return sum(counts[status] for counts in self.counts.values())

    async def until(self, status: int, more: int) -> None:
        """Go on until so many more increments were answered so."""
        goal = self.total(status) + more
        async with asyncio.timeout(30), self._answered:
            await self._answered.wait_for(lambda: self.total(status) >= goal)

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _visit(self, identifier: str) -> None:
        turn = 0
        while not self._stopped:
            turn += 1
            self.counts[identifier][await self._get(identifier, "/increment")] += 1
            async with self._answered:
                self._answered.notify_all()
            await self._get(identifier, f"/both?v={turn}")

    async def _get(self, identifier: str, path: str) -> int:
        async with self._browser.get(path, headers={"Cookie": f"{COOKIE}={identifier}"}) as response:
            if response.status not in (200, 503) or "Set-Cookie" in response.headers:
                self.mistakes.append(f"{path}: {response.status} {response.headers}")
            return response.status


@pytest.mark.parametrize("how", ["stop", "pause", "disconnect"])
async def test_an_outage_under_load(
    serve: Serve, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, client: Redis, how: str
) -> None:
    """Every answered increment counts, none counts twice, no session is half written, and nobody is logged out."""
    monkeypatch.setattr(redis_connections, "ANSWER_SECONDS", 0.6)
    browser = await serve(redis_server.url, timeout=0.5)
    jar = browser.session.cookie_jar
    identifiers = []
    for _ in range(8):
        async with browser.get("/increment") as response:
            identifiers.append(response.cookies[COOKIE].value)
        jar.clear()
    load = Load(browser, identifiers)
    for _ in range(2):
        await load.until(200, more=50)
        match how:
            case "stop":
                await asyncio.to_thread(redis_server.stop)
                await load.until(503, more=20)
                await asyncio.to_thread(redis_server.start)
            case "pause":
                redis_server.pause()
                await load.until(503, more=10)
                redis_server.resume()
            case "disconnect":
                await client.client_kill_filter(_type="normal", skipme=True)
    await load.until(200, more=50)
    await load.stop()
    assert not load.mistakes
    for identifier, counts in load.counts.items():
        async with browser.get("/read", headers={"Cookie": f"{COOKIE}={identifier}"}) as response:
            state = await response.json()
        assert not state["new"]
        assert 1 + counts[200] <= state["n"] <= 1 + counts[200] + counts[503]
        assert state["left"] == state["right"]
