"""Device-bound sessions in a real Chromium that has them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from demo.certificates import Certificates, make_certificates
from tests.demo.process import DemoProcess
from tests.servers.process import absent

from .bound import BoundSite
from .conftest import ARGUMENTS, CHROMIUM, TIMEOUT_MILLISECONDS, missing_playwright
from .conftest import sign_in as visit_as_customer

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

# Software keys, since no test machine has a TPM. Without a quota, but where the quota is what is tested.
FEATURES = "DeviceBoundSessions:RefreshQuota/{quota},EnableBoundSessionCredentialsSoftwareKeysForManualTesting"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def trusting_home(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Path:
    """A home directory whose Chromium trusts the certificates: it asks the NSS database there."""
    certutil = shutil.which("certutil")
    if certutil is None:
        absent("certutil", "libnss3-tools")
    home = tmp_path_factory.mktemp("home")
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "demo", "-i", certificates.authority]):
        subprocess.run([certutil, "-d", f"sql:{database}", *arguments], check=True, capture_output=True)
    return home


Launch = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="session")
async def launch(tmp_path: Path, trusting_home: Path) -> AsyncIterator[Launch]:
    """Start browsers with a profile each."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        missing_playwright()
    if CHROMIUM is None:
        absent("Chromium", "chromium")
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())

        async def launch(url: str, *, quota: bool = False, bound: bool = True) -> BrowserContext:
            features = f"--enable-features={FEATURES.format(quota=str(quota).lower())}"
            context = await playwright.chromium.launch_persistent_context(
                tmp_path / f"profile-{len(os.listdir(tmp_path))}",
                executable_path=CHROMIUM,
                args=[*ARGUMENTS, features if bound else "--disable-features=DeviceBoundSessions"],
                env={**os.environ, "HOME": str(trusting_home)},
                base_url=url,
            )
            context.set_default_timeout(TIMEOUT_MILLISECONDS)
            stack.push_async_callback(context.close)
            return context

        yield launch


async def sign_in(context: BrowserContext, site: BoundSite) -> Page:
    """Sign in, and wait until the device is registered."""
    page = context.pages[0] if context.pages else await context.new_page()
    await page.goto("/")
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#who", has_text="ada").wait_for()
    await site.wait_for("/.dbsc/register")
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path, certificates: Certificates) -> AsyncIterator[BoundSite]:
    async with BoundSite(tmp_path, certificates).running() as site:
        yield site


def expire(context: BrowserContext, site: BoundSite) -> Any:
    """Let the bound cookie end: in the browser at once, and for the site since its clock goes on."""
    site.ahead += 700
    return context.clear_cookies(name="__Host-sid-bound")


async def read(page: Page, path: str = "/ping") -> str:
    """What a script of the page is answered."""
    return await page.evaluate("path => fetch(path).then(response => response.text())", path)


