"""What binding does to the requests of a site, seen by browsers."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace
from yarl import URL

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionEndedError,
    SessionError,
    SessionManager,
    SessionNotLoadedError,
    dbsc,
    get_session,
    setup,
)
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.session import companion_of

from ..support import COOKIE, WatchedAdapter
from ..support import cookies_of as set_cookies
from .conftest import BOUND, MakeSite, Site, cookies_of, pay


async def test_a_sign_in_makes_the_offer(site: Site) -> None:
    """On the response that carries the session's new cookie, a raised redirect, and on no other."""
    device = await site.browse()
    device.registers = False
    for path in ("/write?n=1", "/read", "/do/rotate", "/do/renew"):
        await device.get(path)
    assert device.offer is None
    response = await device.post("/sign-in", allow_redirects=False)
    offer = response.headers["Secure-Session-Registration"]
    assert offer.startswith('(ES256 RS256);path="/.dbsc/register";challenge="')
    assert set_cookies(response.headers)
    for path in ("/do/rotate", "/do/renew", "/read"):
        await device.get(path)
    assert device.offer == offer


async def test_a_sign_in_writes_no_more_than_without(site: Site, store: WatchedAdapter) -> None:
    """One load, and the one write that a bind is; without a session before, the create alone."""
    device = await site.browse()
    device.registers = False
    store.calls.clear()
    await device.post("/sign-in", allow_redirects=False)
    assert store.calls == ["create"]
    store.calls.clear()
    await device.post("/sign-in", allow_redirects=False)
    assert store.calls == ["load", "rotate"]


async def test_checking_costs_no_call(site: Site, store: WatchedAdapter) -> None:
    """(promise 6) A bound session's requests ask the store as often as anybody's: once."""
    device = await site.signed_in()
    store.calls.clear()
    assert await (await device.get("/")).json() == ["ada", "bound"]
    assert store.calls == ["load"]


async def test_the_device_goes_on(make_site: MakeSite) -> None:
    """It proves its key whenever the bound cookie has ended: two rounds the first time, one later."""
    site = await make_site(manager={"rolling": True})
    device = await site.signed_in()
    for _ in range(4):
        site.clock.advance(250)
        assert await (await device.get("/")).json() == ["ada", "bound"]
    assert device.refreshes == [403, 200]
    site.clock.advance(601)
    assert await (await device.get("/")).json() == ["ada", "bound"]
    assert device.refreshes == [403, 200, 200]


async def test_a_stolen_cookie_is_worthless_after_lifetime_and_leeway(site: Site) -> None:
    """Before that it works; afterwards it sees no session, and takes nothing from the owner."""
    device = await site.signed_in()
    async with device.steal() as thief:
        site.clock.advance(609)
        assert await (await thief.get("/")).json() == ["ada", "bound"]
        site.clock.advance(1)
        assert await (await thief.get("/")).json() == [None, "unproven"]
        assert await (await device.get("/")).json() == ["ada", "bound"]
        assert await (await thief.get("/")).json() == [None, "unproven"]


async def test_unproven_requests_are_told_of(site: Site) -> None:
    """``on_rejected`` says why, with the handle and the owner."""
    device = await site.signed_in()
    site.recorder.events.clear()
    async with device.steal() as thief:
        site.clock.advance(700)
        await thief.get("/read")
    (event,) = site.recorder.events
    assert (event.name, event.reason, event.owner) == ("rejected", "unproven", "ada")


@pytest.mark.parametrize("action", ["set", "remove", "clear", "renew"])
async def test_a_plain_write_starts_nothing(site: Site, store: WatchedAdapter, action: str) -> None:
    """(promise 5) It is dropped, and the client's cookie stays as it is: the browser may prove its key yet."""
    device = await site.signed_in()
    site.clock.advance(700)
    device.skip()
    store.calls.clear()
    response = await device.get(f"/do/{action}")
    assert (response.status, response.headers.getall("Set-Cookie", [])) == (200, [])
    assert store.calls == ["load"]
    device.skip(None)
    assert await (await device.get("/")).json() == ["ada", "bound"]


@pytest.mark.parametrize("action", ["update", "increment", "pop", "rotate", "rotate_with_grace"])
async def test_a_commit_point_says_that_there_is_no_session(site: Site, action: str) -> None:
    """409, and the cookie stays; ``pop`` of nothing returns nothing."""
    device = await site.signed_in()
    site.clock.advance(700)
    device.skip()
    response = await device.get(f"/do/{action}")
    assert response.status == 409
    assert response.headers.getall("Set-Cookie", []) == []


