"""The shelf, the basket and the preferences."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import WatchedAdapter

from .conftest import Crowd, NewVisitor, Visitor


async def test_counts_every_look_at_the_shelf(visitor: Visitor) -> None:
    """The number goes up by one, and the same cookie is used throughout."""
    assert (await visitor.data("/"))["visits"] == 1
    cookies = visitor.cookies()
    assert (await visitor.data("/"))["visits"] == 2
    assert visitor.cookies() == cookies


async def test_counts_parallel_visits_exactly(visitor: Visitor, adapter: WatchedAdapter) -> None:
    """Twenty looks at once are twenty."""
    await visitor.get("/")
    adapter.after = Crowd(20)
    await asyncio.gather(*(visitor.get("/") for _ in range(20)))
    assert (await visitor.data("/"))["visits"] == 22


async def test_fills_the_basket(visitor: Visitor) -> None:
    """What is added is in the basket, with the price of the catalogue."""
    response = await visitor.post("/basket/add", product="sencha", price="1", follow=True)
    assert "Sencha is in your basket." in await response.text()
    await visitor.post("/basket/add", product="sencha")
    basket = await visitor.data("/basket")
    assert basket["lines"] == [{"product": "sencha", "name": "Sencha", "quantity": 2, "amount": 1880}]
    assert basket["total"] == 1880


async def test_loses_no_parallel_addition(visitor: Visitor, adapter: WatchedAdapter) -> None:
    """Ten clicks at once put ten into the basket."""
    await visitor.get("/")
    adapter.after = Crowd(10)
    await asyncio.gather(*(visitor.post("/basket/add", product="cup") for _ in range(10)))
    assert (await visitor.data("/basket"))["lines"][0]["quantity"] == 10


async def test_changes_and_empties_the_basket(visitor: Visitor) -> None:
    """A quantity can be set, and 0 takes the thing out."""
    await visitor.post("/basket/add", product="sencha")
    await visitor.post("/basket/change", product="sencha", quantity="7")
    assert (await visitor.data("/basket"))["lines"][0]["quantity"] == 7
    await visitor.post("/basket/change", product="sencha", quantity="0")
    assert (await visitor.data("/basket"))["lines"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"product": "sencha", "quantity": "-1"},
        {"product": "sencha", "quantity": "100"},
        {"product": "sencha", "quantity": "many"},
        {"product": "sencha", "quantity": "9" * 400},
        {"product": "sencha"},
        {},
    ],
)
async def test_refuses_a_senseless_quantity(visitor: Visitor, fields: dict[str, str]) -> None:
    """The answer is 400, and the basket stays as it was."""
    await visitor.post("/basket/add", product="sencha")
    assert (await visitor.post("/basket/change", **fields)).status == 400
    assert (await visitor.data("/basket"))["lines"][0]["quantity"] == 1


@pytest.mark.parametrize("path", ["/basket/add", "/basket/change"])
async def test_sells_only_what_is_on_the_shelf(visitor: Visitor, path: str) -> None:
    """An unknown product is 404, and does not get into the session."""
    assert (await visitor.post(path, product="<script>", quantity="1")).status == 404
    assert (await visitor.data("/session"))["handle"] is None


async def test_orders_once(visitor: Visitor, adapter: WatchedAdapter) -> None:
    """Of five clicks on the button at once one places the order."""
    await visitor.sign_in()
    await visitor.post("/basket/add", product="cup")
    adapter.after = Crowd(5)
    answers = await asyncio.gather(*(visitor.send("/basket/order", {}) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert (await visitor.data("/basket"))["lines"] == []


async def test_orders_only_when_signed_in(visitor: Visitor) -> None:
    """Everybody else is asked to sign in, and keeps the basket."""
    await visitor.post("/basket/add", product="cup")
    response = await visitor.post("/basket/order")
    assert (response.status, response.headers["Location"]) == (303, "/sign-in?next=/")
    assert (await visitor.data("/basket"))["total"] == 1100


async def test_shows_a_message_once(visitor: Visitor, adapter: WatchedAdapter) -> None:
    """The second page does not repeat it, and of two at the same time one shows it."""
    await visitor.post("/basket/add", product="cup")
    adapter.after = Crowd(2)
    pages = await asyncio.gather(visitor.get("/basket"), visitor.get("/basket"))
    shown = [("Cup is in your basket." in await page.text()) for page in pages]
    assert sorted(shown) == [False, True]


async def test_keeps_preferences(visitor: Visitor) -> None:
    """They are used at once: the page is dark, and the prices in dollars."""
    response = await visitor.post("/preferences", theme="dark", currency="USD", follow=True)
    assert 'data-theme="dark"' in await response.text()
    assert "$11.90" in await (await visitor.get("/")).text()


@pytest.mark.parametrize("fields", [{"theme": "pink"}, {"currency": "<b>"}, {"theme": "dark", "currency": ""}])
async def test_refuses_other_preferences(visitor: Visitor, fields: dict[str, str]) -> None:
    """The answer is 400, and nothing is kept."""
    assert (await visitor.post("/preferences", **fields)).status == 400
    assert await visitor.data("/preferences") == {"theme": "auto", "currency": "EUR"}


@pytest.mark.parametrize("path", ["/basket", "/preferences", "/session", "/sign-in", "/race", "/stream", "/socket"])
async def test_starts_no_session_for_looking(visitor: Visitor, adapter: WatchedAdapter, path: str) -> None:
    """A page that changes nothing sends no cookie, and asks the store nothing."""
    response = await visitor.get(path)
    assert response.status == 200
    assert "Set-Cookie" not in response.headers
    assert adapter.calls == []


async def test_visitors_have_baskets_of_their_own(new_visitor: NewVisitor) -> None:
    """What one adds the other does not see."""
    first, second = await new_visitor(), await new_visitor()
    await first.post("/basket/add", product="cup")
    assert (await second.data("/basket"))["lines"] == []
