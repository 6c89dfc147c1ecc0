"""What the machine asks of a store: each step is one call."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

import pytest

from aiohttp_spry_session.facts import NO_FACTS
from aiohttp_spry_session.request.steps import Create, Extend, Move, Step, Store, Update

from .machines import LIVE_RECORD, NOW, RETIRED_RECORD

SENT = 0

STEPS: dict[str, tuple[Step, tuple[Any, ...]]] = {
    "create": (Create("secret", "h", LIVE_RECORD, {}, NO_FACTS, SENT, "started"), ("create", "h", LIVE_RECORD)),
    "update": (Update("h", LIVE_RECORD, {}, NO_FACTS, SENT, None), ("update", "h", LIVE_RECORD)),
    "extend": (Extend("h", NOW, "renew"), ("renew", "h", NOW)),
    "move": (
        Move("h", "secret", "new", LIVE_RECORD, RETIRED_RECORD, {}, NO_FACTS, SENT, "rotate"),
        ("rotate", "h", "new", LIVE_RECORD, RETIRED_RECORD),
    ),
}


class Noting:
    """Notes what it is asked, and answers with that."""

    def __getattr__(self, operation: str) -> Any:
        return lambda *arguments: (operation, *arguments)


@pytest.mark.parametrize("kind", STEPS)
def test_step_is_one_call(kind: str) -> None:
    """What the store answers is the step's answer."""
    step, call = STEPS[kind]
    answer: Awaitable[bool] = step.send(cast("Store", Noting()))
    assert cast("object", answer) == call
    assert step.handle == "h"
    assert "secret" not in repr(step)


@pytest.mark.parametrize("kind", STEPS)
def test_step_is_a_value(kind: str) -> None:
    """Nobody changes it on its way."""
    step, _ = STEPS[kind]
    with pytest.raises(AttributeError):
        step.handle = "other"  # type: ignore[misc]
