"""What every response has: headers, a page that holds together, and an honest error."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import demo

from .conftest import NewVisitor, Visitor

PAGES = [
    "/",
    "/basket",
    "/vouchers",
    "/preferences",
    "/session",
    "/sign-in",
    "/confirm",
    "/devices",
    "/steal",
    "/race",
    "/stream",
    "/socket",
    "/activity",
]
VOID = {"meta", "link", "input", "br", "path", "rect", "circle"}


class Page(HTMLParser):
    """What a test wants to know of a page; raises where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.mark.parametrize("path", [*PAGES, "/nowhere"])
@pytest.mark.parametrize("customer", [None, "ada"])
async def test_pages_hold_together(visitor: Visitor, path: str, customer: str | None) -> None:
    """Every page is well formed, has one heading, landmarks, labels, unique ids, and no inline script or style."""
    if customer:
        await visitor.sign_in(customer)
        await visitor.post("/basket/add", product="cup")
        await visitor.send("/race", {})
    page = Page(await (await visitor.get(path, follow=True)).text())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    labelled = {attributes.get("for") for attributes in page.all("label")}
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert len(ids) == len(set(ids))
    assert {"href": "#content", "class": "skip"} in page.all("a")
    for attributes in page.all("input", "select"):
        visible = attributes.get("type") not in ("hidden", "radio")
        assert not visible or attributes["id"] in labelled
    for attributes in page.all("script"):
        assert (attributes.get("src") or "").startswith("/static/")
    for tag, attributes in page.elements:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/static/style.css", "/stream/events", "/static/../app.py"])
async def test_security_headers(visitor: Visitor, path: str) -> None:
    """Pages, errors, redirects, files and streams all carry them."""
    headers = (await visitor.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


async def test_pages_are_not_kept(visitor: Visitor) -> None:
    """A page about one visitor is in no cache, and says that it depends on the cookie."""
    response = await visitor.get("/")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Cookie"


async def test_assets_are_kept(visitor: Visitor, adapter: Any) -> None:
    """A versioned file never changes; no file asks the store for the session, or varies with it."""
    await visitor.get("/")
    page = Page(await (await visitor.get("/race")).text())
    adapter.calls.clear()
    addresses = [tag.get("href") or tag.get("src") for tag in page.all("link", "script")]
    assert len(addresses) >= 3
    for address in addresses:
        response = await visitor.get(str(address))
        assert response.status == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Vary" not in response.headers
    icon = await visitor.get("/favicon.ico")
    assert (icon.status, icon.content_type) == (200, "image/svg+xml")
    assert (await visitor.get("/static/style.css")).headers["Cache-Control"] == "public, max-age=3600"
    missing = await visitor.get("/static/nothing.css?v=1")
    assert (missing.status, missing.headers["Cache-Control"]) == (404, "no-store")
    assert adapter.calls == []


@pytest.mark.parametrize("path", ["/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/"])
async def test_serves_nothing_else(visitor: Visitor, path: str) -> None:
    """Only what is in the folder is served, and the folder is not listed."""
    assert (await visitor.get(path)).status in (403, 404)


async def test_errors_are_pages_and_json(visitor: Visitor) -> None:
    """A browser gets a page, a program JSON, both the right status."""
    response = await visitor.get("/nowhere")
    assert response.status == 404
    assert "Nothing here" in await response.text()
    assert await (await visitor.get("/nowhere", json=True)).json() == {"error": "There is no page at this address."}
    response = await visitor.post("/race/" + "0" * 16 + "/nowhere")
    assert response.status == 404
    response = await visitor.get("/sign-out")
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    response = await visitor.send("/sign-in", {"name": "x" * 20_000, "password": ""})
    assert response.status == 413


async def test_an_outage_signs_nobody_out(visitor: Visitor, adapter: Any) -> None:
    """While the store fails pages answer 503 and the cookie stays; files and unknown addresses still work."""
    await visitor.sign_in()
    cookies = visitor.cookies()

    async def fail(operation: str) -> None:
        raise OSError("the store is gone")

    adapter.before = fail
    response = await visitor.get("/devices")
    page = await response.text()
    assert response.status == 503
    assert response.headers["Retry-After"] == "5"
    assert "Nobody was signed out" in page
    assert "the store is gone" not in page
    assert (await visitor.get("/static/style.css")).status == 200
    assert (await visitor.get("/nowhere")).status == 404
    adapter.before = None
    assert (await visitor.get("/devices")).status == 200
    assert visitor.cookies() == cookies


async def test_a_session_ended_meanwhile_is_a_conflict(visitor: Visitor, adapter: Any) -> None:
    """A request that is overtaken by a sign-out answers 409 and brings nothing back."""
    await visitor.sign_in()
    reached, released = asyncio.Event(), asyncio.Event()

    async def hold(operation: str) -> None:
        if operation == "update" and not reached.is_set():
            reached.set()
            await released.wait()

    adapter.before = hold
    slow = asyncio.create_task(visitor.post("/basket/add", product="cup"))
    await reached.wait()
    await visitor.post("/sign-out")
    released.set()
    response = await slow
    assert response.status == 409
    assert "Your session has ended" in await response.text()
    assert (await visitor.data("/basket"))["lines"] == []


async def test_a_bug_is_not_shown(
    new_visitor: NewVisitor, app: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is logged, and answered with 500 without a word of it."""

    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("secret detail")

    app.router.add_get("/broken", broken)
    response = await (await new_visitor()).get("/broken")
    assert response.status == 500
    assert "secret detail" not in await response.text()
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "cookie",
    ["demo_session=", "demo_session=" + "A" * 43, "demo_session=\xff", 'demo_session="x"', "demo_session=a; " * 50],
)
async def test_hostile_cookies_are_nobody(new_visitor: NewVisitor, cookie: str) -> None:
    """An identifier that the shop did not issue is never adopted or echoed."""
    visitor = await new_visitor(Cookie=cookie)
    response = await visitor.get("/", json=True)
    assert (await response.json())["visits"] == 1
    assert response.headers["Set-Cookie"].split(";")[0] not in cookie
    assert (await visitor.get("/devices", json=True)).status == 401


class TestBehindHTTPS:
    """With ``--https-behind-proxy``."""

    @pytest.fixture
    def https(self) -> bool:
        """Behind a proxy that speaks HTTPS."""
        return True

    async def test_the_cookie_is_a_host_cookie(self, visitor: Visitor) -> None:
        """It has the prefix and the attributes that browsers then insist on."""
        response = await visitor.get("/")
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith("__Host-session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"

    async def test_the_origin_is_the_one_that_the_browser_sees(self, visitor: Visitor) -> None:
        """The proxy passes the Host header on; the scheme is HTTPS."""
        for scheme, status in (("https", 303), ("http", 403)):
            headers = {"Host": "shop.example", "Origin": f"{scheme}://shop.example", "Accept": "text/html"}
            response = await visitor.raw.post("/sign-out", headers=headers, allow_redirects=False)
            assert response.status == status


def test_templates_post_to_addresses_that_are_tested() -> None:
    """Every form of the demo is one that the test of forged requests knows."""
    from .test_csrf import POSTS

    templates = "".join(path.read_text() for path in (Path(demo.__file__).parent / "templates").glob("*.html"))
    actions = {
        part.split('"')[0].replace("{{ device.id }}", "0123456789ab") for part in templates.split('action="')[1:]
    }
    assert actions <= set(POSTS)
