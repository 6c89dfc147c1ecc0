"""What a store of sessions is: one abstract class. What crosses it stands in :mod:`.record`."""

from __future__ import annotations

import abc
import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import ClassVar

from msgspec.structs import replace

from .options import read_lifetime
from .record import SessionRecord, latest

__all__ = ["SessionAdapter", "check_adapter"]


class SessionAdapter(abc.ABC):
    """Keeps session records under their handles.

    An adapter knows nothing of requests, cookies, identifiers or policy. Every method is atomic for its handle, and
    has taken effect, as durably as the store can, when it returns. Time comes from :attr:`clock`; a record whose
    ``expires_at`` has come counts as missing everywhere. A *live* record is one that is neither expired nor retired.

    A failure is whatever exception the store raises; the manager turns it into an
    :class:`~aiohttp_spry_session.AdapterError`. Never answer ``None`` or ``False`` for a store that is out of reach.

    Only :meth:`load`, :meth:`create`, :meth:`update` and :meth:`destroy` must be written. The other methods are
    correct as they are, on top of these four; a store that can do better overrides them.
    """

    clock: Callable[[], float] = staticmethod(time.time)
    """Returns Unix seconds. The manager sets it to its own."""

    purge_interval: ClassVar[float] = 60.0
    """Seconds between two calls of :meth:`purge` in the background of an application."""

    watch_interval: ClassVar[float] = 5.0
    """Seconds within which each session that an open socket or stream depends on is looked at again, with or without
    :meth:`hints`."""

    users: int = 0
    """How many managers and applications have it open; kept by the manager."""

    _users_loop: asyncio.AbstractEventLoop | None = None
    _users_door: asyncio.Lock  # both kept by .store.sharing

    expiration: float | None
    """Seconds from a session's start or renewal to its end; ``None``: it has no end of its own."""

    def __init__(self, *, expiration: timedelta | float | None = timedelta(minutes=20)) -> None:
        self.expiration = read_lifetime("expiration", expiration)

    @abc.abstractmethod
    async def load(self, handle: str) -> SessionRecord | None:
        """Return the live or retired record, or ``None`` when it is missing or expired."""

    @abc.abstractmethod
    async def create(self, handle: str, record: SessionRecord) -> bool:
        """Store a new record; ``False``, and nothing changed, when a live or retired one is there."""

    @abc.abstractmethod
    async def update(self, handle: str, record: SessionRecord) -> bool:
        """Replace the live record whose version is ``record.version - 1``.

        ``False``, and nothing changed, where there is none: this never creates, never overwrites a newer record, and
        never brings a retired or expired one back.
        """

    @abc.abstractmethod
    async def destroy(self, handle: str) -> bool:
        """Remove the record; it is gone when this returns. Return whether there was a live or retired one.

        Of several that remove one record exactly one is told that it did. Removing what is not there is fine. It has to
        work on a store that is full: a logout needs no room.
        """

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        """Move the end of a live record, never to an earlier time; ``False`` when it is gone.

        This counts as a change: the version goes up by one, so that an update which began before it cannot undo it.
        """
        while True:
            record = await self.load(handle)
            if record is None or record.retired:
                return False
            end = latest(record.expires_at, expires_at)
            if await self.update(handle, replace(record, version=record.version + 1, expires_at=end)):
                return True

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        """Let the session go on under a new handle.

        Where the live record at ``old`` has the version ``record.version - 1``, then ``record`` is live at ``new`` and
        ``retired``, of the same version, stands at ``old``; otherwise ``False``, and nothing changed. The manager makes
        both: an adapter stores them, and reads no payload.
        """
        if not await self.create(new, record):
            return False
        # A failure from here on may leave the new record behind. Nobody knows its identifier, so it is never used, but
        # removing it could end the session, should the update have arrived all the same.
        rotated = await self.update(old, retired)
        if not rotated:
            await self.destroy(new)
        return rotated

    @property
    def rotates_at_once(self) -> bool:
        """Whether :meth:`rotate` does all or nothing, whatever fails meanwhile; the default takes two steps: ``False``.

        Where it does not, who comes back after a rotation of unknown outcome goes on under the new identifier only as
        long as the old one's retired record says so (for 60 seconds, or the grace): nothing that was ended comes back.
        """
        return type(self).rotate is not SessionAdapter.rotate

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        """Return an owner's live records by their handles.

        :raises NotImplementedError: where the adapter keeps no index of owners, as this default.
        """
        raise NotImplementedError(
            f"{type(self).__name__} keeps no index of owners: it has to implement find() for "
            "SessionManager.find() and revoke_owner() to work"
        )

    @property
    def finds_owners(self) -> bool:
        """Whether :meth:`find` can be asked."""
        return type(self).find is not SessionAdapter.find

    def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """Return an asynchronous iterator of all live records with their handles, in any order.

        A record that is there from the beginning to the end comes, and no handle comes twice, whatever else changes
        meanwhile; what was created, rotated or ended since it began may come or not. It works in steps that hold up no
        other operation, in bounded memory, and holds nothing of the store between two of them: whoever stops half-way
        leaves nothing behind. A record that cannot be read is left out.

        :raises NotImplementedError: where the adapter cannot, as this default.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot list its sessions: it has to implement scan() for "
            "SessionManager.sessions() and revoke_all() to work"
        )

    def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """Return what :meth:`scan` does, and the retired records among it.

        Through these a session is found that was rotated while the iterator was under way, out of its sight. The
        default knows the live ones only: then whoever ends everybody may miss one that never stands still.
        """
        return self.scan()

    async def count(self) -> int:
        """Return how many live records there are, counted in steps that hold up no other operation.

        A record that cannot be read may be counted: nobody looks into them.

        :raises NotImplementedError: where the adapter cannot, as this default.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot count its sessions: it has to implement count() for "
            "SessionManager.count() to work"
        )

    def hints(self) -> AsyncIterator[str | None]:
        """Return an asynchronous iterator of handles under which a session may just have ended, in whatever process.

        A hint says where to look; what is true only :meth:`load` says. So a hint too many is fine. One that is missing
        is found out within :attr:`watch_interval`. Whoever ends a record (:meth:`destroy`, an :meth:`update` or
        :meth:`rotate` that retires it) causes one; plain writes do not.

        ``None`` says that everything is to be looked at again, and that from now on nothing will be missed: it comes
        first, once the store is listened to, and after each lost connection, once it is back. An iterator that ends
        says that there are no hints, or none any more; looking again does it alone then. The default ends at once.
        """
        return _NoHints()

    async def purge(self) -> int:
        """Delete what has expired, in steps that do not hold up other operations; return how many records went.

        The default deletes nothing: it is right for a store that lets go of expired records by itself.
        """
        return 0

    async def open(self) -> None:  # noqa: B027 - a store without a life cycle needs none
        """Make the store ready; called once, before any other method."""

    async def close(self) -> None:  # noqa: B027
        """Give back what :meth:`open` took; called once, after all other methods. It can be opened again."""


def check_adapter(adapter: object) -> SessionAdapter:
    """Return the adapter; ``ValueError`` for what is none, and for one that was written for release 1.0."""
    if not isinstance(adapter, SessionAdapter):
        raise ValueError(f"adapter must be a SessionAdapter or None, not {type(adapter).__name__}")
    try:
        inspect.signature(adapter.rotate).bind("old", "new", "record", "retired")
    except TypeError:
        raise ValueError(
            f"{type(adapter).__name__}.rotate has to be rotate(old, new, record, retired), as since release 1.1: "
            "store record at new and retired at old, both or neither"
        ) from None
    return adapter


class _NoHints:
    """An iterator that ends at once."""

    def __aiter__(self) -> _NoHints:
        return self

    async def __anext__(self) -> str | None:
        raise StopAsyncIteration
