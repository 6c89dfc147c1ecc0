"""Adapters that break the contract of ``hints`` in one narrow place each."""

from __future__ import annotations

from aiohttp_spry_session import MemorySessionAdapter
from aiohttp_spry_session.adapters.hints import Hints

from .broken import noticed_by

ALL = (
    "each_end_is_hinted_at",
    "many_ends_at_once_are_hinted_at",
    "all_who_listen_hear_it",
    "listening_again",
    "closing_ends_what_listens",
)


class Untold(MemorySessionAdapter):
    """Tells nothing of what is done in between."""

    async def untold(self, call):
        hints, self._hints = self._hints, Hints()
        try:
            return await call
        finally:
            self._hints = hints


@noticed_by(*ALL)
class DestroyIsNotTold(Untold):
    async def destroy(self, handle):
        return await self.untold(super().destroy(handle))


@noticed_by("each_end_is_hinted_at")
class RetiringIsNotTold(Untold):
    async def update(self, handle, record):
        return await self.untold(super().update(handle, record))


@noticed_by("each_end_is_hinted_at")
class RotationIsNotTold(Untold):
    async def rotate(self, old, new, record, retired):
        return await self.untold(super().rotate(old, new, record, retired))


@noticed_by(*ALL)
class HintsBeginWithoutAWord(MemorySessionAdapter):
    """Nobody knows from when on nothing is missed."""

    async def hints(self):
        async for hint in super().hints():
            if hint is not None:
                yield hint


@noticed_by(*ALL)
class HintsBeginWithAHandle(MemorySessionAdapter):
    async def hints(self):
        yield "a handle"


@noticed_by(*ALL)
class HintsEndAtOnce(MemorySessionAdapter):
    """It may as well leave them out."""

    def hints(self):
        return super(MemorySessionAdapter, self).hints()


@noticed_by("many_ends_at_once_are_hinted_at")
class HintsGetLostAmongOthers(MemorySessionAdapter):
    async def hints(self):
        number = 0
        async for hint in super().hints():
            number += 1
            if number < 100:
                yield hint


@noticed_by("all_who_listen_hear_it")
class OneHearsForAll(MemorySessionAdapter):
    """What one has taken the others never see."""

    async def hints(self):
        async for hint in super().hints():
            if hint is None or hint not in self.__dict__.setdefault("taken", set()):
                self.__dict__.setdefault("taken", set()).add(hint)
                yield hint


@noticed_by("listening_again")
class ListensOnce(MemorySessionAdapter):
    async def hints(self):
        self.__dict__["times"] = times = self.__dict__.get("times", 0) + 1
        async for hint in super().hints():
            if hint is None or times == 1:
                yield hint


@noticed_by("closing_ends_what_listens")
class HintsOutliveIt(MemorySessionAdapter):
    async def close(self):
        pass
