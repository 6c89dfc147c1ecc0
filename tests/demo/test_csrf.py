"""Requests that another site makes in the visitor's name."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from .conftest import Crowd, NewVisitor, Visitor

PAGE = {"Accept": "text/html"}
FORM = "application/x-www-form-urlencoded"
POSTS = [
    "/sign-in",
    "/sign-out",
    "/basket/add",
    "/basket/change",
    "/basket/order",
    "/preferences",
    "/session/renew",
    "/session/rotate",
    "/confirm",
    "/devices/end-others",
    "/steal/take",
    "/steal/drop",
    "/devices/0123456789ab/end",
    "/race",
    "/race/0123456789abcdef/hit",
]
FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "HTTPS_OWN"},
    {"Origin": "OWN.evil.example"},
    {},
    {"Content-Type": "text/plain"},
    {"Content-Type": "text/plain; application/json"},
]
OURS: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "OWN"},
    {"Content-Type": "application/json"},
]


async def post(visitor: Visitor, path: str, headers: dict[str, str], **fields: str) -> Any:
    """Post a form with exactly these headers."""
    accept = {} if headers.get("Content-Type") == "application/json" else {"Accept": "text/html"}
    own = f"http://{visitor.raw.host}:{visitor.raw.port}"
    headers = {
        name: value.replace("HTTPS_OWN", own.replace("http", "https")).replace("OWN", own)
        for name, value in headers.items()
    }
    body = (
        "{}" if headers.get("Content-Type") == "application/json" else "&".join(f"{k}={v}" for k, v in fields.items())
    )
    return await visitor.raw.post(
        path, data=body.encode(), headers={"Content-Type": FORM, **accept, **headers}, allow_redirects=False
    )


@pytest.mark.parametrize("path", POSTS)
async def test_every_address_that_changes_something_refuses(visitor: Visitor, adapter: Any, path: str) -> None:
    """A cross-site POST is 403 everywhere, before anything is asked of the store."""
    await visitor.sign_in()
    adapter.calls.clear()
    assert (await post(visitor, path, {"Sec-Fetch-Site": "cross-site"})).status == 403
    assert adapter.calls == []


@pytest.mark.parametrize("headers", FOREIGN)
async def test_refuses_what_is_not_ours(visitor: Visitor, headers: dict[str, str]) -> None:
    """The customer stays signed in, whatever the other site sends."""
    await visitor.sign_in()
    assert (await post(visitor, "/sign-out", headers)).status == 403
    assert (await visitor.data("/session"))["account"] == "ada"


@pytest.mark.parametrize("headers", OURS)
async def test_accepts_what_is_ours(visitor: Visitor, headers: dict[str, str]) -> None:
    """Our own pages, and programs, get through."""
    await visitor.sign_in()
    assert (await post(visitor, "/sign-out", headers)).status in (200, 303)
    assert (await visitor.data("/session"))["account"] is None


async def test_an_old_browser_sends_the_token(new_visitor: NewVisitor) -> None:
    """Without any word of its origin a form needs this session's token; a new one after the sign-in."""
    old = await new_visitor()
    page = await (await old.raw.get("/sign-in", headers=PAGE)).text()
    token = token_in(page)
    signed_in = await post(old, "/sign-in", {}, csrf_token=token, name="ada", password="secret")
    assert signed_in.status == 303
    assert (await post(old, "/sign-out", {}, csrf_token=token)).status == 403
    page = await (await old.raw.get("/session", headers=PAGE)).text()
    assert token_in(page) != token
    assert (await post(old, "/sign-out", {}, csrf_token=token_in(page))).status == 303


async def test_another_sessions_token_is_worth_nothing(new_visitor: NewVisitor) -> None:
    """An attacker's own token does not open the victim's session, nor does an empty or strange one."""
    victim, attacker = await new_visitor(), await new_visitor()
    await victim.sign_in()
    stolen = token_in(await (await attacker.raw.get("/", headers=PAGE)).text())
    await victim.raw.get("/", headers=PAGE)  # now the victim has a token too
    for token in (stolen, "", "%FF%FE", "%F0%9F%8D%B5"):
        assert (await post(victim, "/sign-out", {}, csrf_token=token)).status == 403, token
    assert (await post(victim, "/sign-out", {})).status == 403


async def test_a_current_browser_needs_no_token(visitor: Visitor) -> None:
    """Its pages carry none, so that looking at a form starts no session."""
    response = await visitor.get("/sign-in")
    assert "csrf_token" not in await response.text()
    assert "Set-Cookie" not in response.headers


async def test_a_confirmed_password_changes_the_token(new_visitor: NewVisitor) -> None:
    """Whoever knew the token before the step-up cannot send a form after it."""
    old = await new_visitor()
    await old.sign_in()
    token = token_in(await (await old.raw.get("/confirm", headers=PAGE)).text())
    assert (await post(old, "/confirm", {}, csrf_token=token, password="secret")).status == 303
    assert (await post(old, "/sign-out", {}, csrf_token=token)).status == 403


async def test_two_pages_at_once_get_one_token(new_visitor: NewVisitor, adapter: Any) -> None:
    """Both forms can be sent, whichever page was faster."""
    old = await new_visitor()
    await old.sign_in()
    adapter.after = Crowd(2)
    pages = await asyncio.gather(*[old.raw.get(path, headers=PAGE) for path in ("/basket", "/preferences")])
    first, second = [token_in(await page.text()) for page in pages]
    assert first == second


def token_in(page: str) -> str:
    """Return the token in a page's form."""
    found = re.search(r'name="csrf_token" value="([\w-]{43})"', page)
    assert found is not None
    return found[1]
