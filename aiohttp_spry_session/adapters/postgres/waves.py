"""Which operations may go in one statement: it meets each handle once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .statements import Kind, Row

__all__ = ["Operation", "Wave", "first_wave"]


class Operation(tuple[Row, ...]):
    """One row; of a rotation two, the old one first."""

    is_given_up = False
    """Whether nobody waits for it any more: what was not sent yet need not be."""


class Wave(NamedTuple):
    """A part of a batch, as indices of operations."""

    first: Sequence[int]
    """Those that go now: no two of them have a handle in common."""

    echoes: list[tuple[int, int]]
    """Those that lose, unless the one they are paired with fails: it updates the same version before them."""

    later: list[int]
    """Those that have to wait for one of the first."""


def first_wave(operations: Sequence[Operation], pending: Sequence[int]) -> Wave:
    """Return what to do with the pending ones of some operations, so that those on one handle keep their order."""
    handles = [row.handle for index in pending for row in operations[index]]
    if len(set(handles)) == len(handles):
        return Wave(pending, [], [])
    first: list[int] = []
    wave = Wave(first, [], [])
    last: dict[bytes, int | None] = {}
    for index in pending:
        operation = operations[index]
        leader = last.get(operation[0].handle)
        if leader is not None and _is_echo(operation, operations[leader]):
            wave.echoes.append((index, leader))
        elif last.keys().isdisjoint(row.handle for row in operation):
            first.append(index)
            last.update((row.handle, index) for row in operation)
        else:
            wave.later.append(index)
            last.update((row.handle, None) for row in operation)
    return wave


def _is_echo(operation: Operation, leader: Operation) -> bool:
    """Whether an operation needs the version that the one before it has just replaced, or has not found."""
    row = operation[0]
    return (
        row.kind in (Kind.UPDATE, Kind.RETIRE)
        and leader[0].kind == Kind.UPDATE
        and leader[0].handle == row.handle
        and leader[0].version == row.version
    )
