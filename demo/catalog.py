"""What the shop sells."""

from __future__ import annotations

from dataclasses import dataclass

from .keys import Currency

__all__ = ["GOODS", "Product", "price"]


@dataclass(frozen=True, slots=True)
class Product:
    """One thing on the shelf. Prices are in hundredths."""

    id: str
    name: str
    note: str
    prices: dict[Currency, int]


GOODS = {
    product.id: product
    for product in (
        Product(
            "sencha",
            "Sencha",
            "Green, grassy, a little sweet. 100\N{NO-BREAK SPACE}g.",
            {"EUR": 940, "GBP": 810, "USD": 1020},
        ),
        Product(
            "assam",
            "Assam",
            "Black and malty; takes milk. 125\N{NO-BREAK SPACE}g.",
            {"EUR": 720, "GBP": 620, "USD": 780},
        ),
        Product(
            "rooibos",
            "Rooibos",
            "Red, mild, no caffeine. 150\N{NO-BREAK SPACE}g.",
            {"EUR": 580, "GBP": 500, "USD": 630},
        ),
        Product(
            "oolong",
            "Oolong",
            "Rolled by hand, for many infusions. 75\N{NO-BREAK SPACE}g.",
            {"EUR": 1450, "GBP": 1250, "USD": 1570},
        ),
        Product("teapot", "Teapot", "Stoneware, holds three cups.", {"EUR": 3400, "GBP": 2900, "USD": 3700}),
        Product("cup", "Cup", "Stoneware, without a handle.", {"EUR": 1100, "GBP": 950, "USD": 1190}),
    )
}

SIGNS: dict[Currency, str] = {"EUR": "€", "GBP": "£", "USD": "$"}


def price(hundredths: int, currency: Currency) -> str:
    """Return an amount for people."""
    return f"{SIGNS[currency]}{hundredths / 100:.2f}"
