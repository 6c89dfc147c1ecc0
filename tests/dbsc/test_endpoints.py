"""Registration and refresh: what each is answered, what it costs, and what runs beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from msgspec.structs import replace

from aiohttp_spry_session import SessionEvent, get_session
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing.dbsc import SoftwareDevice, SoftwareKey

from ..support import COOKIE, Barrier, WatchedAdapter
from ..support import cookies_of as set_cookies
from .conftest import BOUND, MakeSite, Site, cookies_of
from .test_tokens import HOSTILE

REGISTER, REFRESH = "/.dbsc/register", "/.dbsc/refresh"
ID = {"Sec-Secure-Session-Id": BOUND}


async def offered(site: Site) -> tuple[SoftwareDevice, str]:
    """A browser that has signed in and not registered yet, and the challenge that it has."""
    device = await site.browse()
    device.registers = False
    await device.post("/sign-in", allow_redirects=False)
    assert device.offer is not None
    return device, device.offer.split('"')[3]


async def send(device: SoftwareDevice, path: str, proof: str | None = None, **headers: str) -> ClientResponse:
    """POST to an endpoint with the browser's cookies; whatever comes, it never writes the session's cookie."""
    sent = {**(ID if path == REFRESH else {}), **headers}
    if proof is not None:
        sent["Secure-Session-Response"] = proof
    response = await device.client.post(path, headers=sent)
    assert set_cookies(response.headers) == []  # (promise 5)
    assert response.headers["Cache-Control"] == "no-store"
    return response


@asynccontextmanager
async def held_up(
    store: WatchedAdapter, device: SoftwareDevice, path: str, proof: str
) -> AsyncIterator[asyncio.Task[ClientResponse]]:
    """Send a proof; what the block does comes between the endpoint's look and its write."""
    barrier = Barrier(store, "update")
    sending = asyncio.create_task(send(device, path, proof))
    await barrier.reached.wait()
    store.before = None
    yield sending
    barrier.go_on.set()


def challenge_in(response: ClientResponse) -> str:
    header = response.headers["Secure-Session-Challenge"]
    assert header.endswith(f'";id="{BOUND}"')
    return header.split('"')[1]


async def challenged(device: SoftwareDevice) -> str:
    """What the first round of a refresh gives."""
    response = await send(device, REFRESH)
    assert response.status == 403
    return challenge_in(response)


def key_of(device: SoftwareDevice) -> SoftwareKey:
    assert device.session is not None
    assert device.session.key is not None
    return device.session.key


async def with_proof(site: Site, path: str) -> tuple[SoftwareDevice, str]:
    """A browser that has signed in, and the proof that an endpoint would accept of it."""
    if path == REGISTER:
        device, challenge = await offered(site)
        return device, SoftwareKey().prove(challenge, registering=True)
    device = await site.signed_in()
    return device, key_of(device).prove(await challenged(device))


