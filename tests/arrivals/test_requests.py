"""What a request costs, whom nobody lets in, and what becomes of cookies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, SessionNotLoadedError, dbsc, get_session
from aiohttp_spry_session.arrivals.claims import claim_of
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing import FakeClock

from ..support import Barrier, Recorder, WatchedAdapter
from .conftest import OLD, VALUES, Site, new_cookie


@pytest.fixture
def asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cookies that the old storage is asked for."""
    asked: list[str] = []
    find = site.source.find

    async def note(value: str, now: float) -> Any:
        asked.append(value)
        return await find(value, now)

    monkeypatch.setattr(site.source, "find", note)
    return asked


async def test_a_live_session_costs_nothing_more(
    site: Site, store: WatchedAdapter, manager: SessionManager, asked: list[str]
) -> None:
    """One load, and the old storage is not asked, whatever old cookie comes along."""
    browser = await site.new(manager)
    ours = new_cookie(await browser.ask("/do/write"))
    old = await site.old()
    store.calls.clear()
    assert await browser.values(f"SPRY_SESSION_ID={ours}", f"{OLD}={old}") == {"n": 1}
    assert store.calls == ["load"]
    assert asked == []


async def test_no_cookie_costs_nothing(
    site: Site, store: WatchedAdapter, manager: SessionManager, asked: list[str]
) -> None:
    """As before."""
    browser = await site.new(manager)
    assert await browser.values() == {}
    assert await browser.values("other=1") == {}
    assert (store.calls, asked) == ([], [])


async def test_what_an_arrival_costs(site: Site, store: WatchedAdapter, manager: SessionManager, kind: str) -> None:
    """Claim, session, and the second look at the cookie before it is sent; who comes again pays two loads."""
    browser = await site.new(manager)
    old = await site.old()
    await browser.ask("/untouched", **{OLD: old})
    assert store.calls == ["load", "create", "rotate", "load", "load"]
    store.calls.clear()
    await browser.ask("/untouched", **{OLD: old})
    assert store.calls == ["load", "load", "load"]


