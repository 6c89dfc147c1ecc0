"""What the explorer's story makes of single calls: where sessions end, what extends them, what a rotation finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.testing.explorer.gate import Call
from aiohttp_spry_session.testing.explorer.operations import OPERATIONS, Operation
from aiohttp_spry_session.testing.explorer.story import BrokenLawError, Story

RECORD = SessionRecord(b"", 2, 1000.0, None)


def a_story(operation: Operation = OPERATIONS["set"], *, began: float = 1050.0, rolling: bool = False) -> Story:
    """Tell of a session that holds ``n`` and lives from 1,000 to 1,100, and of an actor."""
    story = Story(100.0, rolling=rolling)
    story.enter("", Operation("set up", apply=lambda values, actor: values.update(n=1)), 1000.0)
    story.enter("a", operation, began)
    story.take(Call("", "create", "s", True, 1000.0, RECORD))
    return story


def a_call(method: str, now: float = 1060.0, **change: Any) -> Call:
    """Return a call of the actor that the store took."""
    return replace(Call("a", method, "s", True, now, RECORD), **change)


def test_a_session_is_over_at_its_very_end():
    """Nobody is led to it, nothing is seen of it, and nothing may land on it."""
    story = a_story()
    before = story.follow("s", 1099.9)
    assert before is not None
    assert before.values == {"n": 1}
    assert story.follow("s", 1100.0) is None
    story.take(a_call("load", 1100.0, outcome=None, record=None))
    assert story.actors["a"].looks == [{}]
    with pytest.raises(BrokenLawError, match="a's update landed on a session that had ended"):
        story.take(a_call("update", 1100.0))


@pytest.mark.parametrize(("began", "ends_at"), [(1050.0, 1100.0), (1051.0, 1151.0)])
def test_a_write_extends_past_the_half(began, ends_at):
    """It renews a session of rolling managers that has less than the half of its life before it."""
    story = a_story(began=began, rolling=True)
    story.take(a_call("update"))
    assert story.cells["s"].ends_at == ends_at


def test_a_renewal_extends():
    """Whatever the operation is; it returns what that makes of the values, and leaves them."""
    story = a_story(Operation("look", apply=lambda values, actor: (actor, values.pop("n"))))
    story.take(a_call("renew", record=None))
    assert (story.cells["s"].ends_at, story.cells["s"].values) == (1150.0, {"n": 1})
    assert story.actors["a"].result == ("a", 1)


def test_a_rotation_revives_nothing():
    """What another one has ended before the old record is retired stays dead, under both identifiers."""
    story = a_story(OPERATIONS["rotate with grace"])
    story.enter("b", OPERATIONS["revoke"], 1050.0)
    story.take(a_call("create", handle="n", inner=True))
    story.take(a_call("destroy", actor="b", handle="n", outcome=None, record=None))
    story.take(a_call("rotate", new="n"))
    assert story.follow("n", 1060.0) is None
    assert story.follow("s", 1060.0) is None


def test_a_new_session_may_take_the_place_of_a_destroyed_one():
    """Nobody is robbed of anything."""
    story = a_story()
    story.take(a_call("destroy", outcome=None, record=None))
    assert story.follow("s", 1060.0) is None
    story.take(a_call("create"))
    created = story.follow("s", 1060.0)
    assert created is not None
    assert created.values == {"a": True, "last": "a"}
