"""Promise 5: only the response of the request that itself changes what the cookie says writes it."""

from __future__ import annotations

import pytest
from aiohttp import DummyCookieJar, web

from aiohttp_spry_session import SessionEndedError, get_session, session_middleware, setup

from ..support import COOKIE, Pause, Recorder, cookies_of, identifier_in, sending
from .handlers import ACTIONS, COMMIT_POINTS, doing, write


@pytest.mark.parametrize(
    "path", ["read", "untouched", "do/set", "do/remove", "do/clear", "do/update", "do/increment", "do/pop"]
)
async def test_response_that_changes_nothing_for_the_client_has_no_cookie(visit, manager, path):
    """Reading and writing an existing session writes no cookie, so a slow response overwrites none."""
    visitor = await visit(manager)
    response = await visitor.ask(f"/{path}")
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert "Cache-Control" not in response.headers


@pytest.mark.parametrize("action", ["renew", "rotate", "rotate_with_grace", "bind", "destroy", "destroy_for_good"])
async def test_response_that_changes_something_has_one(visit, manager, action):
    """Renewing repeats the identifier, rotating gives a new one, destroying gives another or none."""
    visitor = await visit(manager)
    old = visitor.identifier
    response = await visitor.ask(f"/do/{action}")
    given = identifier_in(response.headers)
    assert {"renew": given == old, "destroy_for_good": given == ""}.get(action, given not in (None, "", old))
    assert response.headers["Cache-Control"] == "no-store"


async def test_handlers_choice_of_cache_control_stays(visit, manager):
    """no-store is a default."""

    async def handler(request: web.Request) -> web.Response:
        await get_session(request).set("n", 1)
        return web.Response(headers={"Cache-Control": "private"})

    visitor = await visit(manager, new=True, x=handler)
    assert (await visitor.ask("/x")).headers.getall("Cache-Control") == ["private"]


async def test_slow_parallel_request_does_not_log_its_user_out(visit, manager, store):
    """Somebody logs in while an image of the page before is still on its way, whose handler sets something."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        await pause.here()
        await get_session(request).set("seen", True)
        return web.Response()

    visitor = await visit(manager, slow=slow)
    late = visitor.twin()
    response = await pause.during(late.ask("/slow"), lambda: visitor.ask("/do/bind"))
    assert identifier_in(response.headers) is None
    assert await (await visitor.ask("/read")).json() == {"n": 1}


@pytest.mark.parametrize("rotation", ["rotate", "bind"])
@pytest.mark.parametrize("seconds", [0, 59])
async def test_plain_set_under_a_rotated_away_identifier_starts_nothing(
    visit, manager, store, clock, rotation, seconds
):
    """A request that arrives late, with the old identifier, changes nothing and gets no cookie."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask(f"/do/{rotation}")
    clock.advance(seconds)
    events = Recorder(manager)
    store.calls.clear()
    for path in ("/write?n=2", "/do/remove", "/do/clear", "/read", "/untouched"):
        response = await late.ask(path)
        assert (response.status, identifier_in(response.headers)) == (200, None)
    assert set(store.calls) == {"load"}
    assert set(events.told) == {("rejected", "retired")}
    assert await (await visitor.ask("/read")).json() == {"n": 1}


@pytest.mark.parametrize("action", ["update", "increment", "pop"])
async def test_commit_point_under_a_rotated_away_identifier_is_told(visit, manager, action):
    """An atomic operation cannot be dropped silently: its caller wants the definitive result."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    response = await late.ask(f"/do/{action}")
    assert (response.status, identifier_in(response.headers)) == (409, None)


@pytest.mark.parametrize("action", ["renew", "rotate", "rotate_with_grace", "bind"])
async def test_what_starts_a_new_session_under_a_rotated_away_identifier(visit, manager, store, action):
    """Who arrives with a rotated-away identifier and asks for a session gets a new, empty one."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    events = Recorder(manager)
    response = await late.ask(f"/do/{action}")
    assert response.status == 200
    assert identifier_in(response.headers) not in (None, visitor.identifier)
    assert ("created", "bind" if action == "bind" else "started") in events.told
    assert await (await late.ask("/read")).json() == {}
    assert await (await visitor.ask("/read")).json() == {"n": 1}


