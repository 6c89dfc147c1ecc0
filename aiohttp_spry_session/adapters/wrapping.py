"""An adapter around an adapter: the base class of those that add something, and leave the keeping to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from ..adapter import SessionAdapter
from ..record import SessionRecord
from ..store.sharing import close_shared, open_shared

__all__ = ["WrappingAdapter", "within"]


class WrappingAdapter(SessionAdapter):
    """Passes everything on to another adapter: what a subclass does not override is as if it were not there.

    The adapter behind it may have other users: it is opened for the first of them, and closed after the last.

    :param adapter: the adapter that keeps the sessions. ``expiration``, ``clock`` and ``purge_interval`` are its own.
    :raises ValueError: for what is no adapter.
    """

    def __init__(self, adapter: SessionAdapter) -> None:
        if not isinstance(adapter, SessionAdapter):
            raise ValueError(
                f"{type(self).__name__} needs a SessionAdapter to pass calls on to, not {type(adapter).__name__}"
            )
        self.adapter = adapter
        """The adapter behind this one."""

    @property
    def expiration(self) -> float | None:
        """Seconds from a session's start or renewal to its end; ``None``: it has no end of its own."""
        return self.adapter.expiration

    @expiration.setter
    def expiration(self, expiration: float | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.adapter.expiration = expiration

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""
        return self.adapter.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.adapter.clock = clock

    @property
    def purge_interval(self) -> float:  # type: ignore[override]
        """Seconds between two calls of :meth:`purge` in the background of an application."""
        return self.adapter.purge_interval

    @property
    def watch_interval(self) -> float:  # type: ignore[override]
        """Seconds within which a watched session is looked at again."""
        return self.adapter.watch_interval

    @property
    def rotates_at_once(self) -> bool:
        """Whether a rotation does all or nothing."""
        return all(adapter.rotates_at_once for adapter in self.behind())

    @property
    def finds_owners(self) -> bool:
        """Whether the sessions of an owner can be found."""
        return all(adapter.finds_owners for adapter in self.behind())

    async def load(self, handle: str) -> SessionRecord | None:
        return await self.adapter.load(handle)

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self.adapter.create(handle, record)

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self.adapter.update(handle, record)

    async def destroy(self, handle: str) -> bool:
        return await self.adapter.destroy(handle)

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await self.adapter.renew(handle, expires_at)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await self.adapter.rotate(old, new, record, retired)

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self.adapter.find(owner)

    def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self.adapter.scan()

    def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        return self.adapter.scan_all()

    async def count(self) -> int:
        return await self.adapter.count()

    def hints(self) -> AsyncIterator[str | None]:
        return self.adapter.hints()

    async def purge(self) -> int:
        return await self.adapter.purge()

    async def open(self) -> None:
        await open_shared(self.adapter)

    async def close(self) -> None:
        await close_shared(self.adapter)

    def behind(self) -> tuple[SessionAdapter, ...]:
        """Return the adapters that this one passes calls on to."""
        return (self.adapter,)


def within(adapter: SessionAdapter) -> Iterator[SessionAdapter]:
    """Return an adapter, and all that it wraps, from the outside in."""
    yield adapter
    if isinstance(adapter, WrappingAdapter):
        for inner in adapter.behind():
            yield from within(inner)
