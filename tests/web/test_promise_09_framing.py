"""Promise 9: what leaves instead of a response that could not be prepared is well-formed HTTP."""

from __future__ import annotations

import gzip

from aiohttp import web
from yarl import URL

from aiohttp_spry_session import get_session

from ..support import identifier_in, sending
from .test_promise_09_outage import PATHS, write


def parse(data: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Split one response by hand, by its framing as RFC 9112 has it; whatever is left over is a failure."""
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    assert len(headers) == len(lines)
    if headers.get(b"transfer-encoding") == b"chunked":
        assert b"content-length" not in headers
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body, end, rest = body + rest[:length], rest[length : length + 2], rest[length + 2 :]
            assert end == b"\r\n"
            if not length:
                break
    else:
        length = int(headers[b"content-length"])
        body, rest = rest[:length], rest[length:]
        assert len(body) == length
    assert rest == b""
    if headers.get(b"content-encoding") == b"gzip":
        body = gzip.decompress(body)
    return int(status.split()[1]), headers, body


async def test_503_in_place_of_a_stream_is_well_formed(serve, manager, store, raw):
    """The framing that a stream had announced to the connection is not used for the 503 that leaves instead."""
    client = await serve(manager, **PATHS)
    status, _, body = parse(await raw(client).get(path=b"/stream"))
    assert (status, body) == (200, b"streamed")
    store.fail("create")
    answer = await raw(client).get(b"Accept-Encoding: gzip", path=b"/stream")
    status, headers, body = parse(answer)
    assert (status, body) == (503, b"Sessions are not available at the moment.")
    # (promise 9) Nobody knows whether the session is there: the cookie beside the session's own keeps that way open.
    assert headers[b"set-cookie"].startswith(b"SPRY_SESSION_ID-next=")
    assert headers[b"retry-after"] == b"1"


async def test_500_in_place_of_a_stream_is_well_formed(serve, make_manager, raw):
    """Likewise where something else than the store fails while a stream is being prepared."""
    client = await serve(make_manager(identifier_generator=lambda: "not a cookie value"), **PATHS)
    status, _, body = parse(await raw(client).get(path=b"/stream"))
    assert status == 500
    assert b"500 Internal Server Error" in body


async def test_connection_lives_on_after_a_503_in_place_of_a_stream(serve, manager, store, raw):
    """The next request on the same connection gets its own answer."""
    client = await serve(manager, **PATHS)
    store.fail("create")
    answer = await raw(client)(
        b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /untouched HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    )
    first, second, third = answer.split(b"HTTP/1.1 ")
    assert first == b""
    assert parse(b"HTTP/1.1 " + second)[0] == 503
    assert parse(b"HTTP/1.1 " + third)[::2] == (200, b"fine")


async def test_stream_in_place_of_a_stream_is_well_formed(serve, manager, store, raw):
    """An outer middleware may answer a failure by a stream of its own, and nothing of the first one is in it."""

    @web.middleware
    async def apologize(request, handler):
        try:
            return await handler(request)
        except web.HTTPServiceUnavailable:
            response = web.StreamResponse(status=503)
            await response.prepare(request)
            await response.write(b"sorry")
            return response

    client = await serve(manager, middlewares=(apologize,), **PATHS)
    store.fail("create")
    answer = await raw(client).get(b"Accept-Encoding: gzip", path=b"/stream")
    status, headers, body = parse(answer)
    assert (status, body) == (503, b"sorry")
    assert b"content-encoding" not in headers


async def test_outage_after_the_headers_closes_the_connection(serve, manager, store, caplog, raw):
    """What was set during a stream and cannot be stored is no success: the body does not end as announced."""

    async def handler(request: web.Request) -> web.StreamResponse:
        session = get_session(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        await session.set("n", 2)
        store.fail("update")
        return response

    client = await serve(manager, handler, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)
    answer = await raw(client).get(f"Cookie: SPRY_SESSION_ID={identifier}".encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")
    store.work()
    assert await (await client.get("/read", headers=sending(identifier))).json() == 1


async def test_url_brings_no_line_break_into_the_log(serve, manager, store, caplog):
    """A percent-encoded line break in the URL does not become one in the log (ASVS 16.4.1)."""

    async def update(handle: str, record: object) -> bool:
        return False

    client = await serve(manager, **{r"{any:[\s\S]*}": write})
    headers = sending(identifier_in((await client.get("/start")).headers))
    store.update = update
    response = await client.get(URL("/x%0Aforged%0D?y=%0A", encoded=True), headers=headers)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    (entry,) = [record for record in caplog.records if record.name == "aiohttp_spry_session"]
    assert entry.getMessage() == "GET /x%0Aforged%0D: other requests kept changing the session: nothing was stored"
    assert entry.exc_info is None  # it tells nothing that the message does not