async def test_signing_in_again_starts_a_session_of_its_own(site: Site) -> None:
    """Whoever proves who they are is let in; the session that could not be proved lives on for its device."""
    device = await site.signed_in()
    await device.get("/write?n=1")
    async with device.steal() as thief:
        site.clock.advance(700)
        assert (await thief.post("/sign-in?as=eve", allow_redirects=False)).status == 303
        assert await (await thief.get("/read")).json() == {}
        assert await (await thief.get("/")).json() == ["eve", "unbound"]
    assert await (await device.get("/read")).json() == {"n": 1}


@pytest.mark.parametrize("action", ["destroy", "destroy_for_good"])
async def test_signing_out_ends_the_session_unproven_or_not(site: Site, action: str) -> None:
    """A logout always logs out."""
    device = await site.signed_in()
    async with device.steal() as thief:
        site.clock.advance(700)
        assert (await thief.get(f"/do/{action}")).status == 200
    assert await (await device.get("/")).json() == [None, "unbound"]
    assert device.session is None
    assert await site.manager.find("ada") == []


@pytest.mark.parametrize("action", ["destroy", "destroy_for_good"])
async def test_signing_out_removes_the_bound_cookie(site: Site, action: str) -> None:
    """With the attributes that it was set with, or browsers would keep it."""
    device = await site.signed_in()
    response = await device.get(f"/do/{action}")
    (removal,) = set_cookies(response.headers, BOUND)
    assert "Max-Age=0" in removal
    assert removal.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert BOUND not in cookies_of(device)


async def test_rotation_and_renewal_keep_the_binding(site: Site) -> None:
    """The secret stays, so that the bound cookie goes on."""
    device = await site.signed_in()
    for action in ("rotate", "renew", "rotate_with_grace"):
        await device.get(f"/do/{action}")
        assert await (await device.get("/")).json() == ["ada", "bound"]
    site.clock.advance(700)
    assert await (await device.get("/")).json() == ["ada", "bound"]


async def test_signing_in_again_replaces_the_binding(site: Site) -> None:
    """The bound cookie from before is worth nothing any more; the browser has a new one."""
    device = await site.signed_in()
    async with device.steal() as thief:
        old = cookies_of(device)[BOUND]
        await device.post("/sign-in")
        site.clock.advance(20)
        assert cookies_of(device)[BOUND] != old
        assert await (await device.get("/")).json() == ["ada", "bound"]
        assert await (await thief.get("/")).json() == [None, "unbound"]


async def test_until_the_registration_is_done_nobody_is_refused(site: Site) -> None:
    """Requests leave before the bound cookie is there: some seconds long they are let in without it."""
    device = await site.browse()
    device.registers = False
    await device.post("/sign-in", allow_redirects=False)
    async with device.steal() as early:
        assert await (await early.get("/")).json() == ["ada", "unbound"]
        assert device.offer is not None
        path, challenge = device.offer.split('"')[1::2]
        await device.register(path, challenge)
        site.clock.advance(14)
        assert await (await early.get("/")).json() == ["ada", "bound"]
        site.clock.advance(1)
        assert await (await early.get("/")).json() == [None, "unproven"]
    assert await (await device.get("/")).json() == ["ada", "bound"]


async def test_a_browser_without_it_goes_on_as_ever(site: Site) -> None:
    """It has one cookie, and no proof is asked of it."""
    device = await site.browse()
    device.registers = False
    await device.post("/sign-in")
    site.clock.advance(1000)
    assert await (await device.get("/")).json() == ["ada", "unbound"]
    assert set(cookies_of(device)) == {COOKIE}


@pytest.mark.parametrize("how", ["option", "handler", "view"])
async def test_where_it_is_required(make_site: MakeSite, how: str) -> None:
    """A session that is bound to nothing is as an unproven one, once the grace is over."""

    @dbsc.required
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(get_session(request).owner)

    @dbsc.required
    class Show(web.View):
        async def get(self) -> web.Response:
            return web.json_response(get_session(self.request).owner)

    async def plain(request: web.Request) -> web.Response:
        return web.json_response(get_session(request).owner)

    paths: dict[str, Any] = {"who": {"option": plain, "handler": handler, "view": Show}[how]}
    site = await make_site(required=how == "option", paths=paths)
    browser, device = await site.browse(), await site.browse()
    browser.registers = False
    for each in (browser, device):
        await each.post("/sign-in")
        assert await (await each.get("/who")).json() == "ada"
    site.clock.advance(20)
    assert await (await browser.get("/who")).json() is None
    assert await (await device.get("/who")).json() == "ada"
    assert await (await browser.get("/")).json() == ([None, "unproven"] if how == "option" else ["ada", "unbound"])


