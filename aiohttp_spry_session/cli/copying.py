"""Sessions copied from one store to another, beside a site that runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from ..adapters.migrating.marks import moving_record
from ..record import SessionRecord
from ..store.guard import GuardedStore

__all__ = ["copy"]

_TOGETHER = 500


async def copy(source: GuardedStore, target: GuardedStore, progress: Callable[[int], object]) -> Counter[str]:
    """Copy all live records; return how many were ``copied`` and ``replaced``, and how many were ``kept`` as they were.

    A record that the target has in the same or a newer version stays as it is there, and so does a retired one. So it
    may be stopped at any time, and run again. The source is only read.
    """
    done: Counter[str] = Counter(copied=0, replaced=0, kept=0)
    part: list[tuple[str, SessionRecord]] = []

    async def flush() -> None:
        results = await asyncio.gather(
            *(_copy_one(target, handle, record) for handle, record in part), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
            done[result] += 1
        progress(len(part))
        part.clear()

    async for handle, record in source.scan():
        # Of one that a site is about to move it is the record inside that is copied.
        part.append((handle, moving_record(record) or record))
        if len(part) == _TOGETHER:
            await flush()
    await flush()
    return done


async def _copy_one(target: GuardedStore, handle: str, record: SessionRecord) -> str:
    """Copy a record; return what became of it."""
    if await target.create(handle, record):
        return "copied"
    there = await target.load(handle)
    if there is None or there.retired or there.version >= record.version:
        return "kept"
    # Of an earlier copy: an update would have to go through all versions between. What is ended there in this moment
    # stays ended, since then there is nothing to remove.
    if await target.destroy(handle) and await target.create(handle, record):
        return "replaced"
    return "kept"
