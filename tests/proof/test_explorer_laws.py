"""The explorer's laws, each on a history that breaks it: what it is called, and what its author is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aiohttp_spry_session import SessionAdapter
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing.explorer_gate import Scheduler
from aiohttp_spry_session.testing.explorer_laws import History, _check_browser, check
from aiohttp_spry_session.testing.explorer_operations import OPERATIONS
from aiohttp_spry_session.testing.explorer_stage import Stage
from aiohttp_spry_session.testing.explorer_story import BrokenLawError, Story

from ..minimal import MinimalAdapter, PlainAdapter


async def played(*names: str, start: Any = "live", adapter: type[SessionAdapter] = PlainAdapter) -> History:
    """Return the history of these operations, one after the other."""
    stage = Stage(adapter(), life=1200.0, start=start, processes=1, options={})
    return await stage.play(
        {"abc"[number]: OPERATIONS[name] for number, name in enumerate(names)}, Scheduler(min_index)
    )


def min_index(waiting: Any) -> int:
    """Choose who comes first."""
    return 0


def answer(**change: Any) -> Callable[[History], None]:
    """Another answer to the first actor."""
    return lambda history: vars(history.answers["a"]).update(change)


def without(method: str) -> Callable[[History], None]:
    """A store that was not called so by the first actor."""

    def tamper(history: History) -> None:
        history.calls = [call for call in history.calls if (call.actor, call.method) != ("a", method)]

    return tamper


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
]


@pytest.mark.parametrize("adapter", [PlainAdapter, MinimalAdapter])
@pytest.mark.parametrize("start", ["live", "grace", "retired"])
@pytest.mark.parametrize("operations", KEPT, ids=", ".join)
async def test_what_keeps_the_laws(operations, start, adapter):
    """The laws follow a session through renewals and rotations to its end, and beyond."""
    check(await played(*operations, start=start, adapter=adapter))


async def test_the_last_response_is_the_one_that_counts():
    """A response that may come last is told, whatever excuse another one has."""
    history = await played("rotate", "rotate")
    story = Story(history.life, rolling=False)
    story.enter("", history.setup, history.began)
    for answer in history.answers.values():
        story.enter(answer.actor, answer.operation, answer.began)
    for call in history.calls:
        story.take(call)
    history.answers = dict(reversed(history.answers.items()))  # the second has asked for a session of its own
    history.probes = dict.fromkeys(history.probes)
    told = "no clobbered cookie: when a's response comes last, the user is logged out"
    with pytest.raises(BrokenLawError, match=f"^{re.escape(told)}$"):
        _check_browser(history, story)
