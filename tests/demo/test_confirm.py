"""The password again, before a page that needs it to be fresh."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiohttp import web

from aiohttp_spry_session.testing import FakeClock
from demo.settings import MANAGER

from .conftest import NewVisitor, Visitor

FRESH = timedelta(minutes=1)
NAME = "demo_session"


async def test_a_fresh_sign_in_opens_the_page(visitor: Visitor, clock: FakeClock) -> None:
    """For as long as the shop says, and no longer."""
    await visitor.sign_in()
    clock.advance(FRESH)
    assert "TEA-7QKX-1843" in await (await visitor.get("/vouchers")).text()
    clock.advance(1)
    response = await visitor.get("/vouchers")
    assert (response.status, response.headers["Location"]) == (303, "/confirm?next=/vouchers")
    assert await (await visitor.get("/vouchers", json=True)).json() == {"error": "Confirm your password first."}


async def test_the_password_opens_it_again(visitor: Visitor, clock: FakeClock) -> None:
    """The visitor comes back to the page, in the same session under a new identifier."""
    await visitor.sign_in()
    await visitor.post("/basket/add", product="cup")
    clock.advance(timedelta(minutes=30))
    before, cookie = await visitor.data("/session"), visitor.cookies()[NAME]
    response = await visitor.post("/confirm", password="secret", next="/vouchers", follow=True)
    after = await visitor.data("/session")
    assert response.url.path == "/vouchers"
    assert "TEA-7QKX-1843" in await response.text()
    assert visitor.cookies()[NAME] != cookie
    assert after["handle"] != before["handle"]
    assert (after["created_at"], after["expires_at"]) == (before["created_at"], before["expires_at"])
    assert after["authenticated_at"] > before["authenticated_at"]
    assert (after["level"], after["rotation"]["why"]) == ("password", "confirmed")
    assert (await visitor.data("/basket"))["total"] == 1100


async def test_the_identifier_from_before_is_dead(visitor: Visitor, new_visitor: NewVisitor, clock: FakeClock) -> None:
    """Whoever copied the cookie before is not signed in any more."""
    await visitor.sign_in()
    copy = await new_visitor(Cookie=f"{NAME}={visitor.cookies()[NAME]}")
    clock.advance(FRESH * 2)
    assert (await visitor.send("/confirm", {"password": "secret"})).status == 200
    assert (await copy.get("/vouchers", json=True)).status == 401
    assert (await visitor.get("/vouchers", json=True)).status == 200


async def test_a_wrong_password_changes_nothing(visitor: Visitor, clock: FakeClock, app: web.Application) -> None:
    """The form comes again with the problem, the customer stays signed in, and the page stays shut."""
    await visitor.sign_in()
    clock.advance(FRESH * 2)
    cookies = visitor.cookies()
    response = await visitor.post("/confirm", password="wrong", next="/vouchers")
    page = await response.text()
    assert response.status == 401
    assert 'role="alert"' in page
    assert 'value="/vouchers"' in page
    assert (await visitor.send("/confirm", {"password": "wrong"})).status == 401
    assert visitor.cookies() == cookies
    assert (await visitor.get("/vouchers", json=True)).status == 401
    assert len(await app[MANAGER].find("ada")) == 1


async def test_only_the_customers_own_password(visitor: Visitor, clock: FakeClock) -> None:
    """The form takes no name: whoever is signed in is asked, and a name that is sent along counts for nothing."""
    await visitor.sign_in("grace")
    clock.advance(FRESH * 2)
    assert (await visitor.send("/confirm", {"password": "secret", "name": "ada", "username": "ada"})).status == 200
    assert (await visitor.data("/vouchers"))["account"] == "grace"


async def test_nobody_signed_in_has_nothing_to_confirm(visitor: Visitor) -> None:
    """Page, form and vouchers lead to the sign-in; a program gets 401."""
    for path in ("/confirm?next=/vouchers", "/vouchers"):
        assert (await visitor.get(path)).headers["Location"].startswith("/sign-in?next=")
    assert (await visitor.post("/confirm", password="secret")).headers["Location"].startswith("/sign-in")
    assert await (await visitor.get("/vouchers", json=True)).json() == {"error": "Sign in first."}
    assert visitor.cookies() == {}


async def test_limits_guessing_together_with_the_sign_in(visitor: Visitor, new_visitor: NewVisitor) -> None:
    """Ten wrong passwords are ten, wherever they were tried."""
    await visitor.sign_in()
    other = await new_visitor()
    for _ in range(5):
        assert (await visitor.send("/confirm", {"password": "x"})).status == 401
        assert (await other.send("/sign-in", {"name": "ada", "password": "x"})).status == 401
    assert (await visitor.send("/confirm", {"password": "secret"})).status == 429


async def test_does_not_lead_elsewhere(visitor: Visitor) -> None:
    """What is not plainly a path of this site becomes the front page."""
    await visitor.sign_in()
    assert 'value="/"' in await (await visitor.get("/confirm?next=//evil.example")).text()
    response = await visitor.post("/confirm", password="secret", next="//evil.example")
    assert response.headers["Location"] == "/"


async def test_refuses_a_broken_body(visitor: Visitor) -> None:
    """The answer is 400, and the session is as it was."""
    await visitor.sign_in()
    bodies: tuple[Any, ...] = ({}, [], {"password": 1}, None)
    for body in bodies:
        assert (await visitor.send("/confirm", body)).status == 400, body
    assert (await visitor.data("/session"))["account"] == "ada"