async def test_a_registration_is_answered_with_instructions(make_site: MakeSite, store: WatchedAdapter) -> None:
    """What the browser is to do from now on, and the first bound cookie; a load and a write."""
    site = await make_site(exclude=("/static", "/img"), path="/.device", lifetime=900)
    told: list[SessionEvent] = []

    async def note(event: SessionEvent) -> None:
        told.append(event)

    site.devices.on_device_bound.append(note)
    device, challenge = await offered(site)
    store.calls.clear()
    response = await send(device, "/.device/register", SoftwareKey().prove(challenge, registering=True))
    assert response.status == 200
    assert store.calls == ["load", "update"]
    assert await response.json() == {
        "session_identifier": BOUND,
        "refresh_url": "/.device/refresh",
        "scope": {
            "include_site": False,
            "scope_specification": [
                {"type": "exclude", "domain": "*", "path": "/static"},
                {"type": "exclude", "domain": "*", "path": "/img"},
            ],
        },
        "credentials": [
            {"type": "cookie", "name": BOUND, "attributes": "Path=/; Secure; HttpOnly; SameSite=Lax"},
        ],
    }
    (cookie,) = set_cookies(response.headers, BOUND)
    assert cookie.endswith("; Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert "Secure-Session-Challenge" not in response.headers
    (event,) = told
    handle = handle_of(cookies_of(device)[COOKIE])
    assert (event.name, event.handle, event.owner, event.reason) == ("device_bound", handle, "ada", "registered")


async def test_a_receiver_that_raises_stops_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The device is bound all the same, and the log has it."""

    async def fail(event: SessionEvent) -> None:
        raise RuntimeError("no")

    site.devices.on_device_bound.append(fail)
    await site.signed_in()
    assert "a receiver of on_device_bound failed" in caplog.text


SENDABLE = {what: proof for what, proof in HOSTILE.items() if proof.isascii() and "\n" not in proof}
"""Those that a header can hold."""


async def test_hostile_registrations(site: Site) -> None:
    """Each is refused, and binds nothing; what is too long for a header does not get that far."""
    device, challenge = await offered(site)
    for what, proof in SENDABLE.items():
        response = await device.client.post(REGISTER, headers={"Secure-Session-Response": proof})
        assert response.status == 400, what
    assert (await send(device, REGISTER, SoftwareKey().prove(challenge, registering=True))).status == 200


async def test_hostile_proofs(site: Site) -> None:
    """Each is answered by another challenge, which the right key can answer still."""
    device = await site.signed_in()
    for what, proof in SENDABLE.items():
        response = await device.client.post(REFRESH, headers={**ID, "Secure-Session-Response": proof})
        if len(proof) > 8000:
            assert response.status == 400, what
            continue
        assert response.status == 403, what
        challenge = challenge_in(response)
    assert (await send(device, REFRESH, key_of(device).prove(challenge))).status == 200


async def test_what_a_registration_needs(site: Site) -> None:
    """A POST, a proof, a session, an offer: each has its answer."""
    device, challenge = await offered(site)
    proof = SoftwareKey().prove(challenge, registering=True)
    response = await device.client.get(REGISTER)
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert (await send(device, REGISTER)).status == 400
    stranger = await site.browse()
    assert (await send(stranger, REGISTER, proof)).status == 403
    await stranger.get("/write?n=1")
    assert (await send(stranger, REGISTER, proof)).status == 403
    other, _ = await offered(site)
    assert (await send(other, REGISTER, proof)).status == 400
    site.clock.advance(900)
    assert (await send(device, REGISTER, proof)).status == 400


async def test_two_proofs_in_one_request_are_none(site: Site) -> None:
    """Nobody says which one counts."""
    device, challenge = await offered(site)
    proof = SoftwareKey().prove(challenge, registering=True)
    headers = [("Secure-Session-Response", proof), ("Secure-Session-Response", proof)]
    assert (await device.client.post(REGISTER, headers=headers)).status == 400


async def test_a_session_is_bound_once(site: Site) -> None:
    """(promise 2) Of parallel registrations one wins; one that comes later is told so too."""
    device, challenge = await offered(site)
    keys = [SoftwareKey() for _ in range(5)]
    responses = await asyncio.gather(*(send(device, REGISTER, key.prove(challenge, registering=True)) for key in keys))
    assert sorted(response.status for response in responses) == [200, 409, 409, 409, 409]
    winner = keys[[response.status for response in responses].index(200)]
    assert (await send(device, REGISTER, winner.prove(challenge, registering=True))).status == 409
    for key in keys:
        status = (await send(device, REFRESH, key.prove(await challenged(device)))).status
        assert status == (200 if key is winner else 403)


async def test_a_refresh_costs_a_load_and_a_write(site: Site, store: WatchedAdapter) -> None:
    """The first round, which asks for a challenge, a load alone."""
    device = await site.signed_in()
    store.calls.clear()
    challenge = await challenged(device)
    assert store.calls == ["load"]
    store.calls.clear()
    response = await send(device, REFRESH, key_of(device).prove(challenge))
    assert (response.status, store.calls) == (200, ["load", "update"])
    (cookie,) = set_cookies(response.headers, BOUND)
    assert "; Max-Age=600; " in cookie
    assert (await send(device, REFRESH, key_of(device).prove(challenge_in(response)))).status == 200


async def test_a_proof_is_good_once(site: Site) -> None:
    """(promise 2) Of one that is sent in parallel, one; and never again."""
    device, proof = await with_proof(site, REFRESH)
    responses = await asyncio.gather(*(send(device, REFRESH, proof) for _ in range(5)))
    assert sorted(response.status for response in responses) == [200, 403, 403, 403, 403]
    assert (await send(device, REFRESH, proof)).status == 403


async def test_what_a_refresh_needs(site: Site) -> None:
    """A POST, and the identifier of its device session, in quotes or without."""
    device = await site.signed_in()
    response = await device.client.get(REFRESH, headers=ID)
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert (await device.client.post(REFRESH)).status == 404
    assert (await device.client.post(REFRESH, headers={"Sec-Secure-Session-Id": "other"})).status == 404
    assert (await device.client.post(REFRESH, headers={"Sec-Secure-Session-Id": f'"{BOUND}"'})).status == 403


@pytest.mark.parametrize("how", ["signed out", "revoked", "expired", "never", "without a binding", "unbound"])
async def test_a_refresh_of_what_is_not_there(site: Site, how: str) -> None:
    """(promise 3) The browser is told to forget its device session, and its bound cookie; nothing comes back."""
    device = await site.signed_in()
    if how == "signed out":
        await device.get("/do/destroy_for_good")
    elif how == "revoked":
        await site.manager.revoke_owner("ada")
    elif how == "expired":
        site.clock.advance(2000)
    elif how == "never":
        device = await site.browse()
    elif how == "without a binding":
        device = await site.browse()
        await device.get("/write?n=1")
    else:
        device, _ = await offered(site)
        site.clock.advance(20)
    response = await send(device, REFRESH)
    assert (response.status, await response.json()) == (200, {"continue": False})
    (cookie,) = set_cookies(response.headers, BOUND)
    assert "Max-Age=0" in cookie
    if how not in ("without a binding", "unbound", "never"):
        assert await site.manager.find("ada") == []


async def test_a_refresh_while_a_registration_is_under_way(site: Site) -> None:
    """Of the device session before: an end that came after the registration's answer would end the new one."""
    device, challenge = await offered(site)
    assert (await send(device, REFRESH)).status == 503
    assert (await send(device, REGISTER, SoftwareKey().prove(challenge, registering=True))).status == 200


@pytest.mark.parametrize("operation", ["load", "update"])
@pytest.mark.parametrize("path", [REGISTER, REFRESH])
async def test_a_store_that_fails(site: Site, store: WatchedAdapter, path: str, operation: str) -> None:
    """(promise 9) 503, and the same again works once the store does: a 4xx would end the device session."""
    device, proof = await with_proof(site, path)
    store.fail(operation)
    response = await send(device, path, proof)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    store.work()
    assert (await send(device, path, proof)).status == 200


@pytest.mark.parametrize("path", [REGISTER, REFRESH])
async def test_an_identifier_that_was_rotated_away(site: Site, path: str) -> None:
    """(promise 9) 503: another response has the newer cookie, and the next attempt comes with it."""
    device, proof = await with_proof(site, path)
    async with device.steal() as late:
        await device.get("/do/rotate")
        headers = {**ID, "Secure-Session-Response": proof}
        assert (await late.post(path, headers=headers)).status == 503
    assert (await send(device, path, proof)).status == 200


@pytest.mark.parametrize("path", [REGISTER, REFRESH])
@pytest.mark.parametrize(("meanwhile", "status"), [("rotate", 503), ("destroy_for_good", None)])
async def test_what_happens_between_look_and_write(
    site: Site, store: WatchedAdapter, path: str, meanwhile: str, status: int | None
) -> None:
    """(promise 3) A session that was rotated or ended meanwhile is not changed, nor brought back."""
    device, proof = await with_proof(site, path)
    async with held_up(store, device, path, proof) as sending, device.steal() as other:
        await other.get(f"/do/{meanwhile}")
    response = await sending
    if status is not None:
        assert response.status == status
        return
    assert response.status == (403 if path == REGISTER else 200)
    if path == REFRESH:
        assert await response.json() == {"continue": False}
    assert await site.manager.find("ada") == []


async def test_other_keys_are_untouched(site: Site, store: WatchedAdapter) -> None:
    """(promise 2) A value that is set while a proof is on its way stays, and the proof is accepted."""
    device, proof = await with_proof(site, REFRESH)
    async with held_up(store, device, REFRESH, proof) as sending, device.steal() as other:
        await other.get("/write?n=1")
    assert (await sending).status == 200
    assert await (await device.get("/read")).json() == {"n": 1}


async def test_a_refresh_is_no_use_of_the_session(make_site: MakeSite) -> None:
    """It renews nothing: a tab that is left open keeps nobody signed in."""
    site = await make_site(manager={"rolling": True})
    device = await site.signed_in()
    (before,) = await site.manager.find("ada")
    site.clock.advance(900)
    assert (await send(device, REFRESH, key_of(device).prove(await challenged(device)))).status == 200
    (after,) = await site.manager.find("ada")
    assert after.expires_at == before.expires_at


async def test_nobody_stands_before_the_endpoints(make_site: MakeSite) -> None:
    """Neither a check that everybody is signed in nor one against forged requests."""

    @web.middleware
    async def refuse(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "POST" and request.path != "/sign-in":
            raise web.HTTPForbidden(text="no token")
        return await handler(request)

    site = await make_site(middlewares=[refuse])
    device = await site.signed_in()
    assert (await device.post("/pay")).status == 403
    assert (await send(device, REFRESH, key_of(device).prove(await challenged(device)))).status == 200


async def test_a_sign_in_whose_outcome_nobody_knows(site: Site, store: WatchedAdapter) -> None:
    """(promise 9) The response that settles it makes the offer; the endpoints find the session by either cookie."""
    device = await site.browse()
    device.registers = False

    async def lose(operation: str) -> None:
        if operation == "create":
            raise OSError("the answer is lost")

    store.after = lose
    assert (await device.post("/sign-in", allow_redirects=False)).status == 503
    assert set(cookies_of(device)) == {f"{COOKIE}-next"}
    assert device.offer is None
    store.work()
    assert (await send(device, REFRESH)).status == 503
    device.registers = True
    assert await (await device.get("/")).json() == ["ada", "unbound"]
    assert await (await device.get("/")).json() == ["ada", "bound"]
    assert set(cookies_of(device)) == {COOKIE, BOUND}


async def test_a_rotation_in_doubt(site: Site, store: WatchedAdapter) -> None:
    """(promise 9) A browser that holds both identifiers can refresh, whichever of them counts."""
    device = await site.signed_in()

    async def lose(operation: str) -> None:
        if operation == "rotate":
            raise TimeoutError

    store.after = lose
    assert (await device.get("/do/rotate")).status == 503
    store.work()
    assert set(cookies_of(device)) == {COOKIE, BOUND, f"{COOKIE}-next"}
    site.clock.advance(700)
    assert await (await device.get("/")).json() == ["ada", "bound"]
    assert device.refreshes == [403, 200]


async def test_several_live_sessions_are_settled_first(site: Site) -> None:
    """(promise 4) Nobody knows which one is meant: 503."""
    one, two = await site.signed_in(), await site.signed_in()
    cookies = f"{COOKIE}={cookies_of(one)[COOKIE]}; {COOKIE}-next={cookies_of(two)[COOKIE]}"
    client = (await site.browse()).client
    response = await client.post(REFRESH, headers={**ID, "Cookie": cookies})
    assert response.status == 503


async def test_the_secret_is_nowhere(site: Site, caplog: pytest.LogCaptureFixture, store: WatchedAdapter) -> None:
    """(promise 10) Neither in an answer nor in the log, at whatever level."""
    caplog.set_level("DEBUG")
    device = await site.signed_in()
    response = await send(device, REFRESH, "a.b.c")
    assert "a device's proof was refused: not base64url" in caplog.text
    assert challenge_in(response) not in caplog.text
    (info,) = await site.manager.find("ada")
    assert info.values == {}


async def test_instructions_are_json_that_nobody_can_break(make_site: MakeSite) -> None:
    """Names of cookies and paths may have any of their characters."""
    site = await make_site(manager={"name": "a'b"}, path="/it's")
    device, challenge = await offered(site)
    response = await send(device, "/it's/register", SoftwareKey().prove(challenge, registering=True))
    assert json.loads(await response.read())["session_identifier"] == "a'b-bound"


async def test_a_list_of_sessions_shows_which_are_bound(site: Site) -> None:
    """And since when."""
    await site.signed_in()
    await offered(site)
    late, early = await site.manager.find("ada")
    assert late.bound_at is None
    assert early.bound_at == early.created_at


async def test_a_session_of_another_owner(make_site: MakeSite) -> None:
    """A sign-in over another user's session is offered a binding of its own."""

    async def who(request: web.Request) -> web.Response:
        return web.json_response(get_session(request).owner)

    site = await make_site(paths={"who": who})
    device = await site.signed_in()
    await device.post("/sign-in?as=bob")
    site.clock.advance(20)
    assert await (await device.get("/who")).json() == "bob"
    assert await (await device.get("/")).json() == ["bob", "bound"]


async def damage(site: Site, device: SoftwareDevice, binding: bytes | None) -> None:
    """Store something else as the binding of the browser's session."""
    driver = requests_of(site.manager).driver
    state = driver.begin([cookies_of(device)[COOKIE]])
    await driver.look_up(state)
    await driver.amend(state, lambda facts: replace(facts, binding=binding))


async def test_a_binding_that_cannot_be_read(site: Site) -> None:
    """Nobody has the session any more, but for ending it; its device session ends as well."""
    device, challenge = await offered(site)
    proof = SoftwareKey().prove(challenge, registering=True)
    bound = await site.signed_in()
    for each in (device, bound):
        await damage(site, each, b"\xc1")
        assert await (await each.get("/")).json() == [None, "unproven"]
    assert (await send(device, REGISTER, proof)).status == 403
    assert await (await send(bound, REFRESH)).json() == {"continue": False}
    assert (await bound.get("/do/destroy_for_good")).status == 200
    assert len(await site.manager.find("ada")) == 1


async def test_a_binding_that_is_replaced_between_look_and_write(site: Site, store: WatchedAdapter) -> None:
    """The proof is for one that is not there any more: 503, and the browser tries again with what it has by then."""
    device, proof = await with_proof(site, REFRESH)
    async with held_up(store, device, REFRESH, proof) as sending:
        await damage(site, device, None)
    assert (await sending).status == 503


async def test_a_session_that_rotates_within_a_grace(site: Site) -> None:
    """The identifier before leads to it still, so that a refresh under way goes on."""
    device, proof = await with_proof(site, REFRESH)
    async with device.steal() as late:
        await device.get("/do/rotate_with_grace")
        response = await late.post(REFRESH, headers={**ID, "Secure-Session-Response": proof})
        assert response.status == 200
        assert set_cookies(response.headers) == []
