"""Signing in and out."""

from __future__ import annotations

import pytest
from aiohttp import web

from demo.accounts import CUSTOMERS, DEMO_CREDENTIALS, Accounts, hash_password, matches_hash
from demo.auth import safe_next
from demo.settings import MANAGER
from demo.throttle import Throttle

from .conftest import NewVisitor, Visitor

NAME = "demo_session"


async def test_sign_in_changes_the_identifier_and_keeps_the_basket(visitor: Visitor) -> None:
    """The cookie is another one, both handles are shown, and what was chosen before is still there."""
    await visitor.post("/basket/add", product="cup")
    before, old = (await visitor.data("/session"))["handle"], visitor.cookies()[NAME]
    response = await visitor.post("/sign-in", name="Ada ", password="secret", next="/session", follow=True)
    page = await response.text()
    after = (await visitor.data("/session"))["handle"]
    assert response.url.path == "/session"
    assert visitor.cookies()[NAME] != old
    assert before != after
    assert before in page
    assert after in page
    assert (await visitor.data("/basket"))["total"] == 1100


async def test_the_identifier_from_before_is_dead(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """Whoever knew, or planted, it is not signed in with it (session fixation)."""
    await visitor.get("/")
    planted = visitor.cookies()[NAME]
    await visitor.sign_in()
    thief = await new_visitor(Cookie=f"{NAME}={planted}")
    assert (await thief.get("/devices", json=True)).status == 401
    assert (await visitor.get("/devices", json=True)).status == 200


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("nobody", "secret"), ("", ""), ("ada", "x" * 5000), ("ada\ud800", "\0")]
)
async def test_says_not_what_was_wrong(visitor: Visitor, name: str, password: str) -> None:
    """An unknown name and a wrong password get the same answer, and no session."""
    response = await visitor.send("/sign-in", {"name": name, "password": password})
    assert response.status in (400, 401)
    if response.status == 401:
        assert await response.json() == {"error": "The name or the password is wrong."}
    assert visitor.cookies() == {}


async def test_shows_the_form_again(visitor: Visitor) -> None:
    """The name stays, escaped; the password does not; the problem is announced."""
    response = await visitor.post("/sign-in", name='"><script>', password="hunter2", next="/basket")
    page = await response.text()
    assert response.status == 401
    assert 'role="alert"' in page
    assert "&#34;&gt;&lt;script&gt;" in page
    assert "hunter2" not in page
    assert 'value="/basket"' in page


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": 1}', b'{"name": "ada"}', b"\xff", b"null"])
async def test_refuses_a_broken_body(visitor: Visitor, body: bytes) -> None:
    """The answer is 400, whatever is wrong with the JSON."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    assert (await visitor.raw.post("/sign-in", data=body, headers=headers)).status == 400


async def test_refuses_broken_forms(visitor: Visitor) -> None:
    """An unknown character set, or a multipart body that is none, is 400."""
    for content_type in ("application/x-www-form-urlencoded; charset=nonsense", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": content_type, "Sec-Fetch-Site": "same-origin"}
        response = await visitor.raw.post("/sign-in", data=b"name=\xff", headers=headers)
        assert response.status == 400, content_type


async def test_sign_out_ends_the_session_in_the_store(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """A copy of the cookie is worth nothing afterwards."""
    await visitor.sign_in()
    copy = await new_visitor(Cookie=f"{NAME}={visitor.cookies()[NAME]}")
    assert (await copy.get("/devices", json=True)).status == 200
    page = await (await visitor.post("/sign-out", follow=True)).text()
    assert "You are signed out." in page
    assert (await copy.get("/devices", json=True)).status == 401
    assert (await visitor.data("/session"))["account"] is None


async def test_the_next_customer_does_not_get_the_basket(visitor: Visitor) -> None:
    """Signing in as somebody else starts from nothing."""
    await visitor.sign_in("ada")
    await visitor.post("/basket/add", product="cup")
    await visitor.sign_in("grace")
    assert (await visitor.data("/basket"))["lines"] == []
    assert (await visitor.data("/session"))["account"] == "grace"


async def test_signing_in_again_stays_one_session(visitor: Visitor, app: web.Application) -> None:
    """The same browser is one device, however often its customer signs in."""
    for _ in range(3):
        await visitor.sign_in()
    assert len(await app[MANAGER].find("ada")) == 1


async def test_goes_on_to_the_page_that_was_asked_for(visitor: Visitor) -> None:
    """A page that needs a customer comes back after the sign-in; a second look at the form skips it."""
    response = await visitor.get("/devices")
    assert response.headers["Location"] == "/sign-in?next=/devices"
    response = await visitor.post("/sign-in", name="ada", password="secret", next="/devices")
    assert (response.status, response.headers["Location"]) == (303, "/devices")
    assert (await visitor.get("/sign-in?next=/devices")).headers["Location"] == "/devices"


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        " /devices",
        "/devices\r\nSet-Cookie: a=b",
        "/\N{FULLWIDTH SOLIDUS}evil.example",
    ],
)
async def test_does_not_lead_elsewhere(visitor: Visitor, target: str) -> None:
    """What is not plainly a path of this site becomes the front page."""
    assert safe_next(target) == "/"
    response = await visitor.post("/sign-in", name="ada", password="secret", next=target)
    assert (response.status, response.headers["Location"]) == (303, "/")


def test_leads_on_within_the_site() -> None:
    """Paths and queries pass as they are."""
    assert [safe_next(target) for target in ("/", "/devices", "/basket?a=b&c=//d")] == [
        "/",
        "/devices",
        "/basket?a=b&c=//d",
    ]


async def test_limits_guessing(visitor: Visitor) -> None:
    """After ten wrong passwords even the right one has to wait; other names do not."""
    for _ in range(10):
        assert (await visitor.send("/sign-in", {"name": "ada", "password": "x"})).status == 401
    assert (await visitor.send("/sign-in", {"name": "ada", "password": "secret"})).status == 429
    await visitor.sign_in("grace")


def test_the_throttle_forgets() -> None:
    """Old failures, a success and too many keys free a key again."""
    now = 1000.0
    throttle = Throttle(failures=2, seconds=60, keys=2, clock=lambda: now)
    for key in ("a", "a", "b", "b"):
        throttle.record(key)
    assert throttle.is_exhausted("a")
    throttle.forget("b")
    assert not throttle.is_exhausted("b")
    now += 60
    assert not throttle.is_exhausted("a")
    for key in ("a", "c", "c", "d"):
        throttle.record(key)
    assert not throttle.is_exhausted("a")
    assert throttle.is_exhausted("c")


async def test_the_passwords_on_the_page_are_right() -> None:
    """Both customers can sign in as the page says, and not with each other's password."""
    accounts = Accounts(CUSTOMERS)
    (ada, engine), (grace, flow) = DEMO_CREDENTIALS
    assert await accounts.verify(ada, engine) == CUSTOMERS["ada"]
    assert await accounts.verify(grace, flow) == CUSTOMERS["grace"]
    assert await accounts.verify(ada, flow) is None


def test_hashes_with_a_salt() -> None:
    """The same password never has the same hash, and each of them fits."""
    first, second = hash_password("tea"), hash_password("tea")
    assert first != second
    assert matches_hash("tea", first)
    assert not matches_hash("coffee", second)
