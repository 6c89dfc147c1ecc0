"""The kit for adapter authors and for tests of applications."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .clock import FakeClock

if TYPE_CHECKING:
    from .contract import AdapterContract

__all__ = [
    "AdapterContract",
    "FakeClock",
]


def __getattr__(name: str) -> Any:
    # The contract is the one part that needs pytest; the others work with any test runner, and in scripts.
    if name == "AdapterContract":
        import pytest

        if f"{__name__}.contract" not in sys.modules:
            pytest.register_assert_rewrite(f"{__name__}.contract")
        from .contract import AdapterContract

        return AdapterContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
