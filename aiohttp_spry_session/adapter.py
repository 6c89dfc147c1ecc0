"""What a store of sessions is: one abstract class, and the one value that crosses it."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from .cookies import MAX_LIFETIME_SECONDS

__all__ = [
    "RETIRED_SECONDS",
    "SessionAdapter",
    "SessionRecord",
    "Successor",
    "read_lifetime",
    "retire",
    "successor_of",
]

RETIRED_SECONDS = 60.0
"""How long a rotated-away handle is remembered, unless its grace is longer."""


class SessionRecord(msgspec.Struct, frozen=True, gc=False):
    """A session as a store sees it: opaque bytes, and what the store needs to know to keep its promises.

    Frozen and slotted. A ``msgspec.Struct``, made in a tenth of the time that a frozen dataclass takes, and no work
    for the garbage collector, though there be millions; ``dataclasses.replace`` and its like take it all the same.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    payload: bytes
    version: int
    created_at: float
    expires_at: float | None
    owner: str | None = None
    retired: bool = False

    def is_expired(self, now: float) -> bool:
        """Whether the record's end, if it has one, has come; ``now`` in Unix seconds."""
        return self.expires_at is not None and self.expires_at <= now


SessionRecord.__dataclass_fields__ = {
    field.name: field
    for field in dataclasses.fields(
        dataclasses.make_dataclass("SessionRecord", [field.name for field in msgspec.structs.fields(SessionRecord)])
    )
}


class Successor(msgspec.Struct, array_like=True, frozen=True):
    """What a retired record names: the handle that took over, and until when the old one still leads there."""

    handle: str
    grace_until: float


_encode_successor = msgspec.msgpack.Encoder().encode
_decode_successor = msgspec.msgpack.Decoder(Successor).decode


def retire(record: SessionRecord, handle: str, *, now: float, grace: float = 0.0) -> SessionRecord:
    """Return what takes the place of a rotated-away record: ``record`` is the one that lives on, under ``handle``.

    It holds none of the session's data, and leaves the store after 60 s, or after ``grace`` seconds if that is longer.
    """
    return SessionRecord(
        payload=_encode_successor(Successor(handle, now + grace)),
        version=record.version,
        created_at=record.created_at,
        expires_at=now + max(RETIRED_SECONDS, grace),
        retired=True,
    )


def successor_of(record: SessionRecord) -> Successor | None:
    """Return what a retired record names; ``None`` where its payload is corrupt."""
    try:
        return _decode_successor(record.payload)
    except ValueError:  # msgspec's own, or UnicodeDecodeError
        return None


def latest(first: float | None, second: float | None) -> float | None:
    """Return the later of two ends in Unix seconds; ``None`` is never."""
    return None if first is None or second is None else max(first, second)


def read_lifetime(name: str, value: timedelta | float | None) -> float | None:
    """Return an option's lifetime in seconds; ``ValueError`` where it is not above zero and within 400 days."""
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_LIFETIME_SECONDS:
        raise ValueError(
            f"{name} must be a timedelta or a number of seconds above 0 and up to 400 days "
            f"({MAX_LIFETIME_SECONDS}), or None for no limit, not {value!r}"
        )
    return float(seconds)


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

    users: int = 0
    """How many managers and applications have it open; kept by the manager."""

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
    async def destroy(self, handle: str) -> None:
        """Remove the record, live or retired; it is gone when this returns. Removing what is not there is fine."""

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

    async def rotate(self, old: str, new: str, record: SessionRecord, *, grace: float = 0.0) -> bool:
        """Let the session go on under a new handle.

        Where the live record at ``old`` has the version ``record.version - 1``, then ``record`` is live at ``new`` and
        ``old`` holds the retired record that :func:`~aiohttp_spry_session.adapter.retire` makes; otherwise ``False``,
        and nothing changed. ``grace``, in seconds, goes into the retired record; it is passed only when it is not zero.
        """
        if not await self.create(new, record):
            return False
        # A failure from here on may leave the new record behind. Nobody knows its identifier, so it is never used, but
        # removing it could end the session, should the update have arrived all the same.
        retired = await self.update(old, retire(record, new, now=self.clock(), grace=grace))
        if not retired:
            await self.destroy(new)
        return retired

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        """Return an owner's live records by their handles.

        :raises NotImplementedError: where the adapter keeps no index of owners, as this default.
        """
        raise NotImplementedError(
            f"{type(self).__name__} keeps no index of owners: it has to implement find() for "
            "SessionManager.find() and revoke_owner() to work"
        )

    async def purge(self) -> int:
        """Delete what has expired, in steps that do not hold up other operations; return how many records went.

        The default deletes nothing: it is right for a store that lets go of expired records by itself.
        """
        return 0

    async def open(self) -> None:  # noqa: B027 - a store without a life cycle needs none
        """Make the store ready; called once, before any other method."""

    async def close(self) -> None:  # noqa: B027
        """Give back what :meth:`open` took; called once, after all other methods. It can be opened again."""
