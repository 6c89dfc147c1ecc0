"""What must be true after each store call: a plain model, told of the calls in the order in which they took effect."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import inf
from typing import Any

from ...codec import unpack
from ...record import SessionRecord
from .gate import Call
from .operations import Operation, Values

__all__ = ["BrokenLawError", "Cell", "Part", "Story"]


class BrokenLawError(AssertionError):
    """A law does not hold; ``law`` names it."""

    def __init__(self, law: str, message: str) -> None:
        super().__init__(f"{law}: {message}")
        self.law = law
        self.message = message


@dataclass
class Cell:
    """What must be stored under one handle."""

    values: Values
    ends_at: float
    """When it ends at the earliest."""
    live: bool = True
    origin: str = ""
    """The handle that its session began with."""
    successor: str = ""
    grace_until: float = 0.0
    graced: bool = False
    """Whether it was rotated away with a grace."""
    owner: str | None = None


@dataclass
class Part:
    """What is known of one actor."""

    operation: Operation
    began: float
    looks: list[Values] = field(default_factory=list)
    """What the session held when it looked, time after time; empty where it had ended."""
    landed: list[Call] = field(default_factory=list)
    """Its writes that the store took."""
    result: Any = None
    """What it must return, now that its write was taken."""


class Story:
    """Takes the calls one by one, and says of each whether it could be.

    The changes that must be in the store are not read from the records that were written but derived from the
    operations: a commit that carries stale values is found out.
    """

    def __init__(self, life: float, *, rolling: bool) -> None:
        self._life = life
        self._rolling = rolling
        self.origin = ""
        """The handle that the session which the actors meet began with."""
        self.cells: dict[str, Cell] = {}
        self.actors: dict[str, Part] = {}

    def enter(self, actor: str, operation: Operation, began: float) -> None:
        """Tell of an actor, and of the time when it began."""
        self.actors[actor] = Part(operation, began)

    def take(self, call: Call) -> None:
        """Tell of a call that came back."""
        actor = self.actors[call.actor]
        if call.method == "load":
            self._load(call, actor)
        elif call.method == "destroy":
            self._end(call)
        elif call.outcome is not True:
            return
        elif call.method == "create":
            self._create(call, actor)
        elif call.method == "renew":
            self._renew(call, actor)
        elif call.method == "rotate":
            self._rotate(call, actor)
        elif not call.inner:  # of an inner update tells the call that it is a part of
            self._update(call, actor)

    def follow(self, handle: str, now: float) -> Cell | None:
        """Return the live cell that a handle leads to, within graces."""
        cell = self.cells.get(handle)
        while cell is not None and not cell.live and cell.successor and cell.grace_until > now:
            cell = self.cells.get(cell.successor)
        return cell if cell is not None and cell.live and cell.ends_at > now else None

    def _load(self, call: Call, actor: Part) -> None:
        cell = self.cells.get(call.handle)
        alive = cell is not None and cell.live and cell.ends_at > call.now
        found = isinstance(call.outcome, SessionRecord) and not call.outcome.retired
        if found and not alive:
            raise BrokenLawError("no resurrection", f"{call.actor} was given a session that had ended")
        if alive and not found:
            raise BrokenLawError("no lost session", f"{call.actor} was not given a session that lives")
        actor.looks.append(dict(cell.values) if cell is not None and alive else {})

    def _live(self, call: Call) -> Cell:
        cell = self.cells.get(call.handle)
        if cell is None or not cell.live or cell.ends_at <= call.now:
            raise BrokenLawError("no resurrection", f"{call.actor}'s {call.method} landed on a session that had ended")
        return cell

    def _create(self, call: Call, actor: Part) -> None:
        cell = self.cells.get(call.handle)
        if cell is not None and cell.live:
            raise BrokenLawError("no lost session", f"{call.actor}'s create overwrote a session")
        values: Values = {}
        ends_at = actor.began + self._life
        if call.inner and call.record is not None:  # of a rotation, which takes the end along
            ends_at = call.record.expires_at or inf
        else:
            values = _begun(actor, call)
            actor.result = actor.operation.apply(values, call.actor)
            actor.landed.append(call)
        self.origin = self.origin or call.handle
        # Nobody but a bind may begin with what another session held: elsewhere that would be the same session.
        origin = call.handle if actor.operation.binds else self.origin
        self.cells[call.handle] = Cell(values, ends_at, origin=origin, owner=_owner(call))

    def _update(self, call: Call, actor: Part) -> None:
        cell = self._live(call)
        if call.record is not None and call.record.retired:
            self._end(call)
            return
        rolls = self._rolling and cell.ends_at - actor.began < self._life / 2
        # What an atomic operation writes is a commit point's: a new end waits for the headers (promise 5).
        if (actor.operation.extends or rolls) and not actor.operation.atomic:
            cell.ends_at = max(cell.ends_at, actor.began + self._life)
        cell.values = dict(cell.values)
        actor.result = actor.operation.apply(cell.values, call.actor)
        actor.landed.append(call)

    def _renew(self, call: Call, actor: Part) -> None:
        cell = self._live(call)
        cell.ends_at = max(cell.ends_at, actor.began + self._life)
        if not actor.landed:
            actor.result = actor.operation.apply(dict(cell.values), call.actor)
        actor.landed.append(call)

    def _rotate(self, call: Call, actor: Part) -> None:
        cell = self._live(call)
        values = dict(cell.values)
        actor.result = actor.operation.apply(values, call.actor)
        actor.landed.append(call)
        ends_at = actor.began + self._life if actor.operation.extends else cell.ends_at
        # Where the adapter creates the new record first, that may have been ended already, as one of the owner's.
        created = self.cells.get(call.new)
        self.cells[call.new] = Cell(values, ends_at, live=created is None or created.live, origin=cell.origin)
        self.cells[call.new].owner = _owner(call)
        grace = call.now + actor.operation.grace
        cell.live, cell.successor, cell.grace_until, cell.graced = False, call.new, grace, actor.operation.grace > 0

    def _end(self, call: Call) -> None:
        cell = self.cells.get(call.handle)
        origin, owner = (call.handle, None) if cell is None else (cell.origin, cell.owner)
        self.cells[call.handle] = Cell({}, 0.0, live=False, origin=origin, owner=owner)


def _owner(call: Call) -> str | None:
    return None if call.record is None else call.record.owner


def _begun(actor: Part, call: Call) -> Values:
    """Return what a session begins with: nothing, unless it is that of a ``bind`` that came too late.

    Where that found the session alive, taken by another ``bind`` of its owner or a rotation, it has the values of one
    of its looks; which one, the record says.
    """
    if not actor.operation.binds or not actor.looks or not actor.looks[-1] or call.record is None:
        return {}
    begun = {key: json.loads(value) for key, value in unpack(call.record.payload).items()}
    return begun if begun in actor.looks else {}
