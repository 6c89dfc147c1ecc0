"""Promise 9: an outage logs nobody out."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from aiohttp_spry_session import AdapterError, SessionRecord, get_session
from aiohttp_spry_session.identifiers import handle_of

from ..support import Recorder, identifier_in, sending


async def increment(request: web.Request) -> web.Response:
    return web.Response(text=str(await get_session(request).increment("n")))


async def write(request: web.Request) -> web.Response:
    await get_session(request).set("n", 1)
    return web.Response(text="written")


async def read(request: web.Request) -> web.Response:
    return web.json_response(await get_session(request).get("n"))


async def untouched(request: web.Request) -> web.Response:
    return web.Response(text="fine")


async def stream(request: web.Request) -> web.StreamResponse:
    await get_session(request).set("n", 1)
    response = web.StreamResponse()
    response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    await response.write(b"streamed")
    return response


PATHS = {"write": write, "read": read, "untouched": untouched, "stream": stream, "increment": increment}

FAILURES = {
    "error": OSError("disk on fire"),
    "timeout": TimeoutError(),
    "anything": KeyError("x"),
    "ours": AdapterError("load", "told so"),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("path", ["write", "read", "stream", "increment"])
async def test_failing_store_is_503_and_the_cookie_stays(serve, make_manager, store, path, error, lazy):
    """No use of the session pretends that there is none; once the store is back all is as it was."""
    client = await serve(make_manager(lazy=lazy), **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)
    store.fail(error=error)
    response = await client.get(f"/{path}", headers=sending(identifier))
    assert response.status == 503
    assert identifier_in(response.headers) is None
    assert "disk" not in await response.text()
    store.work()
    assert await (await client.get("/read", headers=sending(identifier))).json() == 1


@pytest.mark.parametrize("operation", ["create", "update", "renew", "rotate"])
async def test_failing_write_is_503_and_changes_nothing(serve, manager, store, clock, operation):
    """A write that fails leaves the session as it was, and the client with the cookie that it has."""
    actions = {
        "create": lambda session: session.set("n", 2),
        "update": lambda session: session.set("n", 2),
        "renew": lambda session: session.renew(),
        "rotate": lambda session: session.rotate(),
    }

    async def act(request: web.Request) -> web.Response:
        await actions[operation](get_session(request))
        return web.Response()

    client = await serve(manager, act=act, **PATHS)
    identifier = None if operation == "create" else identifier_in((await client.get("/write")).headers)
    headers = {} if identifier is None else sending(identifier)
    store.fail(operation)
    response = await client.get("/act", headers=headers)
    assert response.status == 503
    assert identifier_in(response.headers) in (None, identifier)
    store.work()
    assert await (await client.get("/read", headers=headers)).json() == (1 if headers else None)


async def test_hanging_store_is_503(serve, make_manager, store):
    """A store that does not answer is given up on after the time-out."""
    client = await serve(make_manager(timeout=0.2), **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)

    async def hang(operation: str) -> None:
        await asyncio.Event().wait()

    store.before = hang
    assert (await client.get("/read", headers=sending(identifier))).status == 503
    assert (await client.get("/write")).status == 503
    store.work()
    assert await (await client.get("/read", headers=sending(identifier))).json() == 1


async def test_page_without_a_session_works_during_an_outage(serve, manager, store):
    """A failed early load matters only to a handler that uses its session."""
    client = await serve(manager, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)
    store.fail()
    response = await client.get("/untouched", headers=sending(identifier))
    assert (response.status, identifier_in(response.headers)) == (200, None)


async def test_properties_after_a_failed_load_raise_adapter_error(serve, manager, store):
    """The plain properties do not pretend that there is no session either."""
    seen: list[AdapterError] = []

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(AdapterError) as caught:
            _ = get_session(request).is_new
        seen.append(caught.value)
        return web.Response()

    client = await serve(manager, handler, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)
    store.fail("load")
    assert (await client.get("/", headers=sending(identifier))).status == 200
    assert seen[0].operation == "load"
    assert str(seen[0]) == "session store: load: failed when the request began"
    assert isinstance(seen[0].__cause__, AdapterError)
    assert isinstance(seen[0].__cause__.__cause__, OSError)


async def test_explicit_load_tries_again(serve, manager, store):
    """A handler that asks once more after a failed early load gets the session when the store is back."""

    async def handler(request: web.Request) -> web.Response:
        store.work()
        session = get_session(request)
        await session.load()
        return web.json_response(await session.get("n"))

    client = await serve(manager, handler, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)
    store.fail("load")
    assert await (await client.get("/", headers=sending(identifier))).json() == 1


async def test_store_that_answers_garbage_is_503(serve, manager, store):
    """Anything but a record or None is a failure of the store, not an absent session."""
    client = await serve(manager, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)

    for garbage in ("a string", 7, object()):

        async def answer(handle: str, garbage: object = garbage) -> object:
            return garbage

        store.load = answer
        assert (await client.get("/read", headers=sending(identifier))).status == 503
    del store.load
    assert await (await client.get("/read", headers=sending(identifier))).json() == 1


GARBAGE_FIELDS = {
    "payload": {"payload": "text"},
    "version": {"version": "1"},
    "created_at": {"created_at": None},
    "expires_at": {"expires_at": "tomorrow"},
    "owner": {"owner": b"u"},
}


@pytest.mark.parametrize("fields", GARBAGE_FIELDS.values(), ids=GARBAGE_FIELDS)
async def test_record_of_wrong_types_is_503(serve, manager, memory, clock, fields):
    """A record that is none, as from a driver that decodes bytes to str, is a failure of the store."""
    good = {"payload": b"", "version": 1, "created_at": clock(), "expires_at": clock() + 60, "owner": None}

    async def answer(handle: str) -> SessionRecord:
        return SessionRecord(**{**good, **fields})

    manager.adapter.load = answer
    client = await serve(manager, **PATHS)
    assert (await client.get("/read", headers=sending("x" * 43))).status == 503


async def test_corrupt_record_is_an_absent_one_and_reported(serve, manager, store, caplog):
    """One damaged record costs one session, with a line in the log that names its handle."""
    events = Recorder(manager)
    client = await serve(manager, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)
    handle = handle_of(identifier)
    record = await store.inner.load(handle)
    damaged = record.payload[:-1] + bytes([record.payload[-1] ^ 1])
    await store.inner.update(handle, SessionRecord(damaged, 2, record.created_at, record.expires_at))
    response = await client.get("/read", headers=sending(identifier))
    assert (response.status, await response.json(), identifier_in(response.headers)) == (200, None, None)
    assert events.told[-1] == ("rejected", "corrupt")
    errors = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert errors == [f"the stored session {handle} is corrupt and counts as absent"]
    assert identifier_in((await client.get("/write", headers=sending(identifier))).headers) not in (None, identifier)


async def test_conflict_that_does_not_end_is_503(serve, manager, store, monkeypatch):
    """A commit that loses every race is given up on; nothing is stored and the cookie stays."""
    monkeypatch.setattr("aiohttp_spry_session.request.driver.MAX_ATTEMPTS", 5)
    client = await serve(manager, **PATHS)
    identifier = identifier_in((await client.get("/write")).headers)

    async def update(handle: str, record: SessionRecord) -> bool:
        return False

    store.update = update
    response = await client.get("/increment", headers=sending(identifier))
    assert (response.status, identifier_in(response.headers)) == (503, None)
    del store.update
    assert await (await client.get("/read", headers=sending(identifier))).json() == 1


async def test_swallowed_failure_is_not_repaired_silently(serve, manager, store):
    """A handler may catch AdapterError and answer as it likes; its changes are tried once more at the commit."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("n", 7)
        with pytest.raises(AdapterError):
            await session.save()
        store.work()
        return web.Response(text="sorry")

    client = await serve(manager, handler, **PATHS)
    store.fail("create")
    response = await client.get("/")
    identifier = identifier_in(response.headers)
    assert await response.text() == "sorry"
    assert await (await client.get("/read", headers=sending(identifier))).json() == 7


