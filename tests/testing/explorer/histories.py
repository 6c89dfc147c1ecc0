"""Histories of the explorer's schedules, and what makes them break its laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp_spry_session import SessionAdapter
from aiohttp_spry_session.testing.explorer.gate import Scheduler
from aiohttp_spry_session.testing.explorer.laws import History
from aiohttp_spry_session.testing.explorer.operations import OPERATIONS
from aiohttp_spry_session.testing.explorer.stage import Stage

from ...minimal import PlainAdapter


def first(waiting: Sequence[str]) -> int:
    """Choose who comes first."""
    return 0


def a_stage(adapter: Any = None, **options: Any) -> Stage:
    """Return a stage with a lifetime of 1,000 seconds."""
    options = {"life": 1000.0, "start": "live", "processes": 1, "options": {}, **options}
    return Stage(PlainAdapter(expiration=1000) if adapter is None else adapter, **options)


async def play(stage: Stage, *names: str) -> Any:
    """Play one schedule."""
    return await stage.play({"abc"[number]: OPERATIONS[name] for number, name in enumerate(names)}, Scheduler(first))


async def played(*names: str, start: Any = "live", adapter: type[SessionAdapter] = PlainAdapter) -> History:
    """Return the history of these operations, one after the other."""
    stage = Stage(adapter(), life=1200.0, start=start, processes=1, options={})
    return await stage.play({"abc"[number]: OPERATIONS[name] for number, name in enumerate(names)}, Scheduler(first))


def answer(**change: Any) -> Callable[[History], None]:
    """Another answer to the first actor."""
    return lambda history: vars(history.answers["a"]).update(change)


def without(method: str) -> Callable[[History], None]:
    """A store that was not called so by the first actor."""

    def tamper(history: History) -> None:
        history.calls = [call for call in history.calls if (call.actor, call.method) != ("a", method)]

    return tamper


def idle(history: History) -> None:
    """A store that was not called by the first actor."""
    history.calls = [call for call in history.calls if call.actor != "a"]


def again(like: str, **change: Any) -> Callable[[History], None]:
    """A call of the first actor that comes back once more, at the end."""

    def tamper(history: History) -> None:
        call = next(call for call in history.calls if call.actor in ("a", "b") and call.method == like)
        history.calls.append(replace(call, **{"actor": "a", **change}))

    return tamper


def stored(change: Callable[[Any], Any]) -> Callable[[History], None]:
    """Other values in the store, wherever there are any."""

    def tamper(history: History) -> None:
        history.stored = {handle: change(values) for handle, values in history.stored.items()}

    return tamper


def copied(history: History) -> None:
    """The session under a second handle."""
    history.stored = {**history.stored, "copy": next(filter(None, history.stored.values()))}


def probed(read: Any) -> Callable[[History], None]:
    """Other answers to the last requests."""

    def tamper(history: History) -> None:
        history.probes = dict.fromkeys(history.probes, read)

    return tamper


def at_once(*tampers: Callable[[History], None]) -> Callable[[History], None]:
    """Several changes."""

    def tamper(history: History) -> None:
        for each in tampers:
            each(history)

    return tamper


def presented(history: History) -> None:
    """A response that carries the cookie that came with the request."""
    history.answers["a"].cookie = history.answers["a"].presented
