"""The explorer's laws, each on a history that breaks it: what it is called, and what its author is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing.explorer.laws import History, check
from aiohttp_spry_session.testing.explorer.story import BrokenLawError

from .histories import again, answer, at_once, copied, idle, played, presented, probed, stored, without

SESSION = "{'canary': 'alive', 'count': 1, 'token': 'once', 'junk': 1, 'list': []}"

BROKEN: dict[str, tuple[tuple[str, ...], Callable[[History], None], str]] = {
    "an error": (("set",), answer(status=503), "no needless failure: a was answered 503"),
    "a conflict where there can be none": (("set",), answer(status=409), "no needless failure: a was answered 409"),
    "a conflict after the change": (
        ("increment",),
        answer(status=409),
        "all or nothing: a was answered 409, and its update landed",
    ),
    "a change that was dropped": (
        ("set",),
        without("update"),
        "no lost update: a's change was acknowledged and dropped, and nobody was told",
    ),
    "a result that no order gives": (
        ("increment",),
        answer(result=7),
        "no lost update: a returned 7, and could return [2]",
    ),
    "a read of what never was": (
        ("read",),
        answer(result="dead"),
        "no lost update: a returned 'dead', and could return ['alive']",
    ),
    "a read of nothing": (
        ("read",),
        answer(result=None),
        "no lost update: a returned None, and could return ['alive']",
    ),
    "a cookie that is removed": (
        ("set",),
        answer(cookie=""),
        "no clobbered cookie: a's response removes the cookie",
    ),
    "a cookie for a look": (
        ("read",),
        presented,
        "no clobbered cookie: a's response carries a cookie, and it wrote nothing",
    ),
    "a cookie for a plain write": (
        ("set",),
        presented,
        "no clobbered cookie: a's response carries the cookie of {handle} and not None",
    ),
    "a rotation without its cookie": (
        ("rotate",),
        answer(cookie=None),
        "no clobbered cookie: a's response carries the cookie of None and not {new}",
    ),
    "a rotation with the old cookie": (
        ("rotate",),
        presented,
        "no clobbered cookie: a's response carries the cookie of {handle} and not {new}",
    ),
    "a renewal without its cookie": (
        ("renew",),
        answer(cookie=None),
        "no clobbered cookie: a's response carries the cookie of None and not {handle}",
    ),
    "a new session without its cookie": (
        ("forged set",),
        answer(cookie=None),
        "no clobbered cookie: a's response carries the cookie of None and not {created}",
    ),
    "a second rotation by the clock": (
        ("rotate with grace",),
        lambda history: vars(history.answers["a"]).update(presented="another"),
        "one successor: a rotated what had just been rotated by the clock",
    ),
    "a cookie of a session that moved on": (
        ("rotate, headers later", "revoke"),
        lambda history: vars(history.answers["a"]).update(left=len(history.calls)),
        "no clobbered cookie: a's response carries a cookie that leads nowhere any more",
    ),
    "a spare cookie that stays": (
        ("rotate, answer lost",),
        answer(spare="another"),
        "an outage logs nobody out: a's spare cookie stays",
    ),
    "a lost answer that logs out": (
        ("rotate, answer lost",),
        answer(result=None),
        "an outage logs nobody out: a is logged out by the answer that was lost",
    ),
    "a sign-in that is told to try again": (
        ("sign in, the oldest end",),
        answer(status=409),
        "no needless failure: a was answered 409, and is signed in",
    ),
    "a sign-in that is refused where nobody is": (
        ("sign in, the oldest end",),
        at_once(answer(status=409, cookie=None), idle),
        "no needless failure: a was answered 409, and is signed in",
    ),
    "a sign-in that is refused and admitted": (
        ("sign in, or be refused",),
        answer(status=409),
        "no needless failure: a was answered 409, and is signed in",
    ),
    "a session too many": (
        ("sign in, or be refused",),
        lambda history: vars(history).update(max_sessions=1),
        "no session too many: the owner has 2 sessions, of 1 that are allowed",
    ),
    "a session too few": (
        ("sign in, the oldest end",),
        lambda history: vars(history).update(max_sessions=2),
        "no session too few: the owner is left 1 sessions, of 2",
    ),
    "two sessions of one": (("read",), copied, "one successor: the session lives under 2 handles"),
    "a session that outlives its end": (
        ("destroy",),
        copied_back := stored(lambda values: {"canary": "alive"} if values is None else values),
        "a logout logs out: a has ended the session, and it lives",
    ),
    "a session that is gone": (
        ("read",),
        stored(lambda values: None),
        "no lost session: the session is gone, and nobody ended it",
    ),
    "a session that has outlived its time": (
        ("expiry",),
        copied_back,
        "no resurrection: the store holds {'canary': 'alive'} under {handle}, and not None",
    ),
    "values that are lost": (
        ("read",),
        stored(lambda values: values and {"canary": "alive"}),
        f"no lost update: the store holds {{'canary': 'alive'}} under {{handle}}, and not {SESSION}",
    ),
    "an identifier that leads nowhere": (("read",), probed(None), "no lost session: a last request read None"),
    "an identifier that leads on": (("destroy",), probed("alive"), "no resurrection: a last request read 'alive'"),
    "a look at the dead": (
        ("destroy", "read"),
        again("load", outcome="record"),
        "no resurrection: a was given a session that had ended",
    ),
    "a look that misses": (
        ("read",),
        again("load", outcome=None),
        "no lost session: a was not given a session that lives",
    ),
    "a write to the dead": (
        ("destroy", "expiry"),
        again("load", method="update", outcome=True),
        "no resurrection: a's update landed on a session that had ended",
    ),
    "a renewal of the dead": (
        ("destroy", "expiry"),
        again("load", method="renew", outcome=True),
        "no resurrection: a's renew landed on a session that had ended",
    ),
    "a rotation of the dead": (
        ("destroy", "expiry"),
        again("load", method="rotate", outcome=True),
        "no resurrection: a's rotate landed on a session that had ended",
    ),
    "a session in another's place": (
        ("read",),
        again("load", method="create", outcome=True),
        "no lost session: a's create overwrote a session",
    ),
}


def record_of(history: History) -> Any:
    """Return the record that the session began with."""
    return next(call.record for call in history.calls if call.method == "create")


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_law_is_told(case):
    """The error names the law, and says who broke it, and how."""
    operations, tamper, told = BROKEN[case]
    history = await played(*operations)
    check(history)
    tamper(history)
    history.calls = [
        replace(call, outcome=record_of(history)) if call.outcome == "record" else call for call in history.calls
    ]
    rotated = [call.new for call in history.calls if call.method == "rotate"]
    created = [call.handle for call in history.calls if call.method == "create" and call.actor]
    names = {"handle": handle_of(history.presented), "new": rotated[0] if rotated else "", "created": "".join(created)}
    for name, handle in names.items():
        told = told.replace(f"{{{name}}}", handle)
    with pytest.raises(BrokenLawError, match=f"^{re.escape(told)}$") as caught:
        check(history)
    assert f"{caught.value.law}: {caught.value.message}" == told