async def redirect(request: web.Request) -> web.Response:
    await get_session(request).set("n", 2)
    raise web.HTTPFound("/read")


async def test_redirect_whose_commit_fails_is_503(serve, manager, store):
    """No redirect tells of a change that the store does not have."""
    client = await serve(manager, write=write, read=read, redirect=redirect)
    headers = sending(identifier_in((await client.get("/write")).headers))
    store.fail("update", error=OSError("disk on fire"))
    response = await client.get("/redirect", headers=headers, allow_redirects=False)
    assert response.status == 503
    assert "Set-Cookie" not in response.headers
    store.work()
    assert await (await client.get("/read", headers=headers)).json() == 1


@pytest.mark.parametrize("action", ["rotate", "bind"])
async def test_rotation_whose_answer_was_lost_is_looked_up(visit, manager, store, action):
    """Where the store did it but could not say so, the client gets the new identifier, not a dead session."""
    visitor = await visit(manager)
    old = visitor.identifier

    async def lose(operation: str) -> None:
        if operation == "rotate":
            raise OSError("the connection broke")

    store.after = lose
    assert (await visitor.ask(f"/do/{action}")).status == 200
    assert visitor.identifier != old
    assert await (await visitor.ask("/read")).json() == {"n": 1}


@pytest.mark.parametrize("action", ["rotate", "bind"])
async def test_rotation_that_cannot_be_looked_up_is_503(visit, manager, store, action):
    """Where the store is out of reach for the second look too, nothing is taken for done."""
    visitor = await visit(manager)
    old = visitor.identifier

    async def go_down(operation: str) -> None:
        if operation == "rotate":
            store.fail()
            raise OSError("the store went down")

    store.before = go_down
    assert (await visitor.ask(f"/do/{action}")).status == 503
    store.work()
    assert visitor.identifier == old
    assert await (await visitor.ask("/read")).json() == {"n": 1}
