"""Two browsers of one customer."""

from __future__ import annotations

import pytest

from .conftest import OpenDevice, sign_in

AT_ONCE = 4000
"""Milliseconds in which an open page says that its session has ended: sooner than anybody would look again."""

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_ending_the_other_device_signs_it_out(open_device: OpenDevice) -> None:
    """One lists both and ends the other, whose next page is signed out, while its own stays signed in."""
    laptop, phone = await open_device(), await open_device(user_agent="Phone")
    await sign_in(laptop, name="grace", password="flow-matic")
    await sign_in(phone, name="grace", password="flow-matic")
    await laptop.goto("/devices")
    devices = laptop.get_by_role("main").get_by_role("listitem")
    assert await devices.count() == 2
    assert await laptop.get_by_text("This device").count() == 1
    await devices.filter(has_text="Phone").get_by_role("button", name="End").click()
    await laptop.get_by_role("status").filter(has_text="Phone is signed out.").wait_for()
    assert await devices.count() == 1
    await phone.goto("/")
    await phone.get_by_role("link", name="Sign in").wait_for()
    assert await phone.get_by_text("Signed in as").count() == 0
    await laptop.goto("/")
    assert await laptop.get_by_text("Signed in as Grace").is_visible()


async def test_live_pages_notice_that_their_session_is_ended(open_device: OpenDevice) -> None:
    """A stream follows the basket, a socket answers, and both tell when another device ends the session."""
    laptop, phone = await open_device(), await open_device(user_agent="Phone")
    await sign_in(laptop)
    await sign_in(phone)
    stream = await phone.context.new_page()
    await stream.goto("/stream")
    await stream.get_by_text("Connected", exact=True).wait_for()
    await stream.locator("[data-field=account]", has_text="ada").wait_for()
    await phone.goto("/socket")
    await phone.get_by_text("Connected", exact=True).wait_for()
    await phone.get_by_label("Message").fill("one <b>cup</b>, please")
    await phone.get_by_role("button", name="Send").click()
    await phone.get_by_role("log").get_by_text("ada, message 1: one <b>cup</b>, please").wait_for()
    shelf = await phone.context.new_page()
    await shelf.goto("/")
    await shelf.get_by_role("button", name="Add Cup to the basket").click()
    await stream.locator("[data-field=basket]", has_text="1").wait_for()
    await laptop.goto("/devices")
    await laptop.get_by_role("button", name="End all others").click()
    await phone.get_by_text("Closed by the server: session ended").wait_for(timeout=AT_ONCE)
    await stream.get_by_text("No session: ended").wait_for(timeout=AT_ONCE)
    assert await phone.get_by_role("button", name="Send").is_disabled()


async def test_sign_in_shows_the_rotation(open_device: OpenDevice) -> None:
    """The page shows two different handles, and the cookie in the browser changed."""
    page = await open_device()
    await page.goto("/")
    (before,) = await page.context.cookies()
    await sign_in(page, then="/session")
    (after,) = await page.context.cookies()
    old = await page.locator("[data-before]").inner_text()
    new = await page.locator("[data-after]").inner_text()
    assert old != new
    assert before["value"] != after["value"]
    assert after["value"] not in await page.content()
    assert (after["httpOnly"], after["sameSite"]) == (True, "Lax")
    await page.locator("[data-panel]").get_by_text("rotated (bind)").wait_for()