@pytest.mark.parametrize("kind", ["cookie"])
async def test_a_forged_cookie_costs_no_call(site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """The key alone says that it is none."""
    browser = await site.new(manager)
    assert await browser.values(f"{OLD}=forged") == {}
    assert store.calls == []


async def test_lazy(site: Site, store: WatchedAdapter, clock: FakeClock, asked: list[str]) -> None:
    """It arrives when the session is first used, and not before."""

    async def peek(request: web.Request) -> web.Response:
        session = get_session(request)
        with pytest.raises(SessionNotLoadedError):
            _ = session.is_new
        await session.load()
        return web.json_response(session.is_new)

    manager = SessionManager(store, clock=clock, lazy=True)
    browser = await site.new(manager, peek=peek)
    old = await site.old()
    response = await browser.ask("/untouched", **{OLD: old})
    assert new_cookie(response) is new_cookie(response, OLD) is None
    assert (store.calls, asked) == ([], [])
    response = await browser.ask("/peek", **{OLD: old})
    assert await response.json() is False
    assert new_cookie(response)
    assert await browser.values(f"{OLD}={old}") == VALUES


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
async def test_autostart(site: Site, store: WatchedAdapter, clock: FakeClock, lazy: bool) -> None:
    """Who arrives needs no session of their own; who has a dead cookie gets one."""
    manager = SessionManager(store, clock=clock, autostart=True, lazy=lazy)
    recorder = Recorder(manager)
    browser = await site.new(manager)
    if lazy:
        response = await browser.ask("/untouched", **{OLD: await site.old()})
        assert new_cookie(response) is None
        assert (store.calls, recorder.told) == ([], [])
    assert await browser.values(f"{OLD}={await site.old()}") == VALUES
    assert await manager.count() == 1
    response = await browser.ask(**{OLD: "forged"})
    assert new_cookie(response)
    assert (await response.json())["new"] is True
    assert await manager.count() == 2


async def test_a_generator_that_is_awaited(site: Site, store: WatchedAdapter, clock: FakeClock) -> None:
    """It is asked for who has no session, and for nobody who arrives."""
    made = []

    async def generate() -> str:
        made.append(f"made-{len(made)}")
        return made[-1]

    browser = await site.new(SessionManager(store, clock=clock, identifier_generator=generate))
    assert await browser.values(f"{OLD}={await site.old()}") == VALUES
    assert made == []
    assert await browser.values(f"{OLD}=forged") == {}
    assert made == ["made-0"]


async def test_header_clients_do_not_arrive(
    site: Site, store: WatchedAdapter, clock: FakeClock, asked: list[str]
) -> None:
    """A request that has the header is identified by it alone; one that has not is a browser's."""
    manager = SessionManager(store, clock=clock, header="X-Session")
    browser = await site.new(manager)
    old = await site.old()
    response = await browser.client.get("/", headers={"Cookie": f"{OLD}={old}", "X-Session": ""})
    assert (await response.json())["values"] == {}
    assert (store.calls, asked) == ([], [])
    assert await browser.values(f"{OLD}={old}") == VALUES


async def test_beside_dead_cookies_of_ours(site: Site, manager: SessionManager, clock: FakeClock) -> None:
    """One that nobody issued, or that has expired, keeps nobody out."""
    recorder = Recorder(manager)
    browser = await site.new(manager)
    ours = new_cookie(await browser.ask("/do/write"))
    clock.advance(20 * 60)
    for dead in "unknown", str(ours), "no:identifier,":
        response = await browser.ask(**{"SPRY_SESSION_ID": dead, OLD: await site.old()})
        assert (await response.json())["values"] == VALUES
        assert new_cookie(response) not in ("", None, dead)
    assert ("rejected", "unknown") in recorder.told
    assert ("rejected", "malformed") in recorder.told


async def test_beside_a_rotated_away_cookie(site: Site, manager: SessionManager, asked: list[str]) -> None:
    """Another response has the newer cookie (promise 5): nobody arrives meanwhile."""
    browser = await site.new(manager)
    ours = new_cookie(await browser.ask("/do/write"))
    await browser.ask("/do/rotate", SPRY_SESSION_ID=str(ours))
    response = await browser.ask("/do/write", **{"SPRY_SESSION_ID": str(ours), OLD: await site.old()})
    assert new_cookie(response) is new_cookie(response, OLD) is None
    assert asked == []


async def test_beside_two_cookies_of_ours(site: Site, manager: SessionManager, asked: list[str]) -> None:
    """Where several are live none is used, and none arrives."""
    browser = await site.new(manager)
    pairs = [f"SPRY_SESSION_ID={new_cookie(await browser.ask('/do/write'))}" for _ in range(2)]
    assert await browser.values(*pairs, f"{OLD}={await site.old()}") == {}
    assert asked == []


async def test_rotated_while_it_arrives(site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """The response of a request that took its time carries no cookie that another one has replaced (promise 5)."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        reached.set()
        await go_on.wait()
        return web.Response()

    browser = await site.new(manager, slow=slow)
    other = await site.new(manager_twin(manager))
    old = await site.old()
    task = asyncio.create_task(browser.ask("/slow", **{OLD: old}))
    await reached.wait()
    response = await other.ask("/do/rotate", **{OLD: old})
    assert new_cookie(response)
    go_on.set()
    late = await task
    assert new_cookie(late) is new_cookie(late, OLD) is None


def manager_twin(manager: SessionManager) -> SessionManager:
    """Another process on the same store."""
    return SessionManager(manager.adapter, clock=manager.clock)


async def test_within_a_grace(site: Site, manager: SessionManager) -> None:
    """The session goes on under the old cookie, and its newer one is left alone."""

    async def rotate(request: web.Request) -> web.Response:
        await get_session(request).rotate(grace=30)
        return web.Response()

    browser = await site.new(manager, rotate=rotate)
    old = await site.old()
    assert new_cookie(await browser.ask("/rotate", **{OLD: old}))
    response = await browser.ask(**{OLD: old})
    assert (await response.json())["values"] == VALUES
    assert new_cookie(response) is None


@pytest.mark.parametrize(
    ("control", "sent"),
    [("public, max-age=3600", False), ("max-age=60", False), ("Private, max-age=60", True), ("no-store", True)],
)
async def test_beside_what_caches_may_keep(site: Site, manager: SessionManager, control: str, sent: bool) -> None:
    """No secret goes with what a handler without a session lets caches keep; the next response has the cookie."""

    async def style(request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": control})

    async def page(request: web.Request) -> web.Response:
        await get_session(request).get("n")
        return web.Response(headers={"Cache-Control": control})

    browser = await site.new(manager, style=style, page=page)
    old = await site.old()
    response = await browser.ask("/style", **{OLD: old})
    assert response.headers["Cache-Control"] == control
    assert (new_cookie(response) is not None, new_cookie(response, OLD) == "") == (sent, sent)
    response = await browser.ask("/page", **{OLD: old})  # it knows what it does
    assert (response.headers["Cache-Control"], response.headers["Vary"]) == (control, "Cookie")
    assert await browser.values(f"SPRY_SESSION_ID={new_cookie(response)}") == VALUES


async def test_autostart_beside_what_caches_may_keep(site: Site, store: WatchedAdapter, clock: FakeClock) -> None:
    """Whose session has ended is a visitor as any other: the one that is started for them is not lost."""

    async def style(request: web.Request) -> web.Response:
        return web.Response(headers={"Cache-Control": "public"})

    browser = await site.new(SessionManager(store, clock=clock, autostart=True), style=style)
    old = await site.old()
    await browser.ask("/do/destroy", **{OLD: old})
    assert new_cookie(await browser.ask("/style", **{OLD: old}))


async def test_old_cookies_go_with_every_cookie_of_ours(site: Site, manager: SessionManager) -> None:
    """A logout leaves no old cookie that would sign somebody in again; a sign-in likewise."""
    browser = await site.new(manager)
    old = await site.old()
    for path in "/do/bind", "/do/destroy":
        ours = new_cookie(await browser.ask("/do/write"))
        response = await browser.ask(path, **{"SPRY_SESSION_ID": str(ours), OLD: old})
        assert new_cookie(response, OLD) == ""
    response = await browser.ask("/do/write", SPRY_SESSION_ID=str(ours))
    assert new_cookie(response, OLD) is None


@pytest.mark.parametrize("partitioned", [False, True])
async def test_the_attributes_of_a_removal(
    site: Site, store: WatchedAdapter, clock: FakeClock, partitioned: bool
) -> None:
    """Those of the manager's cookie, since the old one had them too, most likely; but it was never partitioned."""
    manager = SessionManager(store, clock=clock, domain="example.org", path="/", secure=True, partitioned=partitioned)
    browser = await site.new(manager)
    response = await browser.ask(**{OLD: await site.old()})
    removal = next(header for header in response.headers.getall("Set-Cookie") if header.startswith(OLD))
    assert removal == (
        f"{OLD}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Domain=example.org; Path=/; Secure; HttpOnly; "
        "SameSite=Lax"
    )


async def test_revoke_all_beside_an_arrival(site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """It ends a claim that is open, and who arrives begins again; one that is done it leaves, so that nobody can."""
    browser = await site.new(manager)
    old = await site.old()
    barrier = Barrier(store, "rotate")
    task = asyncio.create_task(browser.ask(**{OLD: old}))
    await barrier.reached.wait()
    await manager.revoke_all()
    barrier.go_on.set()
    assert (await (await task).json())["values"] == VALUES
    assert await manager.revoke_all() == 1
    assert await browser.values(f"{OLD}={old}") == {}


async def test_revoke_beside_what_is_left_of_an_arrival(
    site: Site, store: WatchedAdapter, manager: SessionManager, kind: str
) -> None:
    """Whoever has an old cookie can name its claim, and may find somebody who revokes what they name."""
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    ours = new_cookie(await browser.ask(**{OLD: old}))
    await browser.send("/do/destroy", f"SPRY_SESSION_ID={ours}")
    assert not await manager.revoke(claim_of(old))
    assert await store.load(claim_of(old)) is not None
    assert await browser.values(f"{OLD}={old}") == {}


async def test_an_end_that_was_cut_short(site: Site, store: WatchedAdapter, manager: SessionManager) -> None:
    """An open claim that somebody was about to end is nobody's, as long as what ends it is there."""
    recorder = Recorder(manager)
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    barrier = Barrier(store, "rotate")
    task = asyncio.create_task(browser.ask(**{OLD: old}))
    await barrier.reached.wait()
    store.before = None
    failed: list[str] = []

    async def fail_destroy(operation: str) -> None:
        if operation == "destroy":
            failed.append(operation)
            raise OSError

    store.before = fail_destroy
    with pytest.raises(Exception, match="destroy"):
        await manager.revoke_all()
    store.work()
    barrier.go_on.set()
    assert (await (await task).json())["values"] == {}
    assert failed
    assert await browser.values(f"{OLD}={old}") == {}
    assert recorder.told == []


async def test_a_claim_that_was_lost(site: Site, store: WatchedAdapter, manager: SessionManager, kind: str) -> None:
    """Its session lives: it is found again, and not made a second time."""
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    site.source.remove = lambda value: asyncio.sleep(0)  # it is still there
    first = new_cookie(await browser.ask("/do/write", **{OLD: old}))
    await store.destroy(claim_of(old))
    response = await browser.ask(**{OLD: old})
    assert new_cookie(response) == first
    assert (await response.json())["values"] == {**VALUES, "n": 1}


async def test_a_claim_is_no_identifier(site: Site, manager: SessionManager) -> None:
    """Nobody who knows the old cookie can end its claim, and so arrive again."""
    browser = await site.new(manager)
    old = (await site.old()).strip('"')
    await browser.ask("/do/destroy", **{OLD: old})
    for value in f"arrival{old}", "arrival\\000" + old, claim_of(old):
        await browser.ask("/do/destroy", SPRY_SESSION_ID=value)
        await browser.ask("/do/bind", SPRY_SESSION_ID=value)
    assert await browser.values(f"{OLD}={old}") == {}


async def test_with_device_binding(site: Site, store: WatchedAdapter, clock: FakeClock) -> None:
    """Both find their place: who arrives is bound to no device, and may be offered that at the next sign-in."""
    manager = SessionManager(store, clock=clock, secure=True)

    async def tell(request: web.Request) -> web.Response:
        session = get_session(request)
        return web.json_response([dbsc.get_device(request).state, await session.keys()])

    browser = await site.new(manager, prepare=lambda app: dbsc.setup(app, dbsc.DeviceBinding(manager)), tell=tell)
    old = await site.old()
    response = await browser.ask("/tell", **{OLD: old})
    assert await response.json() == ["unbound", list(VALUES)]
    response = await browser.ask("/do/bind", SPRY_SESSION_ID=str(new_cookie(response)))
    assert "Secure-Session-Registration" in response.headers


async def test_others_pay_nothing(store: WatchedAdapter, clock: FakeClock) -> None:
    """A manager without arrivals has nobody to ask."""
    requests = requests_of(SessionManager(store, clock=clock))
    assert requests.newcomers is None
    assert requests.driver.begin(()).newcomer is None


async def test_on_a_store_that_begins_anew(make_site: Callable[..., Site], clock: FakeClock) -> None:
    """The claim is the store's: without it a token arrives once more. What is documented is no surprise."""
    site = make_site("cookie")
    old = await site.old()
    for _ in range(2):
        browser = await site.new(SessionManager(MemorySessionAdapter(), clock=clock))
        assert await browser.values(f"{OLD}={old}") == VALUES
