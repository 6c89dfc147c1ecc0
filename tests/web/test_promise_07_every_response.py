"""Promise 7: the cookie and the commit work on every kind of response."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from aiohttp_spry_session import get_session, setup

from ..support import identifier_in, sending

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def plain(request: web.Request) -> web.StreamResponse:
    return web.Response(text="body")


async def raised(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere")


async def streamed(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    if request.method != "HEAD":
        await response.write(b"bo")
        await response.write(b"dy")
    return response


async def compressed_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    if request.method != "HEAD":
        response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    if request.method != "HEAD":
        await response.write(b"body")
    return response


async def plain_prepared_early(request: web.Request) -> web.StreamResponse:
    response = web.Response(text="body")
    await response.prepare(request)
    return response


async def file(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(Path(__file__))


async def no_content(request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def error_raised_from_a_task(request: web.Request) -> web.StreamResponse:
    raise web.HTTPInternalServerError(text="told so")


KINDS = [plain, raised, streamed, compressed_stream, plain_prepared_early, file, no_content, error_raised_from_a_task]


def starting(kind: Handler) -> Handler:
    """The kind of response, given by a handler that starts a session first."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await get_session(request).set("n", 1)
        return await kind(request)

    return handler


async def read(request: web.Request) -> web.Response:
    session = get_session(request)
    return web.json_response({key: await session.get(key) for key in await session.keys()})


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_cookie_and_commit_on_every_kind_of_response(serve, manager, kind, method):
    """Whatever the handler answers with, the session is stored and its cookie is in the headers, once."""
    client = await serve(manager, starting(kind), read=read)
    response = await client.request(method, "/", allow_redirects=False)
    identifier = identifier_in(response.headers)
    assert identifier
    assert response.headers["Cache-Control"] == "no-store"
    assert await (await client.get("/read", headers=sending(identifier))).json() == {"n": 1}


async def test_websocket(serve, manager):
    """A WebSocket's handshake carries the cookie; what is saved during it, and set at its end, is stored."""

    async def socket(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        await session.set("n", 1)
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            if message.data == "goodbye":
                break
            await session.set("said", message.data)
            await session.save()
            await response.send_str("stored")
        await session.set("after", True)
        return response  # whereupon aiohttp closes the WebSocket

    client = await serve(manager, socket, read=read)
    async with client.ws_connect("/") as ws:
        identifier = identifier_in(ws._response.headers)
        await ws.send_str("hello")
        assert await ws.receive_str() == "stored"
        stored = await (await client.get("/read", headers=sending(identifier))).json()
        assert stored == {"n": 1, "said": "hello"}
        await ws.send_str("goodbye")
        assert (await ws.receive()).type is WSMsgType.CLOSE
    stored = await (await client.get("/read", headers=sending(identifier))).json()
    assert stored == {"n": 1, "said": "hello", "after": True}


async def test_replaced_by_an_outer_middleware(serve, manager):
    """A response that another middleware puts in the place of the handler's carries the cookie."""

    @web.middleware
    async def replace(request: web.Request, handler: Handler) -> web.StreamResponse:
        await handler(request)
        return web.Response(text="replaced")

    client = await serve(manager, starting(plain), middlewares=(replace,))
    response = await client.get("/")
    assert await response.text() == "replaced"
    assert identifier_in(response.headers)


async def test_replaced_error(serve, manager):
    """An outer middleware that turns an exception into a page does not lose the cookie."""

    @web.middleware
    async def replace(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.Response(text="an error page", status=error.status)

    client = await serve(manager, starting(error_raised_from_a_task), middlewares=(replace,))
    response = await client.get("/")
    assert (response.status, await response.text()) == (500, "an error page")
    assert identifier_in(response.headers)


@pytest.mark.parametrize("kind", [plain, raised, streamed], ids=lambda kind: kind.__name__)
async def test_outer_middleware_that_clones_the_request(serve, manager, kind):
    """A middleware that hands on a clone, as those for reverse proxies do, does not lose the cookie."""

    @web.middleware
    async def behind_proxy(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(scheme="https"))

    client = await serve(manager, starting(kind), middlewares=(behind_proxy,))
    response = await client.get("/", allow_redirects=False)
    assert identifier_in(response.headers)


@pytest.mark.cookies
async def test_clone_between_two_managers(aiohttp_client, manager, make_manager):
    """Where a middleware between two managers hands on a clone, both write their cookies."""
    other = make_manager(name="other")

    @web.middleware
    async def behind_proxy(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(scheme="https"))

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).set("a", 1)
        await get_session(request, "other").set("a", 1)
        return web.Response()

    app = web.Application()
    setup(app, manager)
    app.middlewares.append(behind_proxy)
    setup(app, other, key="other")
    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    response = await client.get("/")
    assert {cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")} == {manager.name, "other"}


@pytest.mark.cookies
@pytest.mark.parametrize("own_task", [False, True], ids=["in the handler's task", "in a task of its own"])
async def test_managers_of_one_key(aiohttp_client, manager, make_manager, own_task):
    """A sub-application's own manager under the same key hides the outer one from its handlers, not from its cookie."""
    inner = make_manager(name="inner")

    @web.middleware
    async def use_outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        await get_session(request).set("a", 1)
        return await handler(request)

    async def handler(request: web.Request) -> web.StreamResponse:
        await get_session(request).set("a", 1)
        response = web.StreamResponse()
        if own_task:
            await asyncio.create_task(response.prepare(request), context=contextvars.Context())
        else:
            await response.prepare(request)
        return response

    app, sub = web.Application(), web.Application()
    setup(app, manager)
    app.middlewares.append(use_outer)
    setup(sub, inner)
    sub.router.add_get("/", handler)
    app.add_subapp("/sub/", sub)
    client = await aiohttp_client(app)
    response = await client.get("/sub/")
    assert {cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")} == {manager.name, "inner"}


async def test_clone_and_unhandled_error(serve, manager):
    """The 500 after a commit point carries the cookie even if the handler saw a clone of the request."""

    @web.middleware
    async def behind_proxy(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(scheme="https"))

    async def failing(request: web.Request) -> web.Response:
        await get_session(request).increment("n")
        raise RuntimeError("after the commit point")

    client = await serve(manager, failing, middlewares=(behind_proxy,))
    response = await client.get("/")
    assert response.status == 500
    assert identifier_in(response.headers)
