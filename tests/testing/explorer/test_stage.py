"""What the explorer plays, in which order, and what it tells of it."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import SessionEvent
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing.explorer import Explorer
from aiohttp_spry_session.testing.explorer import stage as explorer_stage
from aiohttp_spry_session.testing.explorer.gate import ACTOR, Scheduler
from aiohttp_spry_session.testing.explorer.operations import OPERATIONS, VALUES, Operation
from aiohttp_spry_session.testing.explorer.stage import _prompt

from ...minimal import MinimalAdapter, PlainAdapter
from .histories import a_stage, first, play


async def test_a_schedule_is_told():
    """A line for who does what, one for each call with short names, one for each answer."""
    stage = a_stage()
    history = await play(stage, "set", "rotate", "revoke")
    cookie = history.answers["b"].cookie
    told = stage.tell().split("\n")
    told[13:15] = sorted(told[13:15])  # the last requests come in any order
    assert told == (
        [
            "a: set",
            "b: rotate",
            "c: revoke",
            "  - create s0 v1 -> True",
            "  a load s0 -> SessionRecord",
            "  a update s0 v2 -> True",
            "  b load s0 -> SessionRecord",
            "  b rotate s0 s1 v3 -> True",
            "  c load s0 -> SessionRecord",
            "  c load s1 -> SessionRecord",
            "  c update s1 v4 -> True",
            "  c destroy s1 -> True",
            "  c destroy s0 -> True",
            "  - load s0 -> NoneType",
            "  - load s1 -> NoneType",
            "a: 200 None cookie=None []",
            f"b: 200 None cookie={cookie!r} ['rotated/rotate']",
            "c: 200 True cookie=None ['destroyed/revoke']",
        ]
    )


async def test_parts_of_a_call_are_told_apart():
    """What the base class makes of a method is indented, and comes before it."""
    stage = a_stage(MinimalAdapter())
    await play(stage, "rotate")
    assert stage.tell().splitlines()[2:6] == [
        "  a load s0 -> SessionRecord",
        "    a create s1 v2 -> True",
        "    a update s0 v2 -> True",
        "  a rotate s0 s1 v2 -> True",
    ]


@pytest.mark.parametrize(("start", "grace"), [("live", 0.0), ("grace", 60.0), ("retired", 0.0)])
async def test_what_a_history_holds(start, grace):
    """The session is past the half of its life, and who comes at an odd place presents the identifier before."""
    history = await play(a_stage(start=start), "read", "read", "read")
    assert (history.life, history.now - history.began) == (1000.0, 600.0)
    assert (history.setup.name, history.setup.grace) == ("set up", grace)
    values: dict[str, Any] = {}
    history.setup.apply(values, "")
    assert values == VALUES
    presented = [history.answers[actor].presented for actor in "abc"]
    assert presented[0] == presented[2]
    assert presented[1] == history.presented
    assert (presented[0] == presented[1]) is (start == "live")
    assert [history.answers[actor].actor for actor in "abc"] == ["a", "b", "c"]
    assert [history.answers[actor].began for actor in "abc"] == [history.now] * 3
    assert set(history.probes) == set(presented)
    assert history.stored[handle_of(history.presented)] == VALUES
    assert len(history.stored) == (1 if start == "live" else 2)
    assert {answer.result for answer in history.answers.values()} == {"alive"} | (
        {None} if start == "retired" else set()
    )


async def test_time_passes_the_end_of_the_session_and_not_the_half_of_a_renewed_one():
    """Of a thousand seconds it is 600 old when the clock moves on by 450."""
    history = await play(a_stage(), "expiry")
    assert history.now - history.began == 1050.0
    assert history.stored == {handle_of(history.presented): None}
    assert history.probes == {history.presented: None}
    renewed = await play(a_stage(), "renew", "expiry")
    assert renewed.stored == {handle_of(renewed.presented): VALUES}


async def test_actors_are_spread_over_processes():
    """Each process has its own manager, with the options that were given, and shares nothing but the store."""
    stage = a_stage(processes=2, options={"name": "sid", "rolling": False})
    seen = []

    async def run(session: Any, scene: Any) -> None:
        seen.append((scene.actor, scene.manager))
        await session.set("n", scene.actor)

    await stage.play({actor: Operation("look", run) for actor in "abc"}, Scheduler(first))
    managers = dict(seen)
    assert managers["a"] is managers["c"]
    assert managers["a"] is not managers["b"]
    assert {(manager.name, manager.timeout, manager.rolling) for _, manager in seen} == {("sid", None, False)}


async def test_one_process_is_the_default(monkeypatch):
    """Unless more are asked for, all actors meet in one manager."""
    managers = set()

    async def run(session: Any, scene: Any) -> None:
        managers.add(scene.manager)

    monkeypatch.setitem(OPERATIONS, "look", Operation("look", run, changes=False))
    await Explorer(PlainAdapter()).sample("look", "look", orders=1)
    assert len(managers) == 1


async def test_rolling_operations_make_rolling_managers():
    """Their managers renew by themselves; the others' do not."""
    rolled = await play(a_stage(), "read", "rolling")
    assert (rolled.rolling, rolled.answers["b"].cookie) == (True, None)
    assert rolled.answers["a"].cookie == rolled.presented
    still = await play(a_stage(), "read")
    assert (still.rolling, still.answers["a"].cookie) == (False, None)