async def test_required_of_a_session_from_before(make_site: MakeSite, store: WatchedAdapter) -> None:
    """One that was never offered a binding is refused too."""
    site = await make_site(required=True)
    device = await site.browse()
    await device.get("/write?n=1")
    assert await (await device.get("/read")).json() == {"n": 1}
    site.clock.advance(15)
    assert await (await device.get("/read")).json() == {}


@pytest.mark.parametrize("lazy", [False, True])
async def test_a_link_from_another_site_loads_once_more(make_site: MakeSite, lazy: bool) -> None:
    """Browsers refresh nothing for it; the page loads itself again, and then they do."""
    site = await make_site(manager={"lazy": lazy}, paths={"who": _load_and_tell})
    device = await site.signed_in()
    site.clock.advance(700)
    headers = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"}
    response = await device.request("GET", "/who", site="cross-site", headers=headers)
    assert response.headers["Refresh"] == "0"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers.getall("Set-Cookie", []) == []
    assert "ada" not in await response.text()
    assert ("rejected", "unproven") not in site.recorder.told
    assert await (await device.navigate("/who", site="cross-site")).json() == "ada"


async def _load_and_tell(request: web.Request) -> web.Response:
    session = get_session(request)
    await session.load()
    return web.json_response(session.owner)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Sec-Fetch-Site": "same-origin"}),
        ("GET", {"Sec-Fetch-Site": "none"}),
        ("POST", {}),
        ("GET", {"Sec-Fetch-Dest": "image"}),
        ("GET", {"Secure-Session-Skipped": "unreachable"}),
    ],
)
async def test_nothing_else_loads_again(site: Site, method: str, headers: dict[str, str]) -> None:
    """What comes again by itself, and what could not refresh, shows that nobody is there."""
    device = await site.signed_in()
    site.clock.advance(700)
    sent = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site", **headers}
    async with device.steal() as thief:
        response = await thief.request(method, "/", headers=sent)
        assert "Refresh" not in response.headers
        assert await response.json() == [None, "unproven"]


async def test_lazy_and_untouched_asks_nobody(make_site: MakeSite, store: WatchedAdapter) -> None:
    """(promise 6) It uses nothing, so there is nothing to check."""
    site = await make_site(manager={"lazy": True})
    device = await site.browse()
    await device.post("/sign-in", allow_redirects=False)
    site.clock.advance(700)
    device.skip()
    store.calls.clear()
    assert await (await device.get("/untouched")).text() == "fine"
    assert store.calls == []
    assert await (await device.get("/read")).json() == {}
    assert store.calls == ["load"]


async def test_a_device_of_a_lazy_session_is_known_when_it_is_loaded(make_site: MakeSite) -> None:
    """Before, there is nothing to tell."""
    told: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(SessionNotLoadedError):
            dbsc.get_device(request)
        await get_session(request).load()
        told.append(dbsc.get_device(request).state)
        return web.Response()

    site = await make_site(manager={"lazy": True}, paths={"device": handler})
    device = await site.browse()
    await device.post("/sign-in", allow_redirects=False)
    await device.get("/device")
    assert told == ["bound"]


async def test_in_an_outage_nothing_is_known_of_a_device(site: Site, store: WatchedAdapter) -> None:
    """(promise 9) It is neither bound nor unbound: 503."""
    device = await site.signed_in()
    store.fail("load")
    assert (await device.get("/")).status == 503
    store.work()
    assert await (await device.get("/")).json() == ["ada", "bound"]


async def test_what_is_known_of_a_device_follows_the_session(make_site: MakeSite) -> None:
    """After a sign-in there is a new one that is bound to nothing yet, after a sign-out there is none."""
    told: list[dbsc.Device] = []

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        await session.load()
        for step in (session.rotate, lambda: session.bind("ada"), session.destroy):
            told.append(dbsc.get_device(request))
            await step()
        told.append(dbsc.get_device(request))
        return web.Response()

    site = await make_site(paths={"steps": handler})
    device = await site.signed_in()
    await device.get("/steps")
    assert [each.state for each in told] == ["bound", "bound", "unbound", "unbound"]
    assert told[0] == told[1]
    assert told[0].algorithm == "ES256"
    assert told[0].thumbprint is not None
    assert told[0].proved_at == told[0].registered_at
    assert told[2] == dbsc.Device("unbound")


