"""What the explorer's actors do, each with what it means for plain values and for the session's life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ...exceptions import SessionEndedError
from ...manager import SessionManager
from ...policy import WhenFull
from ...session import Session
from .gate import Lost

__all__ = ["CANARY", "OPERATIONS", "VALUES", "Kind", "Operation", "Scene"]

Values = dict[str, Any]

CANARY = "canary"
VALUES: Values = {CANARY: "alive", "count": 1, "token": "once", "junk": 1, "list": []}
"""What the session holds that the actors meet."""


class Kind(Enum):
    """Who does the operation."""

    REQUEST = auto()
    """A request that presents the session's identifier."""
    FORGED = auto()
    """A request that presents an identifier which nobody issued."""
    CLOCK = auto()
    """Time: it passes the end of the session, unless that was renewed."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an operation is told."""

    actor: str
    manager: SessionManager
    handle: str
    owner: str
    curtain: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when all others are done."""


async def _read(session: Session, scene: Scene) -> Any:
    return await session.get(CANARY)


def _change_nothing(values: Values, actor: str) -> Any:
    return None


@dataclass(frozen=True)
class Operation:
    """What one actor does, and the law for it.

    :param run: what the request's handler awaits.
    :param apply: makes the same change to plain values, and returns what ``run`` must return.
    :param outside: what is awaited instead, outside a request.
    :param changes: it reaches the store, or ``on_rejected`` tells that it was dropped.
    :param atomic: it may be answered 409, where the session has ended.
    :param moves: it gives the session a new identifier.
    :param extends: it restarts the expiration, and its response carries the cookie.
    :param rolling: the managers renew sessions by themselves.
    :param ends: it ends the session, wherever that has gone.
    :param grace: seconds for which the identifier that it replaces still leads to the session.
    :param binds: where it lost its session, it starts one of its own.
    :param later: its response goes through a slow outer middleware: others come between the handler and the headers.
    :param lost: what becomes of the answer of its rotation; a second request, with both cookies, goes on from there.
    :param stays: it is there until the session ends, or all others are done.
    :param when_full: the managers have a limit of sessions, and this happens to a sign-in that is too many for it.
    :param counts: it returns how many sessions it ended, or nothing, which the laws do not foretell.
    """

    name: str
    run: Callable[[Session, Scene], Awaitable[Any]] = _read
    apply: Callable[[Values, str], Any] = _change_nothing
    outside: Callable[[Scene], Awaitable[Any]] | None = None
    kind: Kind = Kind.REQUEST
    changes: bool = True
    atomic: bool = False
    moves: bool = False
    extends: bool = False
    rolling: bool = False
    ends: bool = False
    grace: float = 0.0
    binds: bool = False
    later: bool = False
    lost: Lost = ""
    stays: bool = False
    when_full: WhenFull | None = None
    counts: bool = False


def _apply_read(values: Values, actor: str) -> Any:
    return values.get(CANARY)


async def _set(session: Session, scene: Scene) -> None:
    await session.set(scene.actor, True)
    await session.set("last", scene.actor)


def _apply_set(values: Values, actor: str) -> None:
    values[actor] = True
    values["last"] = actor


def _apply_remove(values: Values, actor: str) -> None:
    values.pop("junk", None)


async def _update(session: Session, scene: Scene) -> Any:
    return await session.update("list", lambda names: [*(names or []), scene.actor])


def _apply_update(values: Values, actor: str) -> Any:
    values["list"] = [*values.get("list", []), actor]
    return values["list"]


def _apply_increment(values: Values, actor: str) -> Any:
    values["count"] = values.get("count", 0) + 1
    return values["count"]


async def _set_and_increment(session: Session, scene: Scene) -> Any:
    await _set(session, scene)
    return await session.increment("count")


def _apply_set_and_increment(values: Values, actor: str) -> Any:
    _apply_set(values, actor)
    return _apply_increment(values, actor)


async def _set_and_renew(session: Session, scene: Scene) -> None:
    await _set(session, scene)
    await session.renew()


async def _set_and_rotate(session: Session, scene: Scene) -> None:
    await _set(session, scene)
    await session.rotate()


async def _set_and_rotate_with_grace(session: Session, scene: Scene) -> None:
    await _set(session, scene)
    await session.rotate(grace=60)


async def _rotate(session: Session, scene: Scene) -> Any:
    await session.rotate()
    return await session.get(CANARY)


async def _renew_and_increment(session: Session, scene: Scene) -> Any:
    await session.renew()
    return await session.increment("count")


async def _stay(session: Session, scene: Scene) -> str:
    """Return whether the session had ended before all others were done; "refused": it never got in."""
    got_in = False
    try:
        async with session.alive():
            got_in = True
            await scene.curtain.wait()
    except SessionEndedError:
        return "ended" if got_in else "refused"
    return "open"


async def _bind(session: Session, scene: Scene) -> None:
    await session.bind(scene.owner)


def _sign_in(name: str, kind: Kind, when_full: WhenFull) -> Operation:
    return Operation(name, _bind, kind=kind, moves=True, extends=True, binds=True, when_full=when_full)


_ALL = [
    Operation("read", _read, _apply_read, changes=False),
    Operation("set", _set, _apply_set),
    Operation("remove", lambda session, scene: session.remove("junk"), _apply_remove),
    Operation("update", _update, _apply_update, atomic=True),
    Operation(
        "pop",
        lambda session, scene: session.pop("token"),
        lambda values, actor: values.pop("token", None),
        atomic=True,
        changes=False,
    ),
    Operation("increment", lambda session, scene: session.increment("count"), _apply_increment, atomic=True),
    Operation("renew", lambda session, scene: session.renew(), extends=True),
    Operation("rolling", _read, _apply_read, rolling=True, extends=True, changes=False),
    Operation("rotate", lambda session, scene: session.rotate(), atomic=True, moves=True),
    Operation(
        "rotate with grace",
        lambda session, scene: session.rotate(grace=60),
        changes=False,  # of two that meet one changes nothing, and goes on with what the other one made
        atomic=True,
        moves=True,
        grace=60.0,
    ),
    Operation("bind", _bind, moves=True, extends=True, binds=True),
    Operation("destroy", lambda session, scene: session.destroy(), ends=True),
    Operation("destroy for good", lambda session, scene: session.destroy(regenerate=False), ends=True),
    Operation("revoke", outside=lambda scene: scene.manager.revoke(scene.handle), ends=True, counts=True),
    Operation(
        "revoke owner",
        outside=lambda scene: scene.manager.revoke_owner(scene.owner),
        ends=True,
        counts=True,
    ),
    Operation(
        "revoke others",
        lambda session, scene: scene.manager.revoke_owner(scene.owner, keep=session),
        atomic=True,
        changes=False,
        counts=True,
    ),
    Operation("open socket", _stay, changes=False, stays=True, counts=True),
    Operation("expiry", kind=Kind.CLOCK, changes=False, counts=True),
    Operation("forged set", _set, _apply_set, kind=Kind.FORGED),
    Operation("set, increment", _set_and_increment, _apply_set_and_increment, atomic=True),
    Operation("set, renew", _set_and_renew, _apply_set, extends=True),
    Operation("set, rotate", _set_and_rotate, _apply_set, atomic=True, moves=True),
    Operation("set, rotate with grace", _set_and_rotate_with_grace, _apply_set, atomic=True, moves=True, grace=60.0),
    Operation("renew, headers later", lambda session, scene: session.renew(), extends=True, later=True),
    Operation("rolling, headers later", _read, _apply_read, rolling=True, extends=True, changes=False, later=True),
    Operation(
        "renew, increment, headers later", _renew_and_increment, _apply_increment, atomic=True, extends=True, later=True
    ),
    Operation("rotate, headers later", lambda session, scene: session.rotate(), atomic=True, moves=True, later=True),
    Operation(
        "rotate with grace, headers later",
        lambda session, scene: session.rotate(grace=60),
        changes=False,
        atomic=True,
        moves=True,
        grace=60.0,
        later=True,
    ),
    Operation(
        "bind, headers later",
        _bind,
        moves=True,
        extends=True,
        binds=True,
        later=True,
    ),
    Operation("rotate, never arrived", _rotate, _apply_read, changes=False, atomic=True, moves=True, lost="before"),
    Operation("rotate, answer lost", _rotate, _apply_read, changes=False, atomic=True, moves=True, lost="after"),
    _sign_in("bind, the oldest end", Kind.REQUEST, "end-oldest"),
    _sign_in("bind, or be refused", Kind.REQUEST, "refuse"),
    _sign_in("sign in, the oldest end", Kind.FORGED, "end-oldest"),
    _sign_in("sign in, or be refused", Kind.FORGED, "refuse"),
]

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _ALL}
"""Every operation that the explorer knows, by its name."""