async def curl(site: BoundSite, certificates: Certificates, cookies: list[Any]) -> str:
    """What whoever holds these cookies is answered, without a browser."""
    header = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)
    command = ["curl", "-sS", "--cacert", str(certificates.authority), "-H", f"Cookie: {header}", f"{site.url}/ping"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()


async def test_registration(site: BoundSite, launch: Launch) -> None:
    """A sign-in by a form, answered by a redirect, binds the session without a line in the page."""
    page = await sign_in(await launch(site.url), site)
    await page.reload()
    assert await page.locator("#device").inner_text() == "bound"
    assert await page.locator("#who").inner_text() == "ada"


async def test_refresh(site: BoundSite, launch: Launch) -> None:
    """The first takes two rounds; it brings a challenge along, with which the next takes one."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    for refreshes in ([403, 200], [403, 200, 200], [403, 200, 200, 200]):
        await expire(context, site)
        await page.goto("/")
        assert await page.locator("#device").inner_text() == "bound"
        assert site.refreshes == refreshes


async def test_four_tabs_share_a_refresh(site: BoundSite, launch: Launch) -> None:
    """All of them wait for it, and none is signed out."""
    context = await launch(site.url)
    await sign_in(context, site)
    tabs = [await context.new_page() for _ in range(4)]
    await expire(context, site)
    await asyncio.gather(*(tab.goto("/") for tab in tabs))
    assert [await tab.locator("#who").inner_text() for tab in tabs] == ["ada"] * 4
    assert site.refreshes == [403, 200]


async def test_stolen_cookies(site: BoundSite, launch: Launch, certificates: Certificates) -> None:
    """They work until the bound cookie ends, and then no more, while the browser goes on."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    stolen = await context.cookies()
    assert {cookie["name"] for cookie in stolen} == {"__Host-sid", "__Host-sid-bound"}
    site.ahead += 20  # past the grace, in which either cookie would do
    assert await curl(site, certificates, stolen) == "ada"
    assert await curl(site, certificates, stolen[:1]) == await curl(site, certificates, stolen[1:]) == "nobody"
    await expire(context, site)
    assert await curl(site, certificates, stolen) == "nobody"
    assert await read(page) == "ada"


async def test_sign_out(site: BoundSite, launch: Launch, certificates: Certificates) -> None:
    """Both cookies go, and the browser forgets the device session at the next occasion."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    stolen = await context.cookies()
    await page.get_by_role("button", name="Sign out").click()
    await page.locator("#who", has_text="nobody").wait_for()
    assert await context.cookies() == []
    assert await curl(site, certificates, stolen) == "nobody"
    assert site.refreshes == [200]
    await page.goto("/")
    assert site.refreshes == [200]


async def test_sign_in_again(site: BoundSite, launch: Launch) -> None:
    """The new registration replaces the device session: there is one, and it works."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    await page.get_by_role("button", name="Sign in").click()
    await site.wait_for("/.dbsc/register", count=2)
    await expire(context, site)
    await page.goto("/")
    assert await page.locator("#device").inner_text() == "bound"
    assert site.refreshes == [403, 200]


async def test_a_restarted_server(site: BoundSite, launch: Launch) -> None:
    """Nothing of it is kept in a process."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    await site.stop()
    await expire(context, site)
    await site.start()
    await page.goto("/")
    assert await page.locator("#device").inner_text() == "bound"


async def test_without_it(site: BoundSite, launch: Launch) -> None:
    """A browser that does not know of it goes on as ever."""
    context = await launch(site.url, bound=False)
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#who", has_text="ada").wait_for()
    site.ahead += 700
    await page.goto("/")
    assert await page.locator("#who").inner_text() == "ada"
    assert await page.locator("#device").inner_text() == "unbound"
    assert {seen.path for seen in site.seen} == {"/", "/sign-in"}


async def test_a_fresh_proof(site: BoundSite, launch: Launch) -> None:
    """A form is sent, the browser proves its key at once, and the form is sent again: nobody notices."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    await page.goto("/")
    site.ahead += 60
    await page.get_by_role("button", name="Pay").click()
    assert await page.locator("#paid").inner_text() == "42 True"
    assert [seen.status for seen in site.to("/pay")] == [307, 200]
    assert site.refreshes == [200]


async def test_a_link_from_another_site(site: BoundSite, launch: Launch) -> None:
    """The browser refreshes nothing for it, so the page loads itself again, once, and shows who is there."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    await expire(context, site)
    await page.goto(f"https://127.0.0.1:{site.port}/elsewhere")
    await page.get_by_role("link").click()
    await page.locator("#who", has_text="ada").wait_for()
    assert page.url == f"{site.url}/?from=elsewhere"
    sites = [seen.asked["sec-fetch-site"] for seen in site.to("/")][-2:]
    assert sites == ["cross-site", "same-origin"]
    assert site.refreshes == [403, 200]


async def test_excluded_paths_wait_for_nothing(site: BoundSite, launch: Launch) -> None:
    """A style sheet is no reason to prove a key."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    await expire(context, site)
    assert await read(page, "/static/ping") == "nobody"
    assert site.refreshes == []
    assert await read(page) == "ada"


async def test_quota(site: BoundSite, launch: Launch) -> None:
    """Past it requests go on without a proof: they see no session, and nothing of it ends."""
    context = await launch(site.url, quota=True)
    page = await sign_in(context, site)
    answers = []
    for _ in range(8):
        await expire(context, site)
        answers.append(await read(page))
    assert answers == ["ada"] * 5 + ["nobody"] * 3
    assert site.refreshes == [403] + [200] * 5
    skipped = {seen.asked.get("secure-session-skipped") for seen in site.to("/ping")}
    assert skipped == {None, 'quota_exceeded;session_identifier="__Host-sid-bound"'}
    (cookie,) = [cookie for cookie in await context.cookies() if cookie["name"] == "__Host-sid"]
    assert cookie["value"]


ANSWERS: dict[str, Callable[[], web.Response]] = {
    "200, empty": lambda: web.Response(),
    "200, continue false": lambda: web.json_response({"continue": False}),
    **{str(status): partial(web.Response, status=status) for status in (400, 401, 403, 404, 407, 409, 410, 429)},
    **{str(status): partial(web.Response, status=status) for status in (500, 502, 503)},
    "302 to a page": lambda: web.Response(status=302, headers={"Location": "/"}),
    "403, five challenges": lambda: web.Response(
        status=403, headers={"Secure-Session-Challenge": '"again";id="__Host-sid-bound"'}
    ),
}
"""What a refresh might be answered."""

KEEPS = {"200, empty", "407", "500", "502", "503"}
"""After which of these a browser has its device session still."""


async def test_what_answers_do(site: BoundSite, launch: Launch) -> None:
    """What the documentation says of each, and what the library relies on."""
    context = await launch(site.url)
    page = await sign_in(context, site)
    kept = {}
    for number, (name, answer) in enumerate(ANSWERS.items(), 2):
        await page.get_by_role("button", name="Sign in").click()
        await site.wait_for("/.dbsc/register", count=number)
        await page.goto("/")
        await expire(context, site)
        site.answer_refresh = lambda request, answer=answer: answer()
        await read(page)
        site.answer_refresh = lambda request: None
        before = len(site.refreshes)
        await expire(context, site)
        await read(page)
        kept[name] = len(site.refreshes) > before
    assert {name for name, is_kept in kept.items() if is_kept} == KEEPS


async def test_the_demo(tmp_path: Path, certificates: Certificates, launch: Launch) -> None:
    """Over HTTPS it binds who signs in, says so on the page of devices, and shows what a copy of cookies is worth."""
    folder = tmp_path / "shop"
    shutil.copytree(certificates.authority.parent, folder / "demo-certificates")
    shop = DemoProcess(folder)
    shop.start("--https")
    try:
        context = await launch(f"https://localhost:{shop.port}")
        page = await context.new_page()
        await visit_as_customer(page, then="/devices")
        bound = page.get_by_text("its cookies work nowhere else")
        for _ in range(20):  # the registration is under way
            if await bound.count():
                break
            await page.reload()
        assert await bound.count() == 1
        await page.goto("/steal")
        await page.get_by_role("button", name="Copy my cookies").click()
        await page.locator("[data-thief]", has_text="signed in as Ada").wait_for()
    finally:
        shop.kill()
