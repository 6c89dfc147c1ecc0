"""What one request knows of its session: as loaded, as changed, and what the response must say of it.

Values are opaque bytes here; :mod:`.session` encodes them. Nothing here knows HTTP: the middleware reads
:attr:`SessionState.cookie` to learn what the response must carry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from .codec import pack, unpack
from .events import Events
from .exceptions import AdapterError, HeadersSentError, SessionEndedError, SessionTooLargeError
from .guard import GuardedStore
from .identifiers import IdentifierSource, handle_of
from .policy import Policy
from .record import SessionRecord

__all__ = ["ABSENT", "KEEP", "LIVE", "UNLOADED", "CookieAction", "Services", "SessionState", "Status", "merged"]


class Status(Enum):
    """Whether there is a session."""

    UNLOADED = auto()
    """The client presented an identifier, and the store was not asked yet."""
    ABSENT = auto()
    """There is none: reads are empty, and the first write starts one."""
    LIVE = auto()
    """There is one in the store."""
    RETIRED = auto()
    """The client presented a rotated-away identifier: reads are empty, and a plain write starts nothing."""
    ENDED = auto()
    """It ended while this request used it."""


class CookieAction(Enum):
    """What the response does to the client's cookie."""

    KEEP = auto()
    SEND = auto()
    EXPIRE = auto()


# A member of an enumeration is slow to look up, up to Python 3.11.
ABSENT, LIVE, UNLOADED = Status.ABSENT, Status.LIVE, Status.UNLOADED
KEEP = CookieAction.KEEP


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of one manager share."""

    store: GuardedStore
    policy: Policy
    identifiers: IdentifierSource
    events: Events
    clock: Callable[[], float]


class SessionState:
    """The session of one request, without what reaches the store."""

    # Slots, all set at once: an attribute that is left to the class, or comes late, is slow in every request.
    __slots__ = (
        "_busy",
        "_freed",
        "_handed_out",
        "_handle",
        "_identifier",
        "_known",
        "_presented",
        "_renewing",
        "_rolling",
        "_started",
        "changes",
        "cookie",
        "dirty",
        "failure",
        "follows",
        "headers_sent",
        "is_new",
        "record",
        "services",
        "status",
        "used",
        "values",
    )

    def __init__(self, services: Services, presented: Sequence[str]) -> None:
        self.services = services
        self._presented = presented
        self.status = UNLOADED
        self.record: SessionRecord | None = None
        self.values: dict[str, bytes] = {}
        """What this request sees: what is stored, with its changes made."""
        self.changes: dict[str, bytes | None] = {}
        self.dirty = False
        """Whether there may be something to commit; :attr:`pending` knows."""
        self.cookie = KEEP
        self.failure: AdapterError | None = None
        """Of the look-up before the handler ran."""
        self.follows = False
        """Whether it was reached through a rotated-away identifier that is within its grace."""
        self.headers_sent = False
        self.is_new = True
        self.used = False
        self._known: Sequence[str] = ()  # handles that the client presented and the store knew
        self._identifier: str | None = None
        self._handle = ""
        self._busy = False  # a task of the request is at the store
        self._freed: asyncio.Event | None = None  # set when it no longer is, where others wait for that
        self._started = self._renewing = self._rolling = self._handed_out = False
        if services.policy.rolling:
            self._rolling = self.dirty = True
        if not presented and services.identifiers.synchronous:
            self._begin_absent()

    @property
    def identifier(self) -> str:
        """The secret; asking for that of a session that is not there yet starts it."""
        if self.status is Status.ABSENT:
            self._check_cookie_possible()
            self._started = self._handed_out = self.dirty = True
            return self._prospective()
        if self._identifier is None or self.status is not Status.LIVE:
            raise SessionEndedError(self._why_over())
        return self._identifier

    @property
    def handle(self) -> str:
        """The handle; of a session that is not there yet the one that it will have."""
        if self.status is Status.ABSENT:
            return handle_of(self._prospective())
        if not self._handle:
            raise SessionEndedError(self._why_over())
        return self._handle

    @property
    def pending(self) -> bool:
        """Whether there is anything to commit."""
        if self.changes or self._renewing or self._started:
            return True
        if not (self._rolling and self.used) or self.record is None:
            return False
        return self.services.policy.rolls(self.record, self.services.clock())

    def put(self, key: str, value: bytes) -> None:
        """Set a key at the next commit."""
        if self.status is ABSENT:
            self._check_cookie_possible()
        limit = self.services.policy.max_bytes
        if limit is not None:
            # Adding up is cheaper than packing, and as good as long as it stays below: a character takes up to 4 bytes,
            # the headers of a key and a value up to 10.
            most = 4 * len(key) + len(value) + (26 if self.record is None else len(self.record.payload) + 14)
            for name, changed in self.changes.items():
                most += 4 * len(name) + len(changed or b"") + 10
            if most > limit:
                self._check_size(key, value, limit)
        self.changes[key] = self.values[key] = value
        self.dirty = True

    def drop(self, key: str) -> None:
        """Remove a key at the next commit; starts nothing."""
        self.values.pop(key, None)
        if self.status is Status.ABSENT and not self._busy:
            self.changes.pop(key, None)
        else:  # also where the session is being started at this moment, with the key or without it
            self.changes[key] = None
            self.dirty = True

    def renew(self) -> None:
        """Restart the expiration at the next commit; starts a session where there is none."""
        if self.status is Status.RETIRED or self.status is Status.ABSENT:
            self._check_cookie_possible()
            self._begin_absent()
            self._started = True
        self._renewing = self.dirty = True

    def discard(self) -> None:
        """Forget what is pending; the request renews nothing by itself any more."""
        if self.changes:
            self.changes.clear()
            self.values = {} if self.record is None else unpack(self.record.payload)
        self._renewing = self._started = self._rolling = self.dirty = False

    def _begin_absent(self) -> None:
        self.status = Status.ABSENT
        if self.services.policy.autostart:
            self._started = self.dirty = True

    def _prospective(self) -> str:
        if self._identifier is None:
            self._identifier = self.services.identifiers.new_now()
        return self._identifier

    def _why_over(self) -> str:
        return "retired" if self.status is Status.RETIRED else "ended"

    def _check_size(self, key: str, value: bytes, limit: int) -> None:
        size = len(pack(self.values | {key: value}))
        if size > limit:
            raise SessionTooLargeError(size, limit, key=key)

    def _check_cookie_possible(self) -> None:
        if self.headers_sent:
            raise HeadersSentError(
                "this needs a session cookie in the response, and its headers have left already: "
                "do it before the response is prepared"
            )


def merged(values: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return values with changes made to them; ``None`` removes a key."""
    result = dict(values)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result
