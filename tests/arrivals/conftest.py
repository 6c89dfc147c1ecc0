"""A site that uses aiohttp-session, the real one, and the same site afterwards, on every kind of store."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp_session
import pytest
from aiohttp import ClientResponse, CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_session.cookie_storage import EncryptedCookieStorage
from aiohttp_session.redis_storage import RedisStorage
from redis.asyncio import Redis

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionAdapter,
    SessionManager,
    SQLiteSessionAdapter,
    arrivals,
    get_session,
    setup,
)
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter
from aiohttp_spry_session.adapters.redis import RedisSessionAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.testing import FakeClock

from ..minimal import MinimalAdapter
from ..servers.redis import RedisServer
from ..support import WatchedAdapter

KEY = bytes(range(32))
OLD = "AIOHTTP_SESSION"
LIFE = 3600
"""The ``max_age`` of the old site."""
VALUES = {"user_id": 7, "cart": ["tea", {"milk": 1.5}], "name": "Zoë"}
"""What it holds of a visitor."""


@pytest.fixture(autouse=True)
def old_keys() -> Iterator[None]:
    """aiohttp-session keeps what it has under plain strings, of which aiohttp warns once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        yield


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still, where the old site's is: that reads the clock of the machine."""
    return FakeClock(float(int(time.time())))


@pytest.fixture
async def old_redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """The old site's Redis."""
    async with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture(params=["redis", "cookie"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which storage the old site has."""
    return request.param


class Site:
    """The old site and the new one, and the cookies of one browser.

    :param storage: of the old site.
    :param source: the same, for the new one.
    """

    def __init__(self, storage: Any, source: Any) -> None:
        self.storage = storage
        self.source = source
        self.clients: list[TestClient[Any, Any]] = []

    async def serve(self, app: web.Application) -> TestClient[Any, Any]:
        """Serve an application; the browser is another one each time."""
        client = TestClient(TestServer(app), cookie_jar=CookieJar(unsafe=True))
        self.clients.append(client)
        await client.start_server()
        return client

    async def old(self, values: dict[str, Any] | None = None) -> str:
        """Sign in on the old site; return what its cookie says to the browser."""

        async def sign_in(request: web.Request) -> web.Response:
            session = await aiohttp_session.new_session(request)
            session.update(VALUES if values is None else values)
            return web.Response()

        app = web.Application()
        aiohttp_session.setup(app, self.storage)
        app.router.add_get("/", sign_in)
        client = await self.serve(app)
        response = await client.get("/")
        return response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]

    async def still_there(self, cookie: str) -> bool:
        """Whether the old site would take it."""

        async def read(request: web.Request) -> web.Response:
            return web.json_response(dict(await aiohttp_session.get_session(request)))

        app = web.Application()
        aiohttp_session.setup(app, self.storage)
        app.router.add_get("/", read)
        client = await self.serve(app)
        return bool(await (await client.get("/", headers={"Cookie": f"{OLD}={cookie}"})).json())

    async def new(
        self, manager: SessionManager, *sources: Any, prepare: Callable[[web.Application], Any] = id, **handlers: Any
    ) -> Browser:
        """Serve the new site."""
        app = web.Application()
        app.add_routes([web.get("/", read), web.get("/untouched", untouched), web.get("/do/{action}", do)])
        app.add_routes([web.get(f"/{name}", handler) for name, handler in handlers.items()])
        setup(app, manager)
        prepare(app)
        arrivals.setup(app, manager, *(sources or (self.source,)))
        return Browser(await self.serve(app))


async def read(request: web.Request) -> web.Response:
    """Tell all that is known of the session."""
    session = get_session(request)
    values = {key: await session.get(key) for key in await session.keys()}
    authenticated = session.authenticated_at
    return web.json_response(
        {
            "values": values,
            "owner": session.owner,
            "new": session.is_new,
            "created": session.created_at and session.created_at.timestamp(),
            "expires": session.expires_at and session.expires_at.timestamp(),
            "authenticated": authenticated and authenticated.timestamp(),
        }
    )


async def untouched(request: web.Request) -> web.Response:
    """Leave the session alone."""
    return web.Response()


async def do(request: web.Request) -> web.Response:
    """Do what the path says."""
    session = get_session(request)
    actions: dict[str, Callable[[], Awaitable[Any]]] = {
        "write": lambda: session.set("n", 1),
        "rotate": session.rotate,
        "bind": lambda: session.bind("ada"),
        "destroy": lambda: session.destroy(regenerate=False),
    }
    await actions[request.match_info["action"]]()
    return web.Response()


class Browser:
    """Asks the new site; each request says which cookies it sends."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client

    async def ask(self, path: str = "/", **cookies: str) -> ClientResponse:
        """Send a GET with cookies of one value each."""
        return await self.send(path, *(f"{name}={value}" for name, value in cookies.items()))

    async def send(self, path: str, *pairs: str) -> ClientResponse:
        """Send a GET with these pairs in its Cookie header."""
        self.client.session.cookie_jar.clear()
        headers = {"Cookie": "; ".join(pairs)} if pairs else {}
        response = await self.client.get(path, headers=headers)
        await response.read()
        return response

    async def values(self, *pairs: str) -> Any:
        """Return what a session has for whom sends these pairs."""
        response = await self.send("/", *pairs)
        assert response.status == 200
        return (await response.json())["values"]


def new_cookie(response: ClientResponse, name: str = "SPRY_SESSION_ID") -> str | None:
    """What a response gives the browser; ``""`` where it removes it."""
    found = [header for header in response.headers.getall("Set-Cookie", ()) if header.startswith(f"{name}=")]
    assert len(found) <= 1
    return found[0].partition("=")[2].partition(";")[0] if found else None


@pytest.fixture
async def make_site(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Site]]:
    """Make an old site with a storage of a kind, and its new one."""
    sites: list[Site] = []

    def make(kind: str, *, max_age: int | None = LIFE, owner: str | None = None, **options: Any) -> Site:
        storage: Any
        source: Any
        if kind == "redis":
            client = request.getfixturevalue("old_redis")
            storage = RedisStorage(client, max_age=max_age, **options)
            source = arrivals.AiohttpSessionRedis(client, max_age=max_age, owner=owner)
        else:
            storage = EncryptedCookieStorage(KEY, max_age=max_age, **options)
            source = arrivals.AiohttpSessionEncryptedCookie(KEY, max_age=max_age, owner=owner)
        sites.append(Site(storage, source))
        return sites[-1]

    yield make
    for site in sites:
        await asyncio.gather(*(client.close() for client in site.clients))


@pytest.fixture
def site(make_site: Callable[..., Site], kind: str, old_redis: Redis) -> Site:
    """An old site of each kind."""
    return make_site(kind)


@pytest.fixture
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], SessionAdapter]:
    """Make what each of several processes has, of one store of a kind."""
    name = f"arrivals_{secrets.token_hex(6)}"

    def make(kind: str) -> SessionAdapter:
        if kind == "sqlite":
            return SQLiteSessionAdapter(tmp_path / "sessions.db", synchronous="OFF")
        if kind == "redis":
            return RedisSessionAdapter(request.getfixturevalue("redis_server").url, prefix=f"{name}:")
        dsn = request.getfixturevalue("postgres_server").dsn
        return PostgresSessionAdapter(dsn, schema=name, create_schema=True)

    return make


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres", "minimal", "sealed", "migrating"])
def any_store(
    request: pytest.FixtureRequest, process: Callable[[str], SessionAdapter], tmp_path: Path
) -> SessionAdapter:
    """A store of each kind; ``minimal`` has four methods, and takes two steps to rotate; two are around others."""
    if request.param in ("sqlite", "redis", "postgres"):
        return process(request.param)
    if request.param == "memory":
        return MemorySessionAdapter()
    if request.param == "sealed":
        return SealedAdapter(MemorySessionAdapter(), KEY, hide_owners=True)
    if request.param == "migrating":
        return MigratingAdapter(MemorySessionAdapter(), SQLiteSessionAdapter(tmp_path / "old.db", synchronous="OFF"))
    return MinimalAdapter()