async def test_an_unproven_device_is_unbound_once_it_signed_in(make_site: MakeSite) -> None:
    """The session is another one."""
    told: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        told.append(dbsc.get_device(request).state)
        await get_session(request).bind("ada")
        told.append(dbsc.get_device(request).state)
        return web.Response()

    site = await make_site(paths={"again": handler})
    device = await site.signed_in()
    site.clock.advance(700)
    device.skip()
    device.registers = False
    await device.get("/again")
    assert told == ["unproven", "unbound"]


async def test_a_fresh_proof(site: Site) -> None:
    """The browser is sent back once, proves its key, and comes again with the same body."""
    device = await site.signed_in(alg="RS256")
    site.clock.advance(100)
    assert await (await device.post("/pay", data=b"42")).json() == [True, "42"]
    assert device.refreshes == [200]
    site.clock.advance(30)
    assert await (await device.post("/pay", data=b"43")).json() == [True, "43"]
    assert device.refreshes == [200]
    site.clock.advance(1)
    assert await (await device.post("/pay", data=b"44")).json() == [True, "44"]
    assert device.refreshes == [200, 200]


async def test_an_old_challenge_proves_nothing_of_now(site: Site) -> None:
    """A token that was signed ahead, for a challenge of before, is not taken for a fresh proof."""
    device = await site.signed_in()
    site.clock.advance(600)
    await device.get("/")
    assert device.session is not None
    old = device.session.challenge
    assert old is not None
    site.clock.advance(100)
    response = await device.post("/pay", allow_redirects=False)
    assert response.status == 307
    device.session.challenge = old
    assert (await device.post("/pay", allow_redirects=False)).status == 307


async def test_without_a_binding_something_else_has_to_do(site: Site) -> None:
    """``False``: ask for the password."""
    device = await site.browse()
    device.registers = False
    await device.post("/sign-in")
    assert await (await device.post("/pay", data=b"1")).json() == [False, "1"]


async def test_who_cannot_prove_it_is_not_sent_round(site: Site) -> None:
    """A request that shows no device at all is answered that its session has ended."""
    device = await site.signed_in()
    site.clock.advance(700)
    device.skip()
    assert (await device.post("/pay")).status == 409


async def test_the_way_back_stays_on_this_host(make_site: MakeSite) -> None:
    """Two slashes at the beginning of a path are no host's name."""
    site = await make_site(paths={"{path:.*}pay": pay})
    device = await site.signed_in()
    site.clock.advance(100)
    for path, location in (
        ("/pay?a=%2F&b=", "/pay?a=%2F&b="),
        ("//pay", "/.//pay"),
        ("//evil.org/pay", "/.//evil.org/pay"),
    ):
        url = URL(f"{device.client.make_url('')}".rstrip("/") + path, encoded=True)
        async with device.steal() as client:
            response = await client.get(url, allow_redirects=False)
        assert (response.status, response.headers["Location"]) == (307, location)
        assert URL("https://host").join(URL(location)).host == "host"


async def test_several_managers(aiohttp_client: Any, clock: Any) -> None:
    """Each is bound for itself, and asked for by its key."""
    app = web.Application()
    staff = SessionManager(MemorySessionAdapter(), name="staff", secure=True, clock=clock)
    shop = SessionManager(MemorySessionAdapter(), name="shop", secure=True, clock=clock)
    setup(app, staff, key="staff")
    setup(app, shop)
    dbsc.setup(app, dbsc.DeviceBinding(staff, path="/.staff"))

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(SessionError, match="not bound to devices"):
            dbsc.get_device(request)
        return web.json_response([dbsc.get_device(request, "staff").state, await dbsc.prove(request, 30, key="staff")])

    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    assert await (await client.get("/")).json() == ["unbound", False]


