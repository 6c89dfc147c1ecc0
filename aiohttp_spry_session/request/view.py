"""The values that one request sees: those that are stored, with what the request changed since.

Values are opaque bytes. Any number of the request's tasks may change them while a commit is under way: a landing takes
over what was sent, and keeps what was changed since.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ..codec import entry_size, pack, packed_size, unpack, unpack_session
from ..exceptions import SessionTooLargeError
from ..facts import NO_FACTS, Facts
from ..record import SessionRecord

__all__ = ["Sent", "View", "merged"]

Sent = int
"""The view's revision at the time when its changes went to the store."""


class View(Struct, eq=False):
    """What a request sees, and which of it is to be stored."""

    _limit: int | None
    """The largest payload in bytes, without the facts; ``None``: no limit."""
    values: dict[str, bytes] = {}
    """What is stored, with the changes made."""
    changes: dict[str, bytes | None] = {}
    """What is to be stored; ``None`` removes a key."""
    facts: Facts = NO_FACTS
    """What is known of the session beside its values."""
    _stored: int = 0
    """The length of the stored payload without the facts; 0 while there is none."""
    _packed: int = 0
    """That of the one which goes to the store."""
    _revision: int = 0
    """Counts what is changed, so that a landing knows whether anything was meanwhile."""
    _touched: dict[str, int] = {}
    """The revision at which each key was last changed."""
    _bound: int = 0
    """What was put since the last commit takes no more bytes than this."""
    _sum: int | None = None
    """The exact size of all entries of ``values``, once it was asked for."""

    def __repr__(self) -> str:
        return f"<View of {len(self.values)} keys>"  # the values are nobody's business

    def put(self, key: str, value: bytes) -> None:
        """Change a key; ``SessionTooLargeError``, and nothing changed, where the session would be too large."""
        if self._limit is not None:
            self._check_size(key, value, self._limit)
        self.changes[key] = self.values[key] = value
        self._revision = self._touched[key] = self._revision + 1

    def drop(self, key: str, *, forget: bool) -> None:
        """Remove a key; with ``forget`` nothing is to be stored of that, since the key never was."""
        before = self.values.pop(key, None)
        if before is not None and self._sum is not None:
            self._sum -= entry_size(key, before)
        self._revision = self._touched[key] = self._revision + 1
        if forget:
            self.changes.pop(key, None)
        else:
            self.changes[key] = None

    def sent(self) -> Sent:
        """Return what goes to the store now; :meth:`landed` wants it back."""
        return self._revision

    def packed(self, values: dict[str, bytes], facts: Facts) -> bytes:
        """Return the payload of values; one that became too large when ``max_bytes`` was lowered may still shrink.

        :raises SessionTooLargeError: for any other that is too large.
        """
        payload = pack(values)
        self._packed = len(payload)
        if self._limit is not None and self._packed > max(self._limit, self._stored):
            raise SessionTooLargeError(self._packed, self._limit)
        return payload if facts is NO_FACTS else pack(values, facts)

    def landed(self, record: SessionRecord, values: dict[str, bytes], facts: Facts, sent: Sent) -> None:
        """Take over what was stored. What was sent is no change any more, unless it was changed again meanwhile."""
        revision, touched = sent, self._touched
        self.facts, self._stored = facts, self._packed
        if revision == self._revision:  # nothing was changed meanwhile: all that the request sees is stored
            self.changes.clear()
            self._bound = 0
            if values is not self.values:
                self._see(values)
        else:
            since = {key: value for key, value in self.changes.items() if touched[key] > revision}
            stored = unpack(record.payload)  # ``values`` may be those that the request changed
            self.changes = {key: value for key, value in since.items() if stored.get(key) != value}
            self._see(merged(stored, self.changes))

    def refreshed(self, record: SessionRecord) -> None:
        """Take over a newer stored state, and make the changes on it (promise 2); ``ValueError`` for a corrupt one."""
        values, self.facts, self._stored = unpack_session(record.payload, record.created_at)
        self._packed = self._stored
        self._revision += 1
        self._see(merged(values, self.changes) if self.changes else values)

    def discard(self, record: SessionRecord | None) -> None:
        """Forget the changes: the request sees what is stored."""
        if self.changes:
            self.changes.clear()
            self._revision += 1
            values: dict[str, bytes] = {}
            if record is not None:
                values, self.facts, _ = unpack_session(record.payload, record.created_at)
            self._see(values)

    def clear(self) -> None:
        """See nothing any more: there is no session."""
        self.changes.clear()
        self.facts, self._stored = NO_FACTS, 0
        self._revision += 1
        self._see({})

    def _see(self, values: dict[str, bytes]) -> None:
        self.values, self._sum, self._bound = values, None, 0

    def _check_size(self, key: str, value: bytes, limit: int) -> None:
        # A bound is cheaper than the sum, and as good as long as it stays below: a character takes up to 4 bytes, the
        # headers of a key and a value up to 10, that of the whole 10.
        self._bound += 4 * len(key) + len(value) + 10
        if self._bound + self._stored + 10 <= limit:
            return
        if self._sum is None:
            self._sum = sum(entry_size(name, data) for name, data in self.values.items())
        before = self.values.get(key)
        grown = entry_size(key, value) - (0 if before is None else entry_size(key, before))
        size = packed_size(len(self.values) + (before is None), self._sum + grown)
        if size > limit and grown > 0:
            raise SessionTooLargeError(size, limit, key=key)
        self._sum += grown


def merged(values: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return values with changes made to them; ``None`` removes a key."""
    result = dict(values)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result
