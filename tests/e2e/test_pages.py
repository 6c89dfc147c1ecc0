"""The demo as people meet it: by keyboard, on a phone, without scripts, in the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import OpenDevice, sign_in

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

PAGES = (
    "/",
    "/basket",
    "/vouchers",
    "/preferences",
    "/session",
    "/confirm",
    "/devices",
    "/steal",
    "/race",
    "/stream",
    "/socket",
    "/activity",
)
PHONE = {"width": 320, "height": 640}
SCROLLED = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


async def test_the_race_is_exact(open_device: OpenDevice) -> None:
    """One button, fifty requests: the page shows 50, and fewer where the last write wins, without a reload."""
    page = await open_device()
    await page.goto("/race")
    await page.evaluate("window.same = true")
    await page.get_by_role("button", name="Fire 50 requests").click()
    assert await page.locator("[data-counted]").inner_text() == "50"
    assert 1 <= int(await page.locator("[data-naive]").inner_text()) < 50
    assert await page.evaluate("window.same")
    await page.locator("[data-panel]").get_by_text("\N{MULTIPLICATION SIGN} 50").first.wait_for()


async def test_by_keyboard_alone(open_device: OpenDevice) -> None:
    """Skip link, basket, sign-in and sign-out, with Tab, Enter and typing; the focus can always be seen."""
    page = await open_device()
    await page.goto("/")
    await page.keyboard.press("Tab")
    assert await focused(page) == "Skip to the content"
    await page.keyboard.press("Enter")
    await tab_to(page, "Add Sencha to the basket")
    await page.keyboard.press("Enter")
    await page.get_by_text("Sencha is in your basket.").wait_for()
    await tab_to(page, "Sign in")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Sign in").wait_for()
    await tab_to(page, "name")
    await page.keyboard.type("ada")
    await page.keyboard.press("Tab")
    await page.keyboard.type("analytical engine")
    await page.keyboard.press("Enter")
    await page.get_by_text("Hello, Ada.").wait_for()
    await tab_to(page, "Sign out")
    await page.keyboard.press("Space")
    await page.get_by_text("You are signed out.").wait_for()


async def test_without_javascript(open_device: OpenDevice) -> None:
    """Everything but the live pages works, and those say what they need."""
    page = await open_device(java_script_enabled=False)
    await page.goto("/")
    await page.get_by_role("button", name="Add Assam to the basket").click()
    await page.get_by_text("Assam is in your basket.").wait_for()
    await sign_in(page, then="/basket")
    await page.get_by_label("How many of Assam").fill("3")
    await page.get_by_role("button", name="Change the quantity of Assam").click()
    await page.get_by_role("cell", name="€21.60").first.wait_for()
    await page.get_by_role("button", name="Place the order").click()
    await page.get_by_text("your order over €21.60 is placed.").wait_for()
    await page.goto("/race")
    await page.get_by_role("button", name="Fire 50 requests").click()
    assert await page.locator("[data-counted]").inner_text() == "50"
    assert "/race" in await page.locator("[data-panel]").inner_text()
    await page.goto("/socket")
    assert await page.locator("noscript p").is_visible()


async def test_on_a_phone(open_device: OpenDevice) -> None:
    """No page scrolls sideways at 320 pixels, and every control is large enough for a finger."""
    page = await open_device(viewport=PHONE, has_touch=True)
    await page.goto("/")
    await page.get_by_role("button", name="Add Oolong to the basket").tap()
    await page.get_by_text("Oolong is in your basket.").wait_for()
    await sign_in(page)
    await page.goto("/race")
    await page.get_by_role("button", name="Fire").tap()
    await page.locator("[data-counted]").wait_for()
    for path in PAGES:
        await page.goto(path)
        assert not await page.evaluate(SCROLLED), path
        assert await small_targets(page) == [], path


async def test_in_the_dark(open_device: OpenDevice) -> None:
    """The device's wish is followed, until the visitor chooses otherwise."""
    page = await open_device(color_scheme="dark")
    await page.goto("/preferences")
    dark = await page.evaluate(BACKGROUND)
    await page.get_by_label("Light").check()
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Your preferences were saved.").wait_for()
    light = await page.evaluate(BACKGROUND)
    assert brightness(dark) < 60 < 200 < brightness(light)
    bright = await open_device(color_scheme="light")
    await bright.goto("/")
    assert await bright.evaluate(BACKGROUND) == light


async def test_every_text_can_be_read(open_device: OpenDevice) -> None:
    """Text has a contrast of 4.5 : 1 or more on every page, light and dark (WCAG 2.2, 1.4.3)."""
    for scheme in ("light", "dark"):
        page = await open_device(color_scheme=scheme)
        await page.goto("/")
        await page.get_by_role("button", name="Add Cup to the basket").click()
        await page.get_by_text("Cup is in your basket.").wait_for()
        await sign_in(page)
        await page.goto("/race")
        await page.get_by_role("button", name="Fire").click()
        await page.locator("[data-counted]").wait_for()
        for path in PAGES:
            await page.goto(path)
            assert await page.evaluate(LOW_CONTRAST) == [], (scheme, path)


async def focused(page: Page) -> str:
    """Return the accessible text of what has the focus, and check that the focus is drawn."""
    text, outline = await page.evaluate(
        "[document.activeElement.innerText || document.activeElement.textContent || document.activeElement.name,"
        " getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert outline == "solid"
    return " ".join(str(text).split())


async def tab_to(page: Page, text: str) -> None:
    """Press Tab until something has the focus."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await focused(page) == text:
            return
    raise AssertionError(f"{text!r} cannot be reached with the Tab key")


async def small_targets(page: Page) -> list[str]:
    """Return the visible controls that are lower than a finger wants (WCAG 2.2, 2.5.8, asks for 24 pixels)."""
    return await page.evaluate(
        """() => [...document.querySelectorAll("button, nav a, .button, input:not([type=hidden]), select")]
            .filter(element => element.checkVisibility())
            .filter(element => (element.closest("label") ?? element).getBoundingClientRect().height < 36)
            .map(element => element.outerHTML)"""
    )


def brightness(color: str) -> float:
    """Return the mean of a color's three parts."""
    parts = [float(part) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(parts) / 3


LOW_CONTRAST = """() => {
    const channel = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parts = color => color.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = element => {
        for (let node = element; node; node = node.parentElement) {
            const color = parts(getComputedStyle(node).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const element of document.body.querySelectorAll("*")) {
        const direct = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!direct || !element.checkVisibility() || element.closest("noscript, svg")) continue;
        const [dark, light] = [parts(getComputedStyle(element).color), behind(element)]
            .map(luminance).sort((a, b) => a - b);
        if ((light + 0.05) / (dark + 0.05) < 4.5) low.push(element.outerHTML);
    }
    return low;
}"""
