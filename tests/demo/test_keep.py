"""Kept signed in, or for as long as the browser is open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from aiohttp_spry_session.testing import FakeClock
from demo.app import is_activity
from demo.recorder import PANEL
from demo.settings import MANAGER

from .conftest import Visitor

HOUR = timedelta(hours=1)
"""The expiration of the store in these tests."""


def attributes(cookie: str) -> list[str]:
    """Return the attributes of a cookie, without its value."""
    return cookie.split("; ")[1:]


async def test_without_the_box_the_cookie_ends_with_the_browser(visitor: Visitor) -> None:
    """It has no Max-Age, before the sign-in as after it."""
    for response in (
        await visitor.get("/"),
        await visitor.post("/sign-in", name="ada", password="secret"),
    ):
        assert attributes(response.headers["Set-Cookie"]) == ["Path=/", "HttpOnly", "SameSite=Lax"]


async def test_with_the_box_it_stays_for_thirty_days(visitor: Visitor, clock: FakeClock) -> None:
    """The cookie and the stored session last as long, whatever the store's own expiration is."""
    response = await visitor.post("/sign-in", name="ada", password="secret", keep="true")
    assert "Max-Age=2592000" in attributes(response.headers["Set-Cookie"])
    clock.advance(timedelta(days=29))
    state = await visitor.data("/session")
    assert state["account"] == "ada"


async def test_each_visit_keeps_on(visitor: Visitor, clock: FakeClock) -> None:
    """Who comes back past half of the time is kept for another thirty days, and for ninety in the whole."""
    await visitor.sign_in(keep=True)
    for _ in range(4):
        clock.advance(timedelta(days=20))
        assert (await visitor.data("/session"))["account"] == "ada"
    clock.advance(timedelta(days=10))
    assert (await visitor.data("/session"))["account"] is None


async def test_it_holds_through_a_new_identifier(visitor: Visitor, clock: FakeClock) -> None:
    """A rotation and a confirmed password leave both the end and the kind of the cookie as they were."""
    await visitor.sign_in(keep=True)
    end = (await visitor.data("/session"))["expires_at"]
    clock.advance(HOUR)
    for path, fields in (("/session/rotate", {}), ("/confirm", {"password": "secret"})):
        response = await visitor.post(path, **fields)
        assert f"Max-Age={2592000 - 3600}" in attributes(response.headers["Set-Cookie"])
        assert (await visitor.data("/session"))["expires_at"] == end


async def test_the_next_sign_in_decides_anew(visitor: Visitor, clock: FakeClock) -> None:
    """Signing in again without the box ends with the browser, and by the store's expiration."""
    await visitor.sign_in(keep=True)
    response = await visitor.post("/sign-in", name="ada", password="secret")
    assert "Max-Age" not in response.headers["Set-Cookie"]
    end = datetime.fromisoformat((await visitor.data("/session"))["expires_at"])
    assert end == datetime.fromtimestamp(clock() + HOUR.total_seconds(), UTC)


async def test_the_box_stays_checked(visitor: Visitor) -> None:
    """A wrong password loses no wish."""
    wrong = {"name": "ada", "password": "wrong"}
    assert ' value="true" checked' in await (await visitor.post("/sign-in", keep="true", **wrong)).text()
    assert ' value="true" checked' not in await (await visitor.post("/sign-in", **wrong)).text()


@pytest.mark.parametrize("keep", ["", "yes", "on", "2"])
async def test_a_strange_box_is_refused(visitor: Visitor, keep: str) -> None:
    """What no page of the shop sends is 400, not a guess."""
    assert (await visitor.post("/sign-in", name="ada", password="secret", keep=keep)).status == 400


async def test_the_panel_is_no_visit(visitor: Visitor, clock: FakeClock) -> None:
    """A script that asks by itself does not put off the end; a page does."""
    await visitor.sign_in()
    clock.advance(HOUR * 0.75)
    await visitor.get(PANEL)
    clock.advance(HOUR * 0.125)
    await visitor.get("/basket")
    clock.advance(HOUR * 0.875)
    await visitor.get(PANEL)
    assert (await visitor.data("/session"))["account"] == "ada"
    clock.advance(HOUR * 0.75)
    await visitor.get(PANEL)
    clock.advance(HOUR * 0.25)
    assert (await visitor.data("/session"))["account"] is None


def test_the_manager_asks_the_shop(app: web.Application) -> None:
    """The shop says what a visit is, and the options can be read back."""
    manager = app[MANAGER]
    assert manager.rolling is is_activity
    assert (manager.persistent, manager.max_sessions, manager.when_full) == (False, 4, "end-oldest")
