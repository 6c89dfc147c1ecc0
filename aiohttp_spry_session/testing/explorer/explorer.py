"""Every order in which the store calls of concurrent requests can be carried out, tried one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from ...adapter import SessionAdapter
from .gate import Scheduler
from .laws import check
from .operations import OPERATIONS, Operation
from .stage import Stage, Start
from .story import BrokenLawError

__all__ = ["OPERATIONS", "BrokenLawError", "Explorer", "Operation"]


class Explorer:
    """Runs requests against an adapter, in every order of their store calls, and checks the laws after each.

    Each actor does one of :data:`OPERATIONS` through the real middleware, all to one session. Before every store call
    it waits until the explorer lets it go, which it does for one at a time; a method that the adapter leaves to its
    base class is several calls. So an order is a sequence of choices; each is tried from a new session on.

    The laws: no acknowledged write is lost; what has ended, was rotated away or has expired comes back nowhere; a
    rotation has exactly one successor, a logout always logs out; a response carries the cookie if, and only if, it
    must, and what it says is true when the headers leave; the browser is left logged in while the session lives, also
    by a rotation whose answer was lost; nothing fails but with 409 where the session has ended, a ``bind`` never; where
    there is a limit of sessions, none lives beyond it, no more end than that takes, and nobody else is refused.

    :param adapter: an open adapter with an ``expiration``, which nobody else uses meanwhile.
    :param start: how the actors meet the session. ``"live"``: all present its identifier. ``"grace"`` and
        ``"retired"``: it has just been rotated, with or without a grace, and the actors at odd places (the first, the
        third) present the old one.
    :param processes: how many processes the actors are spread over; these share nothing but the store.
    :param skew: by how many seconds the clock of every second process is ahead of the others' (two processes then,
        unless more are asked for). With a minute or more, for which a rotated-away identifier is remembered, the one
        law is left that no difference of clocks may break: what was rotated away without a grace never leads in.
    :param options: options of the :class:`~aiohttp_spry_session.SessionManager`, such as ``lazy=True``.
    """

    def __init__(
        self, adapter: SessionAdapter, *, start: Start = "live", processes: int = 1, skew: float = 0.0, **options: Any
    ) -> None:
        if adapter.expiration is None:
            raise ValueError("the explorer needs an adapter whose sessions expire")
        processes = max(processes, 2) if skew else processes
        self._stage = Stage(
            adapter, life=adapter.expiration, start=start, processes=processes, options=options, skew=skew
        )

    async def explore(self, *names: str, limit: int | None = None) -> int:
        """Try every order for the actors that do these operations; return how many orders there are.

        :param names: names of :data:`OPERATIONS`, one an actor.
        :param limit: stop after so many.
        :raises BrokenLawError: for the first order that breaks a law; its message tells the order.
        """
        tried = 0
        schedule: list[int] | None = []
        while schedule is not None and (limit is None or tried < limit):
            choices = await self._run(names, _follow(schedule))
            tried += 1
            schedule = _next(choices)
        return tried

    async def sample(self, *names: str, orders: int, seed: int = 0) -> None:
        """Try so many random orders."""
        generator = random.Random(f"{names}{seed}")  # noqa: S311 - it has to be repeatable
        for _ in range(orders):
            await self._run(names, lambda waiting: generator.randrange(len(waiting)))

    async def replay(self, *names: str, schedule: Sequence[str]) -> None:
        """Try one order: the actors, ``"a"`` being the first, in the order in which their calls are let go.

        After its end the first actor that waits goes on.
        """
        rest = list(schedule)
        await self._run(names, lambda waiting: waiting.index(rest.pop(0)) if rest else 0)

    async def _run(self, names: Sequence[str], choose: Callable[[Sequence[str]], int]) -> list[tuple[int, int]]:
        choices: list[tuple[int, int]] = []

        def note(waiting: Sequence[str]) -> int:
            choices.append((choose(waiting), len(waiting)))
            return choices[-1][0]

        operations = {chr(ord("a") + number): OPERATIONS[name] for number, name in enumerate(names)}
        try:
            check(await self._stage.play(operations, Scheduler(note)))
        except BrokenLawError as broken:
            raise BrokenLawError(broken.law, f"{broken.message}\n{self._stage.tell()}") from None
        finally:
            await self._stage.clean()
        return choices


def _follow(schedule: Sequence[int]) -> Callable[[Sequence[str]], int]:
    rest = list(schedule)
    return lambda waiting: rest.pop(0) if rest else 0


def _next(choices: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return the choices that lead to the next order, depth first; ``None`` after the last."""
    for position in range(len(choices) - 1, -1, -1):
        choice, number = choices[position]
        if choice + 1 < number:
            return [earlier for earlier, _ in choices[:position]] + [choice + 1]
    return None