def test_setup_says_what_is_wrong() -> None:
    """Without the manager, over another binding, with another's path, or with anything else."""
    manager, other = SessionManager(secure=True), SessionManager(name="other", secure=True)
    app = web.Application()
    with pytest.raises(ValueError, match="not set up on this application"):
        dbsc.setup(app, dbsc.DeviceBinding(manager))
    setup(app, manager)
    setup(app, other, key="other")
    with pytest.raises(ValueError, match="needs a DeviceBinding, not a SessionManager"):
        dbsc.setup(app, manager)  # type: ignore[arg-type]
    dbsc.setup(app, dbsc.DeviceBinding(manager))
    with pytest.raises(ValueError, match="a device binding already"):
        dbsc.setup(app, dbsc.DeviceBinding(manager, path="/.again"))
    with pytest.raises(ValueError, match=r"the path '/\.dbsc'"):
        dbsc.setup(app, dbsc.DeviceBinding(other))
    dbsc.setup(app, dbsc.DeviceBinding(other, path="/.other"))


def test_a_binding_may_serve_two_applications() -> None:
    """As its manager may."""
    manager = SessionManager(secure=True)
    devices = dbsc.DeviceBinding(manager)
    for app in (web.Application(), web.Application()):
        setup(app, manager)
        dbsc.setup(app, devices)


async def test_a_client_by_header_is_one_without_it(make_site: MakeSite) -> None:
    """It is offered nothing, and has no bound cookie to lose; where a binding is required it is refused."""
    site = await make_site(manager={"header": "X-Session"}, paths={"who": _load_and_tell})
    client = (await site.browse()).client
    response = await client.post("/sign-in", headers={"X-Session": ""}, allow_redirects=False)
    assert "Secure-Session-Registration" not in response.headers
    headers = {"X-Session": response.headers["X-Session"]}
    site.clock.advance(700)
    assert await (await client.get("/", headers=headers)).json() == ["ada", "unbound"]
    await client.get("/do/destroy", headers={**headers, "Cookie": f"{BOUND}=1.2.3"})
    assert await (await client.get("/", headers=headers)).json() == [None, "unbound"]


async def test_a_bound_session_is_not_had_by_header(make_site: MakeSite) -> None:
    """The identifier alone is what a thief has."""
    site = await make_site(manager={"header": "X-Session"})
    device = await site.signed_in()
    headers = {"X-Session": cookies_of(device)[COOKIE]}
    client = (await site.browse()).client
    assert await (await client.get("/", headers=headers)).json() == [None, "unproven"]


async def test_what_a_refusal_leaves_of_a_last_use(make_site: MakeSite) -> None:
    """A request that was refused is no use of the session, and sees none."""

    async def handler(request: web.Request) -> web.Response:
        session = get_session(request)
        with pytest.raises(SessionEndedError, match="unproven"):
            _ = session.identifier
        with pytest.raises(SessionEndedError, match="unproven"):
            await session.reload()
        return web.json_response([session.last_used_at, session.handle, session.is_new])

    site = await make_site(manager={"track_use": 60, "rolling": True}, paths={"use": handler})
    device = await site.signed_in()
    await device.get("/")
    (before,) = await site.manager.find("ada")
    site.clock.advance(700)
    device.skip()
    assert await (await device.get("/use")).json() == [None, None, True]
    assert await site.manager.find("ada") == [before]


async def test_a_sign_in_with_a_damaged_binding_makes_an_offer(make_site: MakeSite) -> None:
    """What cannot be read is replaced."""

    async def spoil(request: web.Request) -> web.Response:
        _, state = companion_of(get_session(request))
        await requests_of(site.manager).driver.amend(state, lambda facts: replace(facts, binding=b"\xc1"))
        await get_session(request).rotate()
        return web.json_response(dbsc.get_device(request).state)

    site = await make_site(paths={"spoil": spoil})
    device = await site.signed_in()
    response = await device.get("/spoil")
    assert await response.json() == "unbound"
    assert set_cookies(response.headers, BOUND)
    await device.post("/sign-in")
    site.clock.advance(20)
    assert await (await device.get("/")).json() == ["ada", "bound"]


async def test_two_sign_ins_in_one_request(make_site: MakeSite) -> None:
    """The response makes the offer of the session that it leaves with."""

    async def twice(request: web.Request) -> web.Response:
        await get_session(request).bind("ada")
        await get_session(request).bind("bob")
        return web.Response()

    site = await make_site(paths={"twice": twice})
    device = await site.browse()
    await device.post("/twice")
    site.clock.advance(20)
    assert await (await device.get("/")).json() == ["bob", "bound"]
