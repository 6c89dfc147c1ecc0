"""No order of a move, a write, a rotation and a logout brings anything back, or loses a write."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_spry_session import SessionRecord
from aiohttp_spry_session.adapters.migrating import adapter, marks, places

from .orders import HANDLE, Actor, Choose, World, every_order, some_orders

WHAT = ("read", "write", "renew", "rotate", "logout", "destroy")
PAIRS = list(combinations_with_replacement(WHAT, 2))
TRIPLES = list(combinations_with_replacement(WHAT, 3))


def play(choose: Choose, what: tuple[str, ...], moves: tuple[bool, ...], begins_in: str = "old") -> None:
    """Let actors do this in one order, and hold what comes of it to the laws."""
    world = World(begins_in)
    names = "ABCDE"[: len(what)]
    actors = [Actor(world, does, name, move=move) for does, name, move in zip(what, names, moves, strict=True)]
    told = f"{what} {moves}: "
    running = list(actors)
    while running:
        assert len(told) < 500, f"{told}: without end"
        actor = running[choose(len(running)) if len(running) > 1 else 0]
        actor.step()
        told += actor.name
        running = [one for one in running if not one.done]
        if any(actor.done and actor.what in ("logout", "destroy") for actor in actors):
            check_ended(world, actors, told)
        if any(actor.done and actor.what == "rotate" and actor.result for actor in actors):
            assert not world.is_live(HANDLE), f"{told}: a rotated-away handle is live"
    check_all(world, actors, told)


def check_ended(world: World, actors: list[Actor], told: str) -> None:
    """From the moment a logout has come back, the session is gone; so is a handle that was destroyed."""
    assert world.look(HANDLE) is None, f"{told}: an ended session is back"
    if any(actor.done and actor.what == "logout" for actor in actors):
        assert world.final() is None, f"{told}: an ended session goes on"


def check_all(world: World, actors: list[Actor], told: str) -> None:
    """When all are through: no write is lost, a rotation has one successor, an end is told once."""
    ends = [actor for actor in actors if actor.what in ("logout", "destroy")]
    rotated = [actor for actor in actors if actor.what == "rotate" and actor.result]
    assert len(rotated) <= 1, f"{told}: rotated twice"
    if ends:
        assert sum(actor.result for actor in ends if actor.what == "logout") <= 1, f"{told}: told twice"
        if {actor.what for actor in actors} <= {"logout", "read", "write", "renew"}:
            assert [actor.result for actor in ends].count(True) == 1, f"{told}: told by none"
        return
    final = world.final()
    assert final is not None, f"{told}: lost"
    assert final.owner == "ada"
    written = [actor.name.encode() for actor in actors if actor.what == "write" and actor.result]
    assert sorted(final.payload) == sorted(b"".join(written)), f"{told}: {final.payload!r} instead of {written}"
    if not rotated:
        assert all(actor.result for actor in actors), f"{told}: refused, and nothing had ended"
    if any(actor.what == "renew" and actor.result for actor in actors):
        assert final.expires_at == world.clock() + 5000, f"{told}: not renewed"


@pytest.mark.parametrize("what", PAIRS, ids=map("-".join, PAIRS))
@pytest.mark.parametrize("moves", [(True, True), (True, False), (False, True)], ids=["both", "first", "second"])
def test_every_order_of_two(what: tuple[str, str], moves: tuple[bool, bool]) -> None:
    """The first orders of all, depth first, and random ones."""
    every_order(lambda choose: play(choose, what, moves), 100)
    some_orders(lambda choose: play(choose, what, moves), 50, (what, moves))


@pytest.mark.long
@pytest.mark.parametrize("what", PAIRS, ids=map("-".join, PAIRS))
@pytest.mark.parametrize("moves", [(True, True), (True, False), (False, True)], ids=["both", "first", "second"])
def test_really_every_order_of_two(what: tuple[str, str], moves: tuple[bool, bool]) -> None:
    """All of them, or 20,000."""
    every_order(lambda choose: play(choose, what, moves), 20_000)


@pytest.mark.no_cover
@pytest.mark.parametrize("what", TRIPLES, ids=map("-".join, TRIPLES))
def test_orders_of_three(what: tuple[str, str, str]) -> None:
    """Random orders, in every mixture of the two steps of a deployment."""
    for moves in product((True, False), repeat=3):
        some_orders(lambda choose, moves=moves: play(choose, what, moves), 8, (what, moves))


@pytest.mark.long
@pytest.mark.parametrize("what", TRIPLES, ids=map("-".join, TRIPLES))
def test_many_orders_of_four(what: tuple[str, str, str]) -> None:
    """One more reader, which moves the session and is late."""
    for moves in product((True, False), repeat=3):
        some_orders(lambda choose, moves=moves: play(choose, ("read", *what), (True, *moves)), 300, (what, moves))


def test_a_late_copy_is_kept_away() -> None:
    """The order for which there are husks: the mover is held up before its copy, others finish, and log out."""
    world = World()
    late = Actor(world, "read", "A", move=True)
    for _ in range(3):  # it looked in both stores, and has marked the session in the old one
        late.step()
    reader, logout = Actor(world, "read", "B", move=True), Actor(world, "logout", "C", move=True)
    for actor in (reader, logout, late):
        while not actor.done:
            actor.step()
    assert logout.result is True
    assert world.final() is None


def play_much() -> None:
    """Play what a bug shows in."""
    for what in ("read", "write"), ("read", "logout"), ("write", "destroy"), ("rotate", "logout"):
        for moves in product((True, False), repeat=2):
            every_order(lambda choose, what=what, moves=moves: play(choose, what, moves), 200)
    for what in ("read", "read", "logout"), ("read", "rotate", "logout"), ("read", "read", "destroy"):
        some_orders(lambda choose, what=what: play(choose, what, (True,) * 3), 1000, what)


def never_marked(mark: SessionRecord) -> SessionRecord:
    """Leave what moves as it was."""
    return replace(mark, version=mark.version + 1)


async def seen_without_graves(self: places.Places, handle: str, record: SessionRecord) -> SessionRecord | None:
    """Look at the record alone."""
    return marks.seen(record, self.new.clock())


BUGS: dict[str, Any] = {
    "no husk": (places, "husk", lambda record, *others: record),
    "no mark of what moves": (places, "moving", never_marked),
    "no tombstone": (
        adapter,
        "tombstone",
        lambda record, *others: marks.dig(replace(record, version=record.version + 1)),
    ),
    "no grave": (places.Places, "seen", seen_without_graves),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the marks is needed: without one of them there is an order that breaks a law."""
    monkeypatch.setattr(*BUGS[bug])
    with pytest.raises(AssertionError):
        play_much()
