"""Promise 9: a rotation whose outcome nobody knows logs nobody out, and the next request settles it."""

from __future__ import annotations

import pytest
from aiohttp import web

from aiohttp_spry_session import get_session

from ..support import COOKIE, Carrier, Pause, identifier_in, presenting

NEXT = f"{COOKIE}-next"


class Jar:
    """A browser that keeps both cookies, or an app that keeps the header."""

    def __init__(self, visitor) -> None:
        self.client = visitor.client
        self.cookies = {COOKIE: visitor.identifier}

    async def ask(self, path: str):
        response = await self.client.get(path, headers=presenting(*map(self.cookies.get, (COOKIE, NEXT), ("", ""))))
        for name in (COOKIE, NEXT):
            given = identifier_in(response.headers, name)
            if given == "":
                self.cookies.pop(name, None)
            elif given:
                self.cookies[name] = given
        return response


@pytest.fixture
def lose(store):
    """Lose the answer of a rotation, which landed or not, and of whoever asks what became of it."""

    async def lose(visitor, action: str, *, landed: bool) -> Jar:
        lost = False

        async def strike(operation: str) -> None:
            nonlocal lost
            if operation == "rotate" or (lost and operation == "load"):
                lost = True
                raise OSError("the connection broke")

        before, jar = visitor.identifier, Jar(visitor)
        if landed:
            store.after = strike
        else:
            store.before = strike
        assert (await jar.ask(f"/do/{action}")).status == 503
        store.before = store.after = None
        assert jar.cookies.keys() == {COOKIE, NEXT}
        assert jar.cookies[COOKIE] == before
        return jar

    return lose


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("action", ["rotate", "rotate_with_grace", "bind"])
@pytest.mark.parametrize("lazy", [False, True])
async def test_it_is_settled_by_the_next_request(visit, make_manager, lose, clock, action, landed, lazy):
    """The user stays in, under the one cookie that counts: also when the grace, if there was one, is over."""
    visitor = await visit(make_manager(lazy=lazy))
    before = visitor.identifier
    jar = await lose(visitor, action, landed=landed)
    after = jar.cookies[NEXT]
    assert (await jar.ask("/do/increment")).status == 200
    assert jar.cookies == {COOKIE: after if landed else before}
    clock.advance(31)
    assert await (await jar.ask("/read")).json() == {"n": 1, "x": 1}
    visitor.identifier = before if landed else after
    assert await (await visitor.ask("/read")).json() == {}


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("action", ["rotate", "rotate_with_grace", "bind"])
@pytest.mark.parametrize("logout", ["destroy", "destroy_for_good"])
async def test_a_logout_logs_out(visit, manager, lose, action, landed, logout):
    """Whichever of the two cookies counts, neither leads anywhere afterwards (promise 3)."""
    visitor = await visit(manager)
    jar = await lose(visitor, action, landed=landed)
    identifiers = [*jar.cookies.values()]
    assert (await jar.ask(f"/do/{logout}")).status == 200
    assert NEXT not in jar.cookies
    assert (COOKIE in jar.cookies) == (logout == "destroy")
    for visitor.identifier in identifiers:
        assert await (await visitor.ask("/read")).json() == {}


async def test_a_session_that_was_rotated_on_keeps_its_trail(visit, manager):
    """What is in doubt for a late request may have landed and been rotated since: it is not cleared away."""
    visitor = await visit(manager)
    newest = visitor.twin()
    await newest.ask("/do/rotate_with_grace")
    jar = Jar(visitor)
    jar.cookies[NEXT] = newest.identifier
    await newest.ask("/do/rotate_with_grace")
    response = await jar.ask("/read")
    assert await response.json() == {"n": 1}
    if Carrier.header is None:
        assert jar.cookies == {COOKIE: visitor.identifier}
    else:  # it would replace the newest, which is in another response
        assert identifier_in(response.headers) is None
    assert await (await visitor.ask("/read")).json() == {"n": 1}
    await visitor.ask("/do/destroy_for_good")
    assert await (await newest.ask("/read")).json() == {}


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("meanwhile", ["rotate", "bind", "destroy", "destroy_for_good"])
async def test_settling_replaces_nothing_newer(visit, manager, lose, landed, meanwhile):
    """The request that settles it takes its time, and another one moves the session on: that has the newer cookie."""
    pause = Pause()

    async def slow(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        await pause.here()
        return web.Response()

    visitor = await visit(manager, slow=slow)
    jar = await lose(visitor, "rotate", landed=landed)
    late = Jar(visitor)
    late.cookies = dict(jar.cookies)
    response = await pause.during(late.ask("/slow"), lambda: jar.ask(f"/do/{meanwhile}"))
    assert identifier_in(response.headers) is None
    assert (await (await jar.ask("/read")).json() == {"n": 1}) == (meanwhile in ("rotate", "bind"))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("operations", [(), ("update",)], ids=["all", "update"])
async def test_an_outage_settles_nothing(visit, make_manager, store, operations, lazy):
    """Both cookies stay, until a request reaches the store."""
    jar = Jar(await visit(make_manager(lazy=lazy)))
    jar.cookies[NEXT] = "in-doubt"
    before = dict(jar.cookies)
    store.fail(*operations)
    response = await jar.ask("/read")
    assert {identifier_in(response.headers, name) for name in (COOKIE, NEXT)} == {None}
    if not operations or lazy:
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert jar.cookies == before
    store.work()
    response = await jar.ask("/read")
    assert await response.json() == {"n": 1}
    assert identifier_in(response.headers) in (None, before[COOKIE])
    assert NEXT not in jar.cookies
