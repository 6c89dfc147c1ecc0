"""What keeps the explorer's laws: sessions that are followed to their end, and what no law forbids."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from aiohttp_spry_session.testing.explorer import OPERATIONS, Explorer
from aiohttp_spry_session.testing.explorer.gate import Scheduler
from aiohttp_spry_session.testing.explorer.laws import History, _check_browser, check
from aiohttp_spry_session.testing.explorer.stage import Stage
from aiohttp_spry_session.testing.explorer.story import BrokenLawError, Story

from ...minimal import MinimalAdapter, PlainAdapter
from .histories import answer, at_once, first, played, stored, without

TOLERATED: dict[str, tuple[tuple[str, ...], Callable[[History], None]]] = {
    "a conflict of an atomic operation that wrote nothing": (
        ("pop",),
        at_once(
            without("update"),
            answer(status=409, result=None),
            stored(lambda values: values and {**values, "token": "once"}),
        ),
    ),
    "a session that was removed for good": (("destroy for good",), answer(cookie="")),
    "a rolling renewal whose cookie waits for a later response": (("rolling",), answer(cookie=None)),
    "a count of ended sessions": (("revoke",), answer(result=7)),
}


@pytest.mark.parametrize("case", TOLERATED)
async def test_what_the_laws_tolerate(case):
    """What is no breach is none."""
    operations, tamper = TOLERATED[case]
    history = await played(*operations)
    tamper(history)
    check(history)


KEPT = [
    ("renew", "expiry"),
    ("set, renew", "set", "expiry"),
    ("set", "renew", "expiry"),
    ("bind", "expiry"),
    ("bind", "set", "expiry"),
    ("rotate", "expiry"),
    ("rotate with grace", "set", "expiry"),
    ("set, rotate", "increment"),
    ("set, rotate with grace", "update", "expiry"),
    ("rolling", "expiry"),
    ("set", "rolling", "expiry"),
    ("increment", "pop", "rolling"),
    ("forged set", "expiry"),
    ("expiry", "set"),
    ("expiry", "increment", "renew"),
    ("destroy", "set", "expiry"),
    ("revoke", "bind"),
    ("rotate, answer lost", "set"),
    ("rotate, never arrived", "set", "rotate"),
    ("renew, increment, headers later", "bind"),
]


@pytest.mark.parametrize("adapter", [PlainAdapter, MinimalAdapter])
@pytest.mark.parametrize("start", ["live", "grace", "retired"])
@pytest.mark.parametrize("operations", KEPT, ids=", ".join)
async def test_what_keeps_the_laws(operations, start, adapter):
    """The laws follow a session through renewals and rotations to its end, and beyond."""
    check(await played(*operations, start=start, adapter=adapter))


@pytest.mark.parametrize("skew", [2.0, -2.0, 300.0, -300.0])
async def test_graces_lead_on_with_clocks_that_differ(skew):
    """An identifier that was rotated by the clock may lead in; two processes are the least."""
    explorer = Explorer(PlainAdapter(), skew=skew)
    assert await explorer.explore("rotate with grace", "read") > 1
    history = await Stage(PlainAdapter(), life=1200.0, start="live", processes=2, options={}, skew=skew).play(
        {"a": OPERATIONS["rotate"]}, Scheduler(first)
    )
    assert history.elsewhere == history.probes
    assert list(history.probes.values()).count("alive") == 1


async def test_the_last_response_is_the_one_that_counts():
    """A response that may come last is told, whatever excuse another one has."""
    history = await played("rotate", "rotate")
    story = Story(history.life, rolling=False)
    story.enter("", history.setup, history.began)
    for each in history.answers.values():
        story.enter(each.actor, each.operation, each.began)
    for call in history.calls:
        story.take(call)
    history.answers = dict(reversed(history.answers.items()))  # the second has asked for a session of its own
    history.probes = dict.fromkeys(history.probes)
    told = "no clobbered cookie: when a's response comes last, the user is logged out"
    with pytest.raises(BrokenLawError, match=f"^{re.escape(told)}$"):
        _check_browser(history, story)
