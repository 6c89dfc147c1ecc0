"""What each operation of the explorer does to a session, and to the plain values that say what it must do."""

from __future__ import annotations

from typing import Any

import pytest

from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.record import successor_of
from aiohttp_spry_session.testing.explorer.operations import OPERATIONS, VALUES

from ...minimal import PlainAdapter
from .histories import a_stage, play

SET = {**VALUES, "a": True, "last": "a"}
DONE: dict[str, tuple[Any, Any]] = {
    "read": ("alive", VALUES),
    "set": (None, SET),
    "remove": (None, {key: value for key, value in VALUES.items() if key != "junk"}),
    "update": (["a"], {**VALUES, "list": ["a"]}),
    "pop": ("once", {key: value for key, value in VALUES.items() if key != "token"}),
    "increment": (2, {**VALUES, "count": 2}),
    "set, increment": (2, {**SET, "count": 2}),
    "set, renew": (None, SET),
    "set, rotate": (None, SET),
    "set, rotate with grace": (None, SET),
}


@pytest.mark.parametrize("name", DONE)
async def test_what_an_operation_does(name):
    """It does to the session what it does to plain values, and returns the same."""
    result, values = DONE[name]
    history = await play(a_stage(), name)
    assert history.answers["a"].result == result
    assert [stored for stored in history.stored.values() if stored is not None] == [values]
    plain: dict[str, Any] = {**VALUES}
    assert OPERATIONS[name].apply(plain, "a") == result
    assert plain == values


@pytest.mark.parametrize("name", ["set, renew", "set, rotate", "set, rotate with grace"])
async def test_a_second_step_is_made(name):
    """The response carries the cookie; only a grace lets the identifier before lead on."""
    history = await play(a_stage(), name)
    assert (history.answers["a"].cookie == history.presented) is (name == "set, renew")
    assert history.probes[history.presented] == (None if name == "set, rotate" else "alive")


@pytest.mark.parametrize("name", ["rotate with grace", "set, rotate with grace"])
async def test_the_grace_is_a_minute(name):
    """It is the one that the laws expect."""
    adapter = PlainAdapter(expiration=1000)
    history = await play(a_stage(adapter), name)
    retired = adapter.records[handle_of(history.presented)]
    assert successor_of(retired).grace_until == history.now + OPERATIONS[name].grace == history.now + 60


@pytest.mark.parametrize(
    ("name", "result", "values"),
    [
        ("remove", None, {}),
        ("update", ["b", "a"], {"list": ["b", "a"]}),
        ("update", ["a"], {"list": ["a"]}),
        ("increment", 1, {"count": 1}),
        ("set, increment", 1, {"a": True, "last": "a", "count": 1}),
        ("pop", None, {}),
        ("read", None, {}),
    ],
)
def test_what_an_operation_does_to_other_values(name, result, values):
    """It has a meaning where there are none, and goes on from what others made of them."""
    plain = {"list": ["b"]} if result == ["b", "a"] else {}
    assert OPERATIONS[name].apply(plain, "a") == result
    assert plain == values
