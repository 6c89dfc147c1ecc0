"""Takes the documentation's pictures of the demo: ``make screenshots``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import async_playwright

from tests.demo.process import ROOT, DemoProcess

from .conftest import ARGUMENTS, CHROMIUM, sign_in

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

PICTURES = ROOT / "docs" / "_static"
SIZE = {"width": 1040, "height": 860}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"


async def main() -> None:
    """Start a demo of its own, and take the pictures."""
    if CHROMIUM is None:
        sys.exit("Chromium is not installed: apt-get install chromium (or the like) provides it")
    with tempfile.TemporaryDirectory() as folder:
        shop = DemoProcess(Path(folder))
        shop.start()
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
                await take_all(browser, shop.url)
                await browser.close()
        finally:
            shop.kill()


async def take_all(browser: Browser, url: str) -> None:
    """Take the race lab by day, and the devices by night."""
    laptop = await open_page(browser, url, "light", FIREFOX)
    await laptop.goto("/")
    await laptop.get_by_role("button", name="Add Sencha").click()
    await laptop.get_by_text("Sencha is in your basket.").wait_for()
    await sign_in(laptop, then="/race")
    await laptop.get_by_role("button", name="Fire").click()
    await laptop.locator("[data-panel]").get_by_text("/hit").wait_for()
    await take(laptop, "demo-race.png")
    phone = await open_page(browser, url, "dark", PHONE)
    await phone.goto("/")
    await sign_in(phone, then="/devices")
    await phone.locator("[data-panel]").get_by_text("GET /devices").wait_for()
    await take(phone, "demo-devices.png")


async def open_page(browser: Browser, url: str, scheme: str, user_agent: str) -> Page:
    """Open a browser that shares nothing with the others."""
    context = await browser.new_context(
        base_url=url,
        color_scheme=scheme,  # type: ignore[arg-type]
        user_agent=user_agent,
        viewport=SIZE,  # type: ignore[arg-type]
    )
    return await context.new_page()


async def take(page: Page, name: str) -> None:
    """Take one picture, once the greeting is gone and the panel is up to date."""
    async with page.expect_response("**/activity/panel"):
        await page.reload()
    await page.mouse.move(0, 0)
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / name)
    sys.stdout.write(f"{PICTURES / name}\n")


if __name__ == "__main__":
    asyncio.run(main())
