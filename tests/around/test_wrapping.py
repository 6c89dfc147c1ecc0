"""The base class passes everything on."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionAdapter, SessionManager, SessionRecord
from aiohttp_spry_session.adapters.migrating import MigratingAdapter
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter, within
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter

RECORD = SessionRecord(b"", 1, 0.0, None)


class Telling(SessionAdapter):
    """Answers each call with what was called, and how."""

    def __init__(self) -> None:
        self.expiration = 5.0


def told(name: str) -> Any:
    def method(self: Telling, *args: Any) -> Any:
        return name, args

    async def coroutine(self: Telling, *args: Any) -> Any:
        return name, args

    return coroutine if inspect.iscoroutinefunction(getattr(SessionAdapter, name)) else method


METHODS = [
    name
    for name, member in vars(SessionAdapter).items()
    if inspect.isfunction(member) and not name.startswith("_") and name not in ("open", "close", "clock")
]

for method_name in METHODS:
    setattr(Telling, method_name, told(method_name))
Telling.__abstractmethods__ = frozenset()


@pytest.mark.parametrize("name", METHODS)
async def test_every_method_is_passed_on(name: str) -> None:
    """With all its arguments; what the contract gets in a later release must be added."""
    arguments = list(inspect.signature(getattr(SessionAdapter, name)).parameters)[1:]
    answer = getattr(WrappingAdapter(Telling()), name)(*arguments)
    assert (await answer if inspect.isawaitable(answer) else answer) == (name, tuple(arguments))


async def test_hints_are_passed_on() -> None:
    """Where the adapter behind gives any."""

    class Hinting(MemorySessionAdapter):
        async def hints(self) -> AsyncIterator[str | None]:
            yield "a"
            yield None

    assert [hint async for hint in WrappingAdapter(Hinting()).hints()] == ["a", None]


def test_what_it_says_of_itself_is_the_inner_ones() -> None:
    """Expiration, clock, and each interval, also when they change."""

    class Often(MemorySessionAdapter):
        purge_interval = 7.0

    inner = Often(expiration=90)
    adapter = WrappingAdapter(WrappingAdapter(inner))
    assert (adapter.expiration, adapter.purge_interval) == (90.0, 7.0)
    clock = FakeClock()
    SessionManager(adapter, clock=clock)
    assert inner.clock is adapter.clock is clock
    adapter.expiration = 30.0
    assert inner.expiration == 30.0
    assert list(within(adapter)) == [adapter, adapter.adapter, inner]


def test_intervals_are_all_passed_on() -> None:
    """Whatever numbers an adapter's class has."""
    numbers = {name for name, value in vars(SessionAdapter).items() if isinstance(value, float)}
    assert numbers <= set(vars(WrappingAdapter))


@pytest.mark.parametrize("wrong", [None, "redis://", SessionManager])
def test_what_is_no_adapter_is_refused(wrong: Any) -> None:
    """At once, by the name of the class that was made."""
    with pytest.raises(ValueError, match="WrappingAdapter needs a SessionAdapter"):
        WrappingAdapter(wrong)


async def test_it_shares_what_is_behind_it() -> None:
    """The inner adapter is opened for the first of its users, and closed after the last."""
    inner = FaultyAdapter(MemorySessionAdapter())
    first, second = WrappingAdapter(inner), MigratingAdapter(MemorySessionAdapter(), inner)
    async with SessionManager(first), SessionManager(inner):
        await second.open()
        assert inner.calls.count("open") == 1
    assert "close" not in inner.calls
    await second.close()
    assert inner.calls[-1] == "close"
