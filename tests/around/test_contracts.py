"""Each adapter around an adapter keeps the contract, on every store."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from aiohttp_spry_session import SessionAdapter, SessionRecord
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.migrating.marks import grave_of
from aiohttp_spry_session.adapters.observed import ObservedAdapter
from aiohttp_spry_session.adapters.sealed import SealedAdapter
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter

from .contracts import KINDS, contract

KEY, OLD_KEY = b"k" * 32, b"o" * 32


def sealed(adapter: SessionAdapter) -> SessionAdapter:
    return SealedAdapter(adapter, [KEY, OLD_KEY])


def hidden(adapter: SessionAdapter) -> SessionAdapter:
    return SealedAdapter(adapter, [KEY, OLD_KEY], hide_owners=True)


class Moving(MigratingAdapter):
    """Begins each session in the old store, so that every use of one moves it first."""

    async def create(self, handle: str, record: SessionRecord) -> bool:
        if await self.load(handle) is not None:
            return False
        # Where a handle has ended before, its marks are in the way; only tests begin under one handle twice.
        for mark in (handle, grave_of(handle)):
            await self.adapter.destroy(mark)
        return await self.old.create(handle, record) or await super().create(handle, record)


class TwoSteps:
    """Makes adapters in turn as they are in the two steps of a rolling deployment, beside each other."""

    def __init__(self) -> None:
        self.move = True

    def __call__(self, old: SessionAdapter, new: SessionAdapter) -> SessionAdapter:
        self.move = not self.move
        return MigratingAdapter(new, old, move=self.move)


LONG: dict[str, Any] = {"pytestmark": pytest.mark.long}
"""What passes calls on does so on every store: in each change one store tells, and all of them in the long tests.

What is sealed is other bytes for the store: in each change an embedded store tells, and one with a server.
"""


def observed(adapter: SessionAdapter) -> SessionAdapter:
    return ObservedAdapter(adapter, print)


for kind in KINDS:
    for name, wrap in {"Wrapped": WrappingAdapter, "Sealed": sealed, "Hidden": hidden, "Observed": observed}.items():
        often = kind == "memory" or (name == "Sealed" and kind != "postgres")
        globals()[f"Test{name}{kind.capitalize()}"] = contract(wrap, kind, **({} if often else LONG))

RING = [(kind, KINDS[number - 1]) for number, kind in enumerate(KINDS)]
"""Each store once as the new one, and once as the old one."""

BOTH_USED: dict[str, Any] = {
    # What has moved leaves a mark, which is purged too.
    "test_purge_deletes_what_has_expired_and_counts_it": None,
    "test_purge_goes_by_the_end_as_it_is_now": None,
}
"""What the contract asks of a store is not asked of two, of which some operation needs both."""

IN_TWO_STEPS: dict[str, Any] = {
    **BOTH_USED,
    # One in each store: they would have to make the same random identifier at the same time.
    "test_one_of_parallel_creations_wins": None,
}


def if_closed(*kinds: str) -> dict[str, Any]:
    """What two stores of these kinds do when they are closed is asked only where they do the same."""
    return {"test_a_closed_adapter_fails": None} if "memory" in kinds and set(kinds) != {"memory"} else {}


for new, old in product(KINDS, KINDS):
    marks: dict[str, Any] = {} if (new, old) in RING else LONG
    moves: dict[str, Any] = {} if (new, old) == ("sqlite", "memory") else LONG
    pair = f"{new.capitalize()}From{old.capitalize()}"
    globals()[f"TestMigrating{pair}"] = contract(MigratingAdapter, new, old, **marks)
    globals()[f"TestMoving{pair}"] = contract(
        Moving,
        new,
        old,
        purges=old != "redis",
        fails_when_closed=old != "memory",
        **BOTH_USED,
        **if_closed(new, old),
        **moves,
    )

for old, new in RING:
    pair = f"{new.capitalize()}From{old.capitalize()}"
    globals()[f"TestTwoSteps{pair}"] = contract(
        TwoSteps,
        old,
        new,
        wrap_anew=True,
        **IN_TWO_STEPS,
        **if_closed(new, old),
        **({} if (new, old) == ("sqlite", "memory") else LONG),
    )