async def test_identifier_is_forgotten_after_a_minute(visit, manager, clock):
    """From then on it is an unknown one: a set starts a session as for anybody."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    clock.advance(60)
    assert identifier_in((await late.ask("/write?n=2")).headers)


async def test_properties_under_a_rotated_away_identifier(visit, manager):
    """There is no identifier to hand out, and no handle; everything reads as empty."""
    seen: list[object] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        with pytest.raises(SessionEndedError) as caught:
            _ = session.identifier
        seen.append(caught.value.reason)
        seen.extend(
            [session.handle, session.is_new, session.owner, session.created_at, session.expires_at, repr(session)]
        )
        await session.save()
        await session.reload()
        return web.Response()

    visitor = await visit(manager, x=handler)
    late = visitor.twin()
    await visitor.ask("/do/rotate")
    assert (await late.ask("/x")).status == 200
    assert seen == ["retired", None, True, None, None, None, "<Session retired>"]


async def test_grace_lets_parallel_requests_go_on(visit, manager, clock):
    """For so long the old identifier reads, writes and renews the session, without a cookie."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate_with_grace")
    clock.advance(29)
    for path in ("/write?m=2", "/do/increment", "/do/renew", "/do/rotate_with_grace"):
        response = await late.ask(path)
        assert (response.status, identifier_in(response.headers)) == (200, None)
    assert await (await visitor.ask("/read")).json() == {"n": 1, "m": 2, "x": 1}
    clock.advance(1)
    assert await (await late.ask("/read")).json() == {}


@pytest.mark.parametrize("action", ["rotate", "bind"])
async def test_change_of_privilege_within_a_grace_takes_the_session_along(visit, manager, action):
    """A login under the old identifier rotates the session where it is now; the identifier in between is dead."""
    visitor = await visit(manager)
    late = visitor.twin()
    await visitor.ask("/do/rotate_with_grace")
    response = await late.ask(f"/do/{action}")
    assert identifier_in(response.headers)
    assert await (await late.ask("/read")).json() == {"n": 1}
    assert await (await visitor.ask("/read")).json() == {}


async def test_session_of_a_slow_request_is_followed_within_the_grace(visit, manager):
    """A request that was in flight during a graceful rotation commits to the successor."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        session = get_session(request)
        await pause.here()
        await session.increment("n")
        await session.set("m", 1)
        return web.Response()

    visitor = await visit(manager, slow=slow)
    response = await pause.during(visitor.twin().ask("/slow"), lambda: visitor.ask("/do/rotate_with_grace"))
    assert (response.status, identifier_in(response.headers)) == (200, None)
    assert await (await visitor.ask("/read")).json() == {"n": 2, "m": 1}


@pytest.mark.cookies
@pytest.mark.parametrize("hooked", [True, False], ids=["setup", "middleware alone"])
@pytest.mark.parametrize("action", ["renew", "rotate", "bind", "destroy", "destroy_for_good"])
async def test_one_session_cookie_whatever_the_handler_did(aiohttp_client, make_manager, memory, hooked, action):
    """A cookie of the session's name that the handler wrote by itself gives way; other cookies stay."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await ACTIONS[action](session)
        await session.save()
        response = web.Response()
        response.set_cookie(COOKIE, "mine")
        response.set_cookie("other", "kept")
        response.headers.add("Set-Cookie", f"{COOKIE}=mine-too")
        response.headers.add("Set-Cookie", "another=kept")
        return response

    manager = make_manager(adapter=memory)
    app = web.Application(middlewares=() if hooked else (session_middleware(manager),))
    if hooked:
        setup(app, manager)
    app.router.add_get("/", handler)
    app.router.add_get("/write", write)
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    identifier = identifier_in((await client.get("/write?n=1")).headers)
    response = await client.get("/", headers=sending(identifier))
    assert "mine" not in str(cookies_of(response.headers))
    identifier_in(response.headers)
    assert len(cookies_of(response.headers, "other")) == len(cookies_of(response.headers, "another")) == 1


async def test_several_changes_give_one_cookie(visit, manager):
    """Only what the client needs to know in the end is sent."""
    visitor = await visit(manager, x=doing("renew", "rotate", "bind", "destroy", "set", "rotate", "destroy_for_good"))
    assert identifier_in((await visitor.ask("/x")).headers) == ""
    visitor = await visit(manager, x=doing("destroy_for_good", "set", "rotate"))
    assert identifier_in((await visitor.ask("/x")).headers)
    assert await (await visitor.ask("/read")).json() == {"x": 1}


@pytest.mark.parametrize("action", COMMIT_POINTS)
async def test_destroy_then_commit_point_starts_afresh(visit, manager, action):
    """After destroy(regenerate=False) a session starts only with what is done to it, empty."""
    visitor = await visit(manager, x=doing("destroy_for_good", action))
    old = visitor.identifier
    response = await visitor.ask("/x")
    if action == "pop":
        assert identifier_in(response.headers) == ""
        return
    assert identifier_in(response.headers) not in (None, "", old)
    assert "n" not in await (await visitor.ask("/read")).json()


async def test_destroy_of_what_this_request_started(visit, manager, store):
    """A session that was only begun, and not stored, leaves no trace and no cookie with regenerate=False."""
    visitor = await visit(manager, new=True, x=doing("set", "destroy_for_good"), y=doing("set", "destroy"))
    assert identifier_in((await visitor.ask("/x")).headers) is None
    assert store.calls == []
    assert identifier_in((await visitor.ask("/y")).headers)
    assert await (await visitor.ask("/read")).json() == {}
