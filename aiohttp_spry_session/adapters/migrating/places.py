"""Where a session is: in the new store or the old one, or on its way."""

from __future__ import annotations

import contextlib
import secrets

from ...adapter import SessionAdapter
from ...events import logger
from ...record import SessionRecord
from .marks import grave_of, husk, is_moved, moved, moving, moving_record, seen

__all__ = ["Places"]


class Places:
    """Looks for records in two stores, and moves those that are to."""

    def __init__(self, new: SessionAdapter, old: SessionAdapter, *, move: bool) -> None:
        self.new = new
        self.old = old
        self.move = move

    async def place(self, handle: str, *, move: bool | None = None) -> tuple[SessionAdapter, SessionRecord] | None:
        """Return where a handle's record is now, once it has moved if it is to, and the record as it stands there."""
        found = await self.new.load(handle)
        if found is not None:
            return self.new, found
        while (kept := await self.old.load(handle)) is not None:
            arriving = moving_record(kept)
            if arriving is None and not kept.retired and (self.move if move is None else move):
                mark = moving(kept)
                try:
                    marked = await self.old.update(handle, mark)
                except Exception:  # noqa: BLE001 - as long as it cannot be marked, it stays
                    logger.debug("a session could not be moved", exc_info=True)
                    return self.old, kept
                if not marked:
                    continue
                kept, arriving = mark, kept
            if arriving is None and not is_moved(kept):
                return self.old, kept
            found = None
            if arriving is not None:
                found = arriving if await self.new.create(handle, arriving) else None
                with contextlib.suppress(Exception):  # whoever finds the mark makes up for it
                    await self.old.update(handle, moved(kept))
            found = found or await self.new.load(handle)
            return None if found is None else (self.new, found)
        return None

    async def seen(self, handle: str, record: SessionRecord) -> SessionRecord | None:
        """Return what others see of a record in the new store."""
        visible = seen(record, self.new.clock())
        if visible is None or visible is record:
            return visible
        return None if await self.new.load(grave_of(handle)) is not None else visible

    async def lasting(self, handle: str, retired: SessionRecord, live: SessionRecord) -> SessionRecord:
        """Return what takes the place of a live record in the new store, so that no late copy of an older one can."""
        try:
            kept = await self.old.load(handle)
        except Exception:  # noqa: BLE001 - nobody knows whether it came from there
            return husk(retired, live)
        return retired if kept is None else husk(retired, live, kept)

    async def is_taken(self, handle: str) -> bool:
        """Whether a session could not begin under a handle."""
        if await self.new.load(handle) is not None:
            return True
        with contextlib.suppress(Exception):  # as in create
            kept = await self.old.load(handle)
            return kept is not None and not is_moved(kept)
        return False

    async def remove(self, handle: str, found: SessionRecord | None) -> bool:
        """Remove what no late copy can take the place of."""
        visible = found is None or await self.seen(handle, found) is not None
        return await self.new.destroy(handle) and visible

    async def is_one_store(self) -> bool:
        """Whether what is written to the new store is found in the old one; no, where one of them does not answer."""
        handle, now = f"spry-session-probe-{secrets.token_hex(8)}", self.new.clock()
        with contextlib.suppress(Exception):
            await self.new.create(handle, SessionRecord(b"", 1, now, now + 60.0, retired=True))
            try:
                return await self.old.load(handle) is not None
            finally:
                await self.new.destroy(handle)
        return False
