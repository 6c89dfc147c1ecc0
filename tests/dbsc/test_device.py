"""The software device: it does what a browser does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from aiohttp_spry_session import SessionManager, dbsc, setup
from aiohttp_spry_session.testing import FakeClock
from aiohttp_spry_session.testing.dbsc import SoftwareDevice, SoftwareKey, sign_in

from .conftest import BOUND, MakeSite, Site, cookies_of, home

if TYPE_CHECKING:
    from aiohttp_spry_session.testing.plugin import MakeDeviceClient

pytest_plugins = ["aiohttp_spry_session.testing.plugin"]


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
async def test_it_registers_and_refreshes(site: Site, alg: Any) -> None:
    """By either algorithm."""
    device = await site.signed_in(alg=alg)
    site.clock.advance(700)
    assert await (await device.get("/")).json() == ["ada", "bound"]
    assert device.refreshes == [403, 200]


async def test_many_requests_share_a_refresh(site: Site) -> None:
    """All of them wait for it."""
    device = await site.signed_in()
    site.clock.advance(700)
    responses = await asyncio.gather(*(device.get("/") for _ in range(8)))
    assert [await response.json() for response in responses] == [["ada", "bound"]] * 8
    assert device.refreshes == [403, 200]


async def test_an_offer_for_other_algorithms_is_left_alone(make_site: MakeSite) -> None:
    """It has no key for them."""
    site = await make_site(algorithms=("RS256",))
    device = await site.browse()
    await device.post("/sign-in")
    assert device.offer is not None
    assert device.session is None


async def test_a_registration_that_fails(site: Site) -> None:
    """There is no device session then."""
    device = await site.browse()
    assert (await device.register("/.dbsc/register", "1.2.3")).status == 403
    assert device.session is None


async def test_excluded_paths_refresh_nothing(make_site: MakeSite) -> None:
    """Those below them neither; but what only begins like one does."""
    site = await make_site(exclude=("/read",), paths={"read/more": home, "reader": home})
    device = await site.signed_in()
    site.clock.advance(700)
    assert await (await device.get("/read/more")).json() == [None, "unproven"]
    assert device.refreshes == []
    assert await (await device.get("/reader")).json() == ["ada", "bound"]


async def test_skipping(site: Site) -> None:
    """Nothing is refreshed, and requests say why, until it is over."""
    device = await site.signed_in()
    site.clock.advance(700)
    device.skip("quota_exceeded")
    response = await device.get("/")
    assert await response.json() == [None, "unproven"]
    skipped = response.request_info.headers["Secure-Session-Skipped"]
    assert skipped == f'quota_exceeded;session_identifier="{BOUND}"'
    assert device.refreshes == []
    device.skip(None)
    response = await device.get("/")
    assert await response.json() == ["ada", "bound"]
    assert "Secure-Session-Skipped" not in response.request_info.headers


async def test_losing_the_key(site: Site) -> None:
    """The device session is gone with it, at the next refresh."""
    device = await site.browse()
    device.lose_key()
    device = await site.signed_in()
    device.lose_key()
    assert await (await device.get("/")).json() == ["ada", "bound"]
    site.clock.advance(700)
    assert await (await device.get("/")).json() == [None, "unproven"]
    assert (device.session, device.refreshes) == (None, [])


async def test_the_fifth_challenge_in_a_row_ends_it(site: Site) -> None:
    """As a key does that is not the one that was registered."""
    device = await site.signed_in()
    assert device.session is not None
    device.session.key = SoftwareKey()
    site.clock.advance(700)
    assert await (await device.get("/")).json() == [None, "unproven"]
    assert device.refreshes == [403] * 5
    assert device.session is None


ANSWERS: dict[str, tuple[Callable[[], web.Response], bool]] = {
    "200, empty": (web.Response, True),
    "200, continue false": (lambda: web.json_response({"continue": False}), False),
    "403": (lambda: web.Response(status=403), False),
    "404": (lambda: web.Response(status=404), False),
    "407": (lambda: web.Response(status=407), True),
    "429": (lambda: web.Response(status=429), False),
    "503": (lambda: web.Response(status=503), True),
    "a challenge for another": (
        lambda: web.Response(status=403, headers={"Secure-Session-Challenge": '"c";id="other"'}),
        False,
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_what_answers_do(make_site: MakeSite, what: str) -> None:
    """The same as to a real browser."""
    answer, keeps = ANSWERS[what]
    answered: list[str] = []

    @web.middleware
    async def instead(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/refresh-me":
            answered.append(what)
            return answer()
        return await handler(request)

    site = await make_site(middlewares=[instead])
    device = await site.signed_in()
    assert device.session is not None
    device.session.refresh_url = "/refresh-me"
    site.clock.advance(700)
    await device.get("/")
    assert answered == [what]
    assert (device.session is not None) is keeps


async def test_redirects(make_site: MakeSite) -> None:
    """They are followed as browsers do: 303 by a GET, 307 with what was sent; the bound cookie is seen to each time."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response([request.method, await request.text(), request.headers.get("X-Test")])

    def to(kind: type[web.HTTPException]) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            raise kind("/echo")

        return handler

    async def round_and_round(request: web.Request) -> web.Response:
        raise web.HTTPFound("/round")

    kinds = {"see": web.HTTPSeeOther, "found": web.HTTPFound, "again": web.HTTPTemporaryRedirect}
    paths = {name: to(kind) for name, kind in kinds.items()}
    site = await make_site(paths={**paths, "echo": echo, "round": round_and_round})
    device = await site.browse()
    sent: dict[str, Any] = {"data": b"body", "headers": {"X-Test": "1"}}
    assert await (await device.post("/see", **sent)).json() == ["GET", "", "1"]
    assert await (await device.post("/found", **sent)).json() == ["GET", "", "1"]
    assert await (await device.post("/again", **sent)).json() == ["POST", "body", "1"]
    assert (await device.get("/see", allow_redirects=False)).status == 303
    with pytest.raises(RuntimeError, match="more than 20 redirects: the last one leads to /round"):
        await device.get("/round")


