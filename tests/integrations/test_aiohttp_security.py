"""aiohttp-security, the real one, on sessions of this package."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import Enum
from importlib import import_module
from typing import Any

import aiohttp_security
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp_security.abc import AbstractAuthorizationPolicy

from aiohttp_spry_session import MemorySessionAdapter, Session, SessionManager, setup
from aiohttp_spry_session.integrations.aiohttp_security import SessionIdentityPolicy
from aiohttp_spry_session.testing import FaultyAdapter

USERS = {"ada": {"read", "write"}, "bob": {"read"}}


class Users(AbstractAuthorizationPolicy):
    """What users may do."""

    async def permits(self, identity: str | None, permission: str | Enum, context: Any = None) -> bool:
        return permission in USERS.get(identity or "", ())

    async def authorized_userid(self, identity: str) -> str | None:
        return identity if identity in USERS else None


async def login(request: web.Request) -> web.Response:
    response = web.HTTPFound("/")
    await aiohttp_security.remember(request, response, request.query["user"])
    raise response


async def logout(request: web.Request) -> web.Response:
    response = web.Response()
    await aiohttp_security.forget(request, response)
    return response


async def who(request: web.Request) -> web.Response:
    user = await aiohttp_security.authorized_userid(request)
    anonymous = await aiohttp_security.is_anonymous(request)
    assert anonymous is (user is None)
    return web.Response(text=f"{user}")


async def write(request: web.Request) -> web.Response:
    await aiohttp_security.check_permission(request, "write")
    return web.Response(text="written")


Serve = Callable[..., TestClient[Any, Any]]


@pytest.fixture
def store() -> FaultyAdapter:
    return FaultyAdapter(MemorySessionAdapter())


@pytest.fixture
def serve(store: FaultyAdapter, aiohttp_client: Any) -> Callable[..., Awaitable[TestClient[Any, Any]]]:
    """Serve an application with both packages."""

    async def serve(key: str = "session", **options: Any) -> TestClient[Any, Any]:
        app = web.Application()
        app.add_routes([web.get("/login", login), web.get("/logout", logout), web.get("/", who)])
        app.add_routes([web.get("/write", write)])
        setup(app, SessionManager(store, **options), key=key)
        aiohttp_security.setup(app, SessionIdentityPolicy(key), Users())
        return await aiohttp_client(app)

    return serve


def identifier(client: TestClient[Any, Any]) -> str | None:
    """What the browser holds."""
    cookies = client.session.cookie_jar.filter_cookies(client.make_url("/"))
    return cookies["SPRY_SESSION_ID"].value if "SPRY_SESSION_ID" in cookies else None


@pytest.mark.parametrize("lazy", [False, True])
async def test_in_and_out(serve: Serve, store: FaultyAdapter, lazy: bool) -> None:
    """Who signs in is known, may do what they may, and is forgotten in the store too when they sign out."""
    client = await serve(lazy=lazy)
    assert await (await client.get("/")).text() == "None"
    assert (await client.get("/write")).status == 401
    assert identifier(client) is None
    assert await (await client.get("/login?user=bob")).text() == "bob"
    assert (await client.get("/write")).status == 403
    first = identifier(client)
    assert await (await client.get("/login?user=ada")).text() == "ada"
    assert await (await client.get("/write")).text() == "written"
    assert identifier(client) not in (None, first)
    stolen = {"Cookie": f"SPRY_SESSION_ID={identifier(client)}"}
    await client.get("/logout")
    assert await (await client.get("/")).text() == "None"
    async with TestClient(TestServer(client.app)) as thief:
        assert await (await thief.get("/", headers=stolen)).text() == "None"
    assert not await store.find("ada")


async def test_signing_in_rotates(serve: Serve) -> None:
    """The identifier from before is worth nothing afterwards: no session is fixed on anybody."""
    client = await serve(autostart=True)
    await client.get("/")
    before = identifier(client)
    assert before is not None
    await client.get("/login?user=ada")
    client.session.cookie_jar.clear()
    response = await client.get("/", headers={"Cookie": f"SPRY_SESSION_ID={before}"})
    assert await response.text() == "None"


async def test_an_outage_makes_nobody_anonymous(serve: Serve, store: FaultyAdapter) -> None:
    """It is a 503, not a page for strangers."""
    client = await serve()
    await client.get("/login?user=ada")
    store.fail("load", times=None)
    assert (await client.get("/")).status == 503
    store.heal()
    assert await (await client.get("/")).text() == "ada"


async def test_another_key(serve: Serve) -> None:
    """As it was given to ``setup``."""
    client = await serve(key="staff")
    assert await (await client.get("/login?user=ada")).text() == "ada"


@pytest.mark.parametrize("key", [None, 7, SessionManager])
def test_what_is_no_key(key: Any) -> None:
    """A manager, for example."""
    with pytest.raises(ValueError, match="request key"):
        SessionIdentityPolicy(key)


async def test_options_go_to_bind(aiohttp_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``remember`` takes what ``bind`` takes."""
    bound: list[tuple[str, dict[str, Any]]] = []

    async def bind(self: Session, owner: str, **options: Any) -> None:
        bound.append((owner, options))

    async def remember(request: web.Request) -> web.Response:
        response = web.Response()
        await aiohttp_security.remember(request, response, "ada", expiration=timedelta(days=30))
        return response

    monkeypatch.setattr(Session, "bind", bind)
    app = web.Application()
    app.router.add_get("/", remember)
    setup(app, SessionManager())
    aiohttp_security.setup(app, SessionIdentityPolicy(), Users())
    assert (await (await aiohttp_client(app)).get("/")).status == 200
    assert bound == [("ada", {"expiration": timedelta(days=30)})]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    module = "aiohttp_spry_session.integrations.aiohttp_security"
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "aiohttp_security.abc", None)
    with pytest.raises(ImportError, match="needs aiohttp-security: pip install aiohttp-security") as caught:
        import_module(module)
    assert caught.value.name == "aiohttp_security"
