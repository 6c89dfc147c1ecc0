"""A real Chromium at the demo."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.demo.process import DemoProcess
from tests.servers.process import absent

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MILLISECONDS = 30_000


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """The demo as a process, for all tests."""
    process = DemoProcess(tmp_path_factory.mktemp("shop"))
    process.start()
    yield process
    process.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium; skipped where it or Playwright is missing, but failed in CI."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        missing_playwright()
    if CHROMIUM is None:
        absent("Chromium", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


def missing_playwright() -> None:
    """Skip for want of Playwright; fail where the environment says ``CI``."""
    message = "Playwright is not installed: pip install 'aiohttp-spry-session[e2e]' provides it"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


OpenDevice = Callable[..., "Awaitable[Page]"]


@pytest_asyncio.fixture(loop_scope="session")
async def open_device(shop: DemoProcess, browser: Browser) -> AsyncIterator[OpenDevice]:
    """Open browsers that share nothing; what any of them reports as wrong on a page fails the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    async def open_one(**options: Any) -> Page:
        context = await browser.new_context(**{"base_url": shop.url, **options})
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        return page

    yield open_one
    for context in contexts:
        await context.close()
    assert problems == []


async def sign_in(
    page: Page, *, name: str = "ada", password: str = "analytical engine", then: str = "/", keep: bool = False
) -> None:
    """Sign in by the form."""
    await page.goto(f"/sign-in?next={then}")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_label("Keep me signed in").set_checked(keep)
    await page.get_by_role("main").get_by_role("button", name="Sign in").click()
    await page.get_by_text("Hello, ").wait_for()
