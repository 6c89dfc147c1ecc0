"""The shelf and the basket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web

from aiohttp_spry_session import SESSION

from . import forms, pages
from .auth import current_account, require_account
from .catalog import GOODS, price
from .keys import BASKET, PREFERENCES, VISITS, Currency

__all__ = ["setup"]

MAX_QUANTITY = 99


class Addition(msgspec.Struct):
    """One more of something."""

    product: str


class Quantity(msgspec.Struct):
    """So many of something; 0 takes it out."""

    product: str
    quantity: Annotated[int, msgspec.Meta(ge=0, le=MAX_QUANTITY)]


async def front(request: web.Request) -> web.Response:
    """Show the shelf, and count the visit: ``increment`` runs in the store, so no two visits count as one."""
    session = request[SESSION]
    visits = await session.increment(VISITS)
    account = await current_account(request)
    basket = await session.get(BASKET)
    data = {"visits": visits, "account": account and account.id, "basket": sum(basket.values())}
    return await pages.respond(request, "front.html", data, goods=GOODS.values())


async def show_basket(request: web.Request) -> web.Response:
    """Show what is in the basket."""
    session = request[SESSION]
    basket = await session.get(BASKET)
    currency = (await session.get(PREFERENCES)).currency
    return await pages.respond(request, "basket.html", bill(basket, currency))


async def add(request: web.Request) -> web.Response:
    """Put one more into the basket. Two clicks at the same time add two: ``update`` runs in the store."""
    product = GOODS.get((await forms.read(request, Addition)).product)
    if product is None:
        raise web.HTTPNotFound

    def one_more(basket: dict[str, int]) -> dict[str, int]:
        return {**basket, product.id: min(basket.get(product.id, 0) + 1, MAX_QUANTITY)}

    await request[SESSION].update(BASKET, one_more)
    return await pages.done(request, f"{product.name} is in your basket.", then="/")


async def change(request: web.Request) -> web.Response:
    """Set how many of something are in the basket."""
    wanted = await forms.read(request, Quantity)
    product = GOODS.get(wanted.product)
    if product is None:
        raise web.HTTPNotFound

    def changed(basket: dict[str, int]) -> dict[str, int]:
        others = {name: count for name, count in basket.items() if name != product.id}
        return {**others, product.id: wanted.quantity} if wanted.quantity else others

    await request[SESSION].update(BASKET, changed)
    return await pages.done(request, "Your basket was changed.", then="/basket")


async def order(request: web.Request) -> web.Response:
    """Place the order. Of two clicks on the button exactly one gets the basket: ``pop`` runs in the store."""
    account = await require_account(request)
    session = request[SESSION]
    currency = (await session.get(PREFERENCES)).currency
    basket = await session.pop(BASKET)
    ordered = bill(basket, currency)
    if not ordered["lines"]:
        return await pages.done(request, "There was nothing in the basket.", then="/basket", kind="problem")
    total = price(ordered["total"], currency)
    return await pages.done(request, f"Thank you, {account.name}: your order over {total} is placed.", then="/basket")


def bill(basket: Mapping[str, int], currency: Currency) -> dict[str, Any]:
    """Return lines and total; prices come from the catalogue, never from the client."""
    lines = [
        {
            "product": product.id,
            "name": product.name,
            "quantity": basket[product.id],
            "amount": basket[product.id] * product.prices[currency],
        }
        for product in GOODS.values()
        if product.id in basket
    ]
    return {"currency": currency, "lines": lines, "total": sum(line["amount"] for line in lines)}


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/", front, name="front")
    app.router.add_get("/basket", show_basket, name="basket")
    app.router.add_post("/basket/add", add)
    app.router.add_post("/basket/change", change)
    app.router.add_post("/basket/order", order)
