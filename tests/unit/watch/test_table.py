"""The table of what is watched: no loop, no store, no clock."""

from __future__ import annotations

from math import inf

from aiohttp_spry_session.watch.table import PARTS, Table


class Block:
    owner = None

    def __init__(self):
        self.watched = None

    def end(self):
        raise AssertionError("the table ends nothing")


def test_blocks_of_one_session_share_an_entry():
    """It is there from the first to the last."""
    table, first, second = Table(), Block(), Block()
    watched = table.add("a", first)
    assert table.add("a", second) is watched
    assert (len(table), list(table), watched.blocks) == (1, [watched], {first, second})
    table.remove(first)
    assert table.get("a") is watched
    table.remove(second)
    assert (len(table), table.get("a"), first.watched, second.watched) == (0, None, None, None)
    table.remove(second)


def test_what_moves_is_found_under_its_new_handle():
    """And only there."""
    table, block = Table(), Block()
    watched = table.add("a", block)
    assert table.move(watched, "b") is watched
    assert (table.get("a"), table.get("b"), watched.handle) == (None, watched, "b")
    table.remove(block)
    assert len(table) == 0


def test_what_moves_to_a_watched_handle_joins_it():
    """Its blocks depend on what is there already."""
    table, first, second = Table(), Block(), Block()
    old, new = table.add("a", first), table.add("b", second)
    assert table.move(old, "b") is new
    assert (new.blocks, old.blocks, first.watched) == ({first, second}, set(), new)
    table.remove(first)
    table.remove(second)
    assert len(table) == 0


def test_a_round_visits_each_once():
    """In at most fifty parts of about the same size, the one that waited for longest first."""
    table = Table()
    assert (table.parts(), table.next_part()) == (1, [])
    for count, parts in ((1, 1), (7, 7), (120, PARTS)):
        table = Table()
        watched = [table.add(str(number), Block()) for number in range(count)]
        assert table.parts() == parts
        visited = []
        while len(visited) < count:
            visited += table.next_part()
        assert visited[:count] == watched
        assert table.next_part()[0] is watched[len(visited) - count]


def test_what_is_gone_leaves_the_round():
    """Nobody looks at it any more."""
    table, block = Table(), Block()
    table.add("a", block)
    kept = table.add("b", Block())
    table.remove(block)
    assert [table.next_part() for _ in range(3)] == [[], [kept], [kept]]


def test_ends_come_in_their_order():
    """Each once, at its time; one that is far away is left to the round."""
    table = Table()
    first, second, third = (table.add(handle, Block()) for handle in "abc")
    table.ends(third, 30.0, before=40.0)
    table.ends(first, 10.0, before=40.0)
    table.ends(first, 10.0, before=40.0)
    table.ends(second, 40.0, before=40.0)
    assert (table.next_end(), table.ended(9.0)) == (10.0, [])
    assert table.ended(10.0) == [first]
    assert table.next_end() == 30.0
    assert table.ended(99.0) == [third]
    assert table.next_end() == inf


def test_a_renewed_end_is_passed_over():
    """And so is that of what nobody depends on any more."""
    table, block = Table(), Block()
    renewed, gone = table.add("a", Block()), table.add("b", block)
    table.ends(renewed, 10.0, before=40.0)
    table.ends(renewed, 20.0, before=20.0)
    table.ends(gone, 10.0, before=40.0)
    table.remove(block)
    assert table.ended(10.0) == []
    table.clear()
    assert table.next_end() == inf
