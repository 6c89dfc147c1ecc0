"""Promise 10: the identifier appears in the cookie alone, and caches are told."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionEndedError,
    SessionError,
    SessionManager,
    SQLiteSessionAdapter,
    get_session,
    setup,
)

from ..support import COOKIE, Recorder, WatchedAdapter, arrive, identifier_in, sending, vary
from .handlers import ACTIONS, PATHS


async def test_identifier_is_nowhere_but_in_the_cookie(aiohttp_client, tmp_path, clock, caplog):
    """Not in the file, a log record, a repr, an event or an exception, whatever is done to the session."""
    caplog.set_level(logging.DEBUG)
    manager = SessionManager(SQLiteSessionAdapter(tmp_path / "s.db", synchronous="OFF"), clock=clock)
    events = Recorder(manager)
    told: list[str] = []
    secrets: list[str] = []

    async def everything(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.set("n", 1)
        secrets.append(session.identifier)
        for name, action in ACTIONS.items():
            if not name.startswith("destroy"):
                await action(session)
                secrets.append(session.identifier)
        await session.save()
        told.extend(
            [
                repr(session),
                str(session),
                repr(session._state),
                repr(session._state.place),
                repr(await manager.find("user")),
            ]
        )
        await manager.revoke(session.handle)
        for attempt in (session.save, session.rotate, session.reload):
            try:
                await session.set("n", 2)
                await attempt()
            except SessionError as error:
                told.extend([repr(error), str(error), repr(error.__dict__)])
        told.extend([repr(manager), repr(manager.adapter), repr(arrive(manager, [secrets[0]]))])
        await session.destroy()
        await session.set("n", 3)
        secrets.append(session.identifier)
        return web.Response(text="done")

    app = web.Application()
    setup(app, manager)
    app.router.add_get("/everything", everything)
    for path, handler in PATHS.items():
        app.router.add_get(f"/{path}", handler)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    for _ in range(2):
        response = await client.get("/everything", headers=sending(secrets[-1]) if secrets else {})
        assert response.status == 200
        for secret in secrets[:-1]:
            assert secret not in str(response.headers)
        assert identifier_in(response.headers) == secrets[-1]
    manager.adapter._writer._conn.execute("PRAGMA wal_checkpoint")
    everywhere = [*told, caplog.text, *(repr(event) for event in events.events)]
    everywhere += [repr(vars(record)) for record in caplog.records]
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(set(secrets)) >= 8
    for secret in secrets:
        assert secret.encode() not in stored
        for text in everywhere:
            assert secret not in text
    assert any(record.name.startswith("aiosqlite") for record in caplog.records)


async def test_identifier_is_in_no_exception_of_a_failing_store(visit, manager, store, caplog, monkeypatch):
    """Nor in what is logged about one, the traceback included."""
    monkeypatch.setattr("aiohttp_spry_session.store.outage._SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level(logging.DEBUG)
    visitor = await visit(manager)
    secrets: list[str | None] = []
    for operation, path in {"load": "read", "update": "do/set", "rotate": "do/rotate", "renew": "do/renew"}.items():
        store.fail(operation)
        failed = await visitor.ask(f"/{path}")
        assert failed.status == 503
        secrets += [identifier_in(failed.headers, f"{COOKIE}-next"), visitor.identifier]
        store.work()
        assert (await visitor.ask("/do/increment")).status == 200  # the outage is over: the next one is logged anew
        assert f"the session store fails: session store: {operation}" in caplog.text
    for secret in filter(None, secrets):
        assert secret not in caplog.text
    assert len(set(secrets)) == 3  # the session's own, that of the rotation which may have landed, and none


async def test_memory_store_has_no_identifiers(visit, make_manager):
    """The store in memory knows handles as every other."""
    adapter = MemorySessionAdapter()
    visitor = await visit(make_manager(adapter=WatchedAdapter(adapter)))
    await visitor.ask("/do/rotate")
    assert visitor.handle in adapter._records
    assert visitor.identifier not in repr(vars(adapter))


async def test_collision_tells_no_identifier(visit, make_manager, caplog):
    """A generator that repeats itself is reported without what it returned."""
    visitor = await visit(make_manager(identifier_generator=lambda: "the-same-secret"))
    visitor.identifier = None
    assert (await visitor.ask("/do/set")).status == 500
    assert "keeps returning identifiers that are in use" in caplog.text
    assert "the-same-secret" not in caplog.text


VARY = {
    None: "Cookie",
    "Accept": "Accept, Cookie",
    "accept, COOKIE": "accept, COOKIE",
    "*": "*",
    "Accept-Cookie": "Accept-Cookie, Cookie",
    "x-SESSION": "x-SESSION, Cookie",
}
VARY_BY_HEADER = {
    None: "Cookie, X-Session",
    "Accept": "Accept, Cookie, X-Session",
    "accept, COOKIE": "accept, COOKIE, X-Session",
    "*": "*",
    "Accept-Cookie": "Accept-Cookie, Cookie, X-Session",
    "x-SESSION": "x-SESSION, Cookie",
}


@pytest.mark.parametrize("present", VARY, ids=str)
async def test_vary_joins_what_the_handler_set(visit, manager, present):
    """The response says that it depends on the cookie, keeping what else it depends on."""

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        return web.Response(headers={} if present is None else {"Vary": present})

    visitor = await visit(manager, new=True, x=handler)
    assert (await visitor.ask("/x")).headers.getall("Vary") == [(VARY_BY_HEADER if manager.header else VARY)[present]]


async def test_vary_joins_several_headers(visit, manager):
    """Vary may stand in several lines; none is lost."""

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        response = web.Response()
        response.headers.add("Vary", "Accept")
        response.headers.add("Vary", "Origin")
        return response

    visitor = await visit(manager, new=True, x=handler)
    (line,) = (await visitor.ask("/x")).headers.getall("Vary")
    assert {field.strip() for field in line.split(",")} == {"Accept", "Origin", *vary().split(", ")}


USES = {
    "get": lambda session: session.get("n"),
    "has": lambda session: session.has("n"),
    "keys": lambda session: session.keys(),
    "load": lambda session: session.load(),
    "save": lambda session: session.save(),
    "reload": lambda session: session.reload(),
    **ACTIONS,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_every_operation_counts_as_use(visit, manager, use):
    """A response that the session may have shaped carries Vary: Cookie, for a visitor without a session too."""

    async def handler(request: web.Request) -> web.Response:
        await use(get_session(request))
        return web.Response()

    for new in (True, False):
        visitor = await visit(manager, new=new, x=handler)
        assert (await visitor.ask("/x")).headers.getall("Vary") == [vary()]


@pytest.mark.parametrize("name", ["identifier", "is_new", "created_at", "expires_at", "owner"])
async def test_every_property_counts_as_use(visit, manager, name):
    """Likewise for what a property told."""

    async def handler(request: web.Request) -> web.Response:
        getattr(get_session(request), name)
        return web.Response()

    visitor = await visit(manager, x=handler)
    assert (await visitor.ask("/x")).headers.getall("Vary") == [vary()]


async def test_handle_is_no_use(visit, make_manager, store):
    """Any log line may have it: it loads nothing, and the response may be shared as if nobody had looked."""
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(get_session(request).handle)
        return web.Response()

    for lazy in (False, True):
        visitor = await visit(make_manager(lazy=lazy, rolling=True), x=handler)
        store.calls.clear()
        assert "Vary" not in (await visitor.ask("/x")).headers
        assert store.counted == ({} if lazy else {"load": 1})
        assert seen.pop() == (None if lazy else visitor.handle)


@pytest.mark.parametrize("options", [{}, {"autostart": True}, {"lazy": True}], ids=str)
async def test_untouched_session_does_not_vary(visit, make_manager, options):
    """A page that does not use the session may be shared by a cache."""
    visitor = await visit(make_manager(**options), new=True)
    assert "Vary" not in (await visitor.ask("/untouched")).headers
    assert "Vary" not in (await visitor.ask("/untouched")).headers
    assert "Vary" not in (await visitor.ask("/nowhere")).headers


async def test_409_and_503_vary_as_well(visit, manager, store):
    """What the middleware answers in the handler's place depended on the session too."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    assert (await late.ask("/do/increment")).headers["Vary"] == vary()
    store.fail("update")
    assert (await visitor.ask("/do/increment")).headers["Vary"] == vary()


async def test_receiver_that_hands_the_event_on_hands_no_secret_on(visit, manager):
    """An event can be stored or sent to another system as it is."""
    events = Recorder(manager)
    visitor = await visit(manager)
    await visitor.ask("/do/bind")
    await visitor.ask("/do/renew")
    await visitor.ask("/do/destroy")
    assert len(events.events) == 5
    assert all(len(event.handle) == 64 for event in events.events)
    assert visitor.identifier not in str(events.events)


async def test_ended_error_in_a_task_has_no_secret(visit, manager):
    """The exception that reaches the application's own logging names a reason, not a session."""
    seen: list[BaseException] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        await manager.revoke(session.handle)
        seen.extend(await asyncio.gather(session.increment("n"), session.pop("n"), return_exceptions=True))
        return web.Response()

    visitor = await visit(manager, x=handler)
    await visitor.ask("/x")
    assert [type(error) for error in seen] == [SessionEndedError, SessionEndedError]
    assert all(visitor.identifier not in str(error) and COOKIE not in str(error) for error in seen)
