"""The cookie as the options make it."""

from __future__ import annotations

from aiohttp import web

from aiohttp_spry_session import (
    SessionManager,
    setup,
)

from ..support import COOKIE, cookies_of
from .handlers import PATHS


async def test_default_cookie(visit, clock, memory):
    """The cookie as the defaults make it."""
    visitor = await visit(SessionManager(memory, clock=clock), new=True)
    response = await visitor.ask("/write?n=1")
    assert cookies_of(response.headers) == [
        f"SPRY_SESSION_ID={visitor.identifier}; Max-Age=1200; Path=/; HttpOnly; SameSite=Lax"
    ]


async def test_cookie_with_every_attribute(visit, clock, memory):
    """The cookie as the options make it, and its removal with the same attributes, which browsers insist on."""
    manager = SessionManager(
        memory,
        clock=clock,
        name="__Secure-sid",
        domain="example.org",
        path="/app",
        secure=True,
        http_only=False,
        same_site="None",
        partitioned=True,
        persistent=False,
    )
    visitor = await visit(manager, new=True)
    response = await visitor.ask("/write?n=1")
    (cookie,) = response.headers.getall("Set-Cookie")
    value, attributes = cookie.split("; ", 1)
    assert attributes == "Domain=example.org; Path=/app; Secure; SameSite=None; Partitioned"
    headers = {"Cookie": value}
    (removal,) = (await visitor.client.get("/do/destroy_for_good", headers=headers)).headers.getall("Set-Cookie")
    assert removal == f"__Secure-sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; {attributes}"


async def test_browser_keeps_and_drops_the_cookie(aiohttp_client, clock, memory):
    """With a client that keeps cookies, a session is there until its removal."""
    app = web.Application()
    setup(app, SessionManager(memory, clock=clock))
    for path, handler in PATHS.items():
        app.router.add_get(f"/{path}", handler)
    client = await aiohttp_client(app)
    await client.get("/write?n=1")
    assert await (await client.get("/read")).json() == {"n": 1}
    assert [cookie.key for cookie in client.session.cookie_jar] == [COOKIE]
    await client.get("/do/destroy_for_good")
    assert list(client.session.cookie_jar) == []
    assert await (await client.get("/read")).json() == {}
