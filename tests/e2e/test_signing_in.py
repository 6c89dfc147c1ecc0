"""Kept signed in across a restart of the browser, the password asked for again, and a limit of devices."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from aiohttp_spry_session import SQLiteSessionAdapter
from aiohttp_spry_session.testing import FakeClock
from demo.app import create_app
from demo.settings import Settings
from tests.demo.process import DemoProcess

from .conftest import ARGUMENTS, CHROMIUM, TIMEOUT_MILLISECONDS, OpenDevice, sign_in

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

DAY_SECONDS = 24 * 60 * 60


@pytest.fixture
def clock() -> FakeClock:
    """The shop's clock, which a test can move; it begins where the browser's is."""
    return FakeClock(time.time())


@pytest_asyncio.fixture(loop_scope="session")
async def timed_shop(tmp_path: Path, clock: FakeClock) -> AsyncIterator[str]:
    """The address of a shop in this process, with that clock."""
    adapter = SQLiteSessionAdapter(tmp_path / "sessions.db", expiration=timedelta(hours=8))
    async with TestServer(create_app(Settings(adapter=adapter, clock=clock))) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.mark.parametrize("keep", [True, False])
async def test_a_restart_of_the_browser(shop: DemoProcess, browser: Browser, tmp_path: Path, keep: bool) -> None:
    """With the box the customer is still signed in when the browser is opened again; without it nobody is."""
    kind = browser.browser_type

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Page]:
        profile = tmp_path / "profile"
        context = await kind.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=ARGUMENTS, base_url=shop.url
        )
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        yield context.pages[0]
        await context.close()

    async with opened() as page:
        await sign_in(page, keep=keep)
        (cookie,) = await page.context.cookies()
        days = (cookie["expires"] - time.time()) / DAY_SECONDS
        assert 29.9 < days <= 30 if keep else cookie["expires"] == -1
    async with opened() as page:
        await page.goto("/")
        assert await page.get_by_text("Signed in as Ada").is_visible() is keep


async def test_asks_for_the_password_again(open_device: OpenDevice, timed_shop: str, clock: FakeClock) -> None:
    """The vouchers open after the sign-in, a minute later the password is asked for, and then they open again."""
    page = await open_device(base_url=timed_shop)
    await sign_in(page, then="/vouchers")
    code = page.get_by_text("TEA-7QKX-1843")
    assert await code.is_visible()
    clock.advance(timedelta(minutes=2))
    await page.get_by_role("link", name="Vouchers").click()
    await page.get_by_role("heading", name="Is it you?").wait_for()
    assert await code.count() == 0
    assert await page.get_by_text("Signed in as Ada").is_visible()
    (before,) = await page.context.cookies()
    await page.get_by_label("Password of Ada").fill("analytical engine")
    await page.get_by_role("button", name="Confirm").click()
    await code.wait_for()
    (after,) = await page.context.cookies()
    assert before["value"] != after["value"]
    await page.locator("[data-panel]").get_by_text("rotated (confirm)").wait_for()


async def test_one_device_too_many(open_device: OpenDevice, timed_shop: str, clock: FakeClock) -> None:
    """The sixth sign-in says that the oldest device was signed out, and that device finds out at its next page."""
    pages = []
    for number in range(6):
        page = await open_device(base_url=timed_shop, user_agent=f"Device-{number}")
        await sign_in(page)
        told = page.get_by_text("so the oldest was signed out")
        assert await told.is_visible() is (number == 5)
        pages.append(page)
        clock.advance(1)
    await pages[5].goto("/devices")
    devices = await pages[5].get_by_role("main").get_by_role("heading", level=2).all_inner_texts()
    assert devices == ["Device-5 This device", "Device-4", "Device-3", "Device-2", "Device-1"]
    await pages[0].goto("/")
    await pages[0].get_by_role("link", name="Sign in").wait_for()
    await pages[1].goto("/")
    assert await pages[1].get_by_text("Signed in as Ada").is_visible()


async def test_a_device_says_when_it_was_used(open_device: OpenDevice, timed_shop: str, clock: FakeClock) -> None:
    """The page shows first and last use of another device apart, and no address."""
    laptop = await open_device(base_url=timed_shop)
    phone = await open_device(base_url=timed_shop, user_agent="Phone")
    await sign_in(phone)
    clock.advance(timedelta(hours=2))
    await phone.goto("/basket")
    await sign_in(laptop, then="/devices")
    listed = laptop.get_by_role("main").get_by_role("listitem").filter(has_text="Phone")
    use = "xpath=.//dt[text()='{}']/following-sibling::dd/time"
    first = await listed.locator(use.format("First use")).get_attribute("datetime")
    last = await listed.locator(use.format("Last use")).get_attribute("datetime")
    password = await listed.locator(use.format("Password given")).get_attribute("datetime")
    assert first == password
    assert first is not None
    assert last is not None
    assert first < last
    assert "127.0.0.1" not in await laptop.get_by_role("main").inner_text()