@pytest.mark.parametrize(
    ("operations", "late", "forgotten"),
    [
        (("read",), False, False),
        (("expiry",), True, False),
        (("rotate",), False, False),
        (("rotate", "expiry"), True, True),
    ],
)
async def test_what_a_history_says_of_time(operations, late, forgotten):
    """Whether the clock moved on, and with it past what a rotation left behind."""
    history = await play(a_stage(), *operations)
    assert (history.is_late, history.has_forgotten) == (late, forgotten)


async def test_what_an_actor_was_told():
    """Only a rejection counts, for any reason or for one of those that are asked for."""
    answer = (await play(a_stage(), "set")).answers["a"]
    assert not answer.was_told()
    answer.events = [SessionEvent("created", "x", reason="retired")]
    assert not answer.was_told()
    assert not answer.was_told("retired")
    answer.events.append(SessionEvent("rejected", "x", reason="ended"))
    assert answer.was_told()
    assert answer.was_told("retired", "ended")
    assert not answer.was_told("retired")


async def test_a_stage_begins_empty():
    """Before the first schedule there is nothing to tell, and nothing to remove."""
    stage = a_stage()
    assert stage.tell() == ""
    await stage.clean()


async def test_nobody_is_held_up_after_the_schedule():
    """The last requests go through, whoever plays the schedule."""
    token = ACTOR.set("another")
    try:
        history = await play(a_stage(), "read")
    finally:
        ACTOR.reset(token)
    assert history.probes == {history.presented: "alive"}


async def test_the_last_requests_are_nobodys(monkeypatch):
    """They come to the first process, and read what the session still holds."""
    seen = []

    async def run(session: Any, scene: Any) -> Any:
        seen.append((scene.actor, scene.manager.name, scene.handle, scene.owner))
        return await session.get("token")

    monkeypatch.setattr(explorer_stage, "_PROBE", Operation("look", run))
    history = await play(a_stage(options={"name": "sid"}), "read")
    assert history.probes == {history.presented: "once"}
    assert seen == [("", "sid", "", "")]


async def test_the_cookie_is_found_among_others():
    """A response may set cookies of its own."""

    async def run(session: Any, scene: Any) -> Any:
        await session.rotate()
        raise web.HTTPFound("/", headers={"Set-Cookie": "theme=dark"})

    history = await a_stage().play({"a": Operation("leave", run)}, Scheduler(first))
    answer = history.answers["a"]
    assert answer.status == 302
    assert set(history.stored) == {handle_of(history.presented), handle_of(answer.cookie)}


async def test_only_what_was_written_is_looked_at():
    """The new identifier of a rotation that lost leads nowhere, and nobody has it."""
    turns = iter([0, 1, 0])
    scheduler = Scheduler(lambda waiting: next(turns, 0))
    history = await a_stage().play(dict.fromkeys("ab", OPERATIONS["rotate"]), scheduler)
    answers = history.answers
    assert [answers[actor].status for actor in "ab"] == [200, 409]
    assert set(history.stored) == {handle_of(history.presented), handle_of(answers["a"].cookie)}


def test_no_prompt_is_left() -> None:
    """Then those who wait for each other are told of."""
    made: list[int] = []
    prompts = [lambda: made.append(1)]
    assert [_prompt(prompts), _prompt(prompts)] == [True, False]
    assert made == [1]