async def test_navigation(make_site: MakeSite) -> None:
    """A link of another site refreshes nothing at first; a typed address does."""
    site = await make_site(manager={"rolling": True})
    device = await site.signed_in()
    for origin, refreshes in (("cross-site", [403, 200]), ("none", [403, 200, 200])):
        site.clock.advance(601)
        response = await device.navigate("/", site=origin)  # type: ignore[arg-type]
        assert await response.json() == ["ada", "bound"]
        assert device.refreshes == refreshes


async def test_a_thief_has_the_cookies_alone(site: Site) -> None:
    """What the device does later is not shared."""
    device = await site.signed_in()
    async with device.steal() as thief:
        held = {cookie.key: cookie.value for cookie in thief.cookie_jar}
        assert held == cookies_of(device)
        site.clock.advance(700)
        await device.get("/")
        assert {cookie.key: cookie.value for cookie in thief.cookie_jar} == held
        assert cookies_of(device) != held


def test_other_algorithms_are_unknown() -> None:
    """The error says which there are."""
    with pytest.raises(ValueError, match="'ES256' or 'RS256', not 'ES384'"):
        SoftwareKey("ES384")  # type: ignore[arg-type]


def bound_app(clock: FakeClock, *, bound: bool = True) -> web.Application:
    app = web.Application()
    manager = SessionManager(secure=True, clock=clock)
    setup(app, manager)
    if bound:
        dbsc.setup(app, dbsc.DeviceBinding(manager))
    app.router.add_get("/", home)
    return app


async def test_the_fixture(device_client: MakeDeviceClient, clock: FakeClock) -> None:
    """A device that is signed in and bound from the start, with values."""
    device, session = await device_client(bound_app(clock), owner="ada", values={"n": 1}, alg="RS256")
    clock.advance(20)
    assert await (await device.get("/")).json() == ["ada", "bound"]
    assert await session.values() == {"n": 1}
    async with device.steal() as thief:
        clock.advance(700)
        assert await (await thief.get("/")).json() == [None, "unproven"]
    assert await (await device.get("/")).json() == ["ada", "bound"]


async def test_the_fixture_needs_a_binding(device_client: MakeDeviceClient, clock: FakeClock) -> None:
    """The error says what to do."""
    with pytest.raises(LookupError, match="not bound to devices"):
        await device_client(bound_app(clock, bound=False), owner="ada")


async def test_the_fixture_among_several_bindings(device_client: MakeDeviceClient, clock: FakeClock) -> None:
    """The key says which sessions are meant."""
    app = web.Application()
    for name in ("staff", "shop"):
        manager = SessionManager(name=name, secure=True, clock=clock)
        setup(app, manager, key=name)
        dbsc.setup(app, dbsc.DeviceBinding(manager, path=f"/.{name}"))
    device, _ = await device_client(app, owner="ada", key="shop")
    assert device.session is not None
    assert device.session.identifier == "shop-bound"


async def test_signing_in_without_values(aiohttp_client: Any, clock: FakeClock) -> None:
    """An owner is enough."""
    device = SoftwareDevice(await aiohttp_client(bound_app(clock)), clock=clock)
    session = await sign_in(device, owner="ada")
    assert await session.owner() == "ada"
