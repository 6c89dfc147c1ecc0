"""The contract, for adapters around each kind of store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from aiohttp_spry_session.testing import AdapterContract

from .conftest import MakeAdapter, MakeStore

__all__ = ["KINDS", "Around", "contract"]

KINDS = ("memory", "sqlite", "redis", "postgres")


class Around(AdapterContract):
    """An adapter around one store, or two; the first of them is the one in which sessions begin."""

    __test__ = False
    kinds: ClassVar[tuple[str, ...]]
    wrap: ClassVar[Callable[..., Any]]
    wrap_anew: ClassVar[bool] = False
    """Whether ``wrap`` returns, for each test, the function that wraps."""

    @pytest.fixture
    def make_adapter(self, make_store: MakeStore) -> MakeAdapter:
        makers = [make_store(kind) for kind in self.kinds]
        wrap = type(self).wrap() if self.wrap_anew else type(self).wrap
        return lambda: wrap(*(make() for make in makers))


def contract(wrap: Callable[..., Any], *kinds: str, **attributes: Any) -> type[Around]:
    """Return the contract for what ``wrap`` makes of adapters on stores of these kinds."""
    names = "".join(kind.capitalize() for kind in kinds)
    return type(
        f"Test{names}",
        (Around,),
        {
            "__test__": True,
            "__doc__": f"Around {' and '.join(kinds)}.",
            "kinds": kinds,
            "wrap": staticmethod(wrap),
            "purges": kinds[0] != "redis",
            "fails_when_closed": kinds[0] != "memory",
            **attributes,
        },
    )
