"""The kit for adapter authors and for tests of applications.

Nothing here needs pytest but :class:`AdapterContract` and the fixtures in :mod:`.plugin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .clock import FakeClock
from .faulty import Fault, FaultyAdapter
from .sessions import StoredSession, start_session

if TYPE_CHECKING:
    from .contract import AdapterContract

__all__ = [
    "AdapterContract",
    "FakeClock",
    "Fault",
    "FaultyAdapter",
    "StoredSession",
    "start_session",
]


def __getattr__(name: str) -> Any:
    if name != "AdapterContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .contract import AdapterContract

    return AdapterContract