@pytest.fixture
def store() -> WatchedAdapter:
    """A watched store in memory."""
    return WatchedAdapter(MemorySessionAdapter())


@pytest.fixture
def manager(store: WatchedAdapter, clock: FakeClock) -> SessionManager:
    """A manager on it."""
    return SessionManager(store, clock=clock)


def record_of(created: int, **values: Any) -> str:
    """The old record, as aiohttp-session writes it."""
    return json.dumps({"created": created, "session": values})


@pytest.fixture
def cookie_site(make_site: Callable[..., Site]) -> Site:
    """An old site with encrypted cookies."""
    return make_site("cookie")


@pytest.fixture
def redis_site(make_site: Callable[..., Site], old_redis: Redis) -> Site:
    """An old site with Redis."""
    return make_site("redis")


def token(clock: FakeClock, record: str | bytes, *, key: bytes = KEY, age: float = 0) -> str:
    """A token of the old site, written so long ago."""
    data = record.encode() if isinstance(record, str) else record
    fernet = EncryptedCookieStorage(key)._fernet
    return fernet.encrypt_at_time(data, int(clock.now - age)).decode()


async def put(old_redis: Redis, record: str | bytes, *, seconds: int | None = LIFE) -> str:
    """A key of the old site; return its cookie."""
    value = secrets.token_hex(16)
    await old_redis.set(f"{OLD}_{value}", record, ex=seconds)
    return value
