"""What one request knows of its session, and what becomes of it: a state machine, without any I/O.

Nothing here awaits, asks a store, reads a clock or knows HTTP. The handler's wishes come in (:meth:`SessionState.put`,
``drop``, ``renew``, ``discard``); :meth:`~SessionState.next_step` and ``next_move`` say what is to be stored;
``landed``, ``refreshed`` and ``lost`` are told what came of it. The driver does the rest. ::

    UNLOADED --arrive--> LIVE | ABSENT | RETIRED
    ABSENT   --landed(Create)--> LIVE
    RETIRED  --renew--> ABSENT, to be started;  --begin_anew, landed(Create)--> LIVE
    LIVE     --landed(Update | Extend | Move), refreshed--> LIVE;  --lost--> ENDED
    any      --ended (a destroy)--> ABSENT

Values are opaque bytes; :mod:`..session` encodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple

from msgspec.structs import replace

from ..events import EventName
from ..exceptions import AdapterError, HeadersSentError, SessionEndedError
from ..identifiers import IdentifierSource, handle_of
from ..policy import Policy
from ..record import SessionRecord, retire
from .arrival import Place, Sighting, judge
from .steps import Create, Extend, Extension, Move, Step, Update
from .view import Sent, View

__all__ = ["ABSENT", "KEEP", "LIVE", "UNLOADED", "CookieAction", "LostError", "News", "SessionState", "Status"]

Compute = Callable[[dict[str, bytes]], dict[str, bytes]]
"""Makes new values of the newest ones."""


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
ABSENT, LIVE, RETIRED, UNLOADED = Status.ABSENT, Status.LIVE, Status.RETIRED, Status.UNLOADED
KEEP = CookieAction.KEEP


class LostError(Exception):
    """The session is no longer there. Never leaves the package: it becomes a ``SessionEndedError``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class News(NamedTuple):
    """What a signal is to tell, once the request's turn is over."""

    name: EventName
    handle: str
    owner: str | None
    reason: str


class SessionState:
    """The session of one request."""

    # Slots, all set at once: an attribute that is left to the class, or comes late, is slow in every request.
    __slots__ = (
        "_came_retired",
        "_handed_out",
        "_identifiers",
        "_policy",
        "_renewing",
        "_rolling",
        "_starting",
        "busy",
        "cookie",
        "dirty",
        "failure",
        "freed",
        "handled",
        "has_left",
        "headers_sent",
        "is_new",
        "known",
        "news",
        "place",
        "presented",
        "prospective",
        "spare",
        "spare_cookie",
        "spares",
        "status",
        "used",
        "view",
        "went_on",
    )

    def __init__(
        self, policy: Policy, identifiers: IdentifierSource, presented: Sequence[str], spares: Sequence[str] = ()
    ) -> None:
        self._policy = policy
        self._identifiers = identifiers
        self.presented = presented
        self.spares = spares
        """What the client presented beside it, since a rotation of it had an outcome that nobody knew."""
        self.known: Sequence[str] = ()
        """Handles that the client presented and the store knew."""
        self.status = UNLOADED
        self.place: Place | None = None
        """Where the session is; set while it is live."""
        self.prospective: str | None = None
        """The identifier that a session will have which is not there yet, once anybody wanted to know."""
        self.view = View(policy.max_bytes)
        self.dirty = False
        """Whether there may be something to commit; :meth:`next_step` knows."""
        self.cookie = KEEP
        self.news: list[News] = []
        self.failure: AdapterError | None = None
        """Of the look-up before the handler ran."""
        self.spare: Place | None = None
        """Where the session is, if a rotation landed of which nobody knows; the client is given its identifier too."""
        self.spare_cookie = KEEP
        self.headers_sent = False
        self.has_left: Callable[[], bool] | None = None
        """Tells whether the headers have left, where no response hook does."""
        self.handled = False
        """Whether the handler is done."""
        self.went_on = False
        """Whether the request went on, and others with it, since the cookie was decided."""
        self.is_new = True
        self.used = False
        self.busy = False
        """Whether a task of the request is at the store; this and ``freed`` are the driver's."""
        self.freed: object = None
        self._starting = self._renewing = self._rolling = self._handed_out = self._came_retired = False
        if policy.rolling:
            self._rolling = self.dirty = True
        if not presented and not spares and identifiers.synchronous:
            self.begin_absent()

    # What is known.

    @property
    def record(self) -> SessionRecord | None:
        """The record of the session, as it was when the store was last asked; ``None`` while there is none."""
        return None if self.place is None else self.place.record

    @property
    def identifier(self) -> str:
        """The secret; asking for that of a session that is not there yet starts it."""
        if self.status is ABSENT:
            self.check_cookie_possible()
            self._starting = self._handed_out = self.dirty = True
            return self._prospective()
        if self.place is None:
            raise SessionEndedError(self.why_over())
        return self.place.identifier

    @property
    def is_over(self) -> bool:
        """Whether nobody will commit any more: what is changed now is committed at once (promise 8)."""
        return self.handled and self.headers_sent

    @property
    def has_changes(self) -> bool:
        """Whether there is more to commit than a new end."""
        return bool(self.view.changes) or self._starting

    @property
    def handed_out(self) -> bool:
        """Whether the prospective identifier may have gone somewhere, so that it cannot be exchanged any more."""
        return self._handed_out

    def why_over(self) -> str:
        """Return why there is no session."""
        return "retired" if self.status is RETIRED else "ended"

    def is_missing(self, key: str) -> bool:
        """Whether this request knows of nothing under the key, and has nothing else to commit."""
        return self.status is LIVE and key not in self.view.values and not self.has_changes

    # What the handler wishes.

    def put(self, key: str, value: bytes) -> None:
        """Set a key at the next commit."""
        if self.status is ABSENT:
            self.check_cookie_possible()
        self.view.put(key, value)
        self.dirty = True

    def drop(self, key: str) -> None:
        """Remove a key at the next commit; starts nothing."""
        # Not forgotten where the session is being started at this moment, with the key or without it.
        forget = self.status is ABSENT and not self.busy
        self.view.drop(key, forget=forget)
        self.dirty = self.dirty or not forget

    def renew(self) -> None:
        """Restart the expiration with the last commit; starts a session where there is none."""
        if self.status is RETIRED or self.status is ABSENT:
            # (promise 5) Who arrived with a rotated-away identifier, and asks for a session, gets one of its own.
            self.check_cookie_possible()
            self.begin_absent()
            self._starting = True
        self._renewing = self.dirty = True

    def discard(self) -> None:
        """Forget what is pending (promise 8); the request renews nothing by itself any more."""
        self.view.discard(self.record)
        self._renewing = self._starting = self._rolling = self.dirty = False
        if self._came_retired and self.status is ABSENT:
            self.status = RETIRED  # (promise 5) as it arrived: what asked for a session of its own is forgotten

    # What the store knew of what the client presented.

    def arrive(self, sightings: Sequence[Sighting], now: float) -> None:
        """Take over the session that one of the presented identifiers leads to, or none (promise 4)."""
        arrival = judge(sightings, self._policy, now)
        self.known = arrival.known
        for rejection in arrival.rejections:
            self.news.append(News("rejected", rejection.handle, None, rejection.reason))
        place = arrival.place
        if place is not None:
            try:
                self.view.refreshed(place.record)
            except ValueError:
                self.news.append(News("rejected", place.handle, None, "corrupt"))
            else:
                self.place, self.is_new, self.status = place, False, LIVE
                return
        if arrival.retired:
            # (promise 5) Another request has written the newer cookie. Reads are empty; a plain write starts nothing,
            # and would only replace that cookie by one of a session without its data.
            self.status, self._came_retired = RETIRED, True
        else:
            self.begin_absent()

    def unload(self) -> None:
        """Know nothing any more: the look-up failed."""
        self.view.clear()
        self.place, self.known, self.news = None, (), []
        self.status, self.cookie, self.is_new, self._starting = UNLOADED, KEEP, True, False

    def begin_absent(self) -> None:
        """Go on without a session, or, with ``autostart``, with one that is to be started."""
        self.status = ABSENT
        if self._policy.autostart:
            self._starting = self.dirty = True

    # What is to be stored.

    def next_step(self, now: float, compute: Compute | None = None, *, last: bool = False) -> Step | None:
        """Return what is to be stored: the changes, with what is computed from the newest values.

        The ``last`` commit takes a new end along; at a commit point before, its cookie would be decided too early
        (promise 5). ``None`` where there is nothing (promise 6).

        :raises LostError: where the session is over.
        :raises SessionTooLargeError: where it would be too large.
        """
        if self.status is ABSENT:
            return self._next_create(now, compute)
        extension = self._extension(now) if last or self.headers_sent else None
        if compute is None and extension is None and not self.has_changes:
            return None
        if self.status is RETIRED:
            # (promise 5) A plain write under a rotated-away identifier starts nothing: it is dropped, and told of.
            raise LostError("retired")
        place = self._current(now)
        record = place.record
        end = record.expires_at if extension is None else self._policy.renewed_end(record, now)
        if extension is not None and compute is None and not self.view.changes:
            return Extend(place.handle, end, extension)
        view = self.view
        values = view.values if compute is None else compute(view.values)
        draft = SessionRecord(view.packed(values), record.version + 1, record.created_at, end, record.owner)
        return Update(place.handle, draft, values, view.sent(), extension)

    def _next_create(self, now: float, compute: Compute | None) -> Create | None:
        """Return the start of a session, unless there is nothing to keep in it (promise 6)."""
        values = self.view.values if compute is None else compute(self.view.values)
        if not values and not self._starting:
            self.view.clear()
            return None
        if compute is not None:
            self.check_cookie_possible()
        return self.create(now, values=values, reason="started")

    def create(
        self, now: float, *, reason: str, owner: str | None = None, values: dict[str, bytes] | None = None
    ) -> Create:
        """Return the start of a session, with what this request sees or with other values."""
        identifier = self._prospective()
        values = self.view.values if values is None else values
        end = self._policy.end(now, now)
        record = SessionRecord(self.view.packed(values), 1, now, end, owner)
        return Create(identifier, handle_of(identifier), record, values, self.view.sent(), reason)

    def next_move(
        self, now: float, identifier: str, *, grace: float, owner: str | None, reason: str, arrived_late: bool
    ) -> Move | None:
        """Return the session's way to a new identifier; ``None`` where a rotation by the clock was faster.

        :param arrived_late: whether the session was reached through a grace before this began.
        :raises LostError: where the session is over, or another request rotated it first.
        """
        place = self._current(now)
        if place.follows and not arrived_late:  # another request rotated it meanwhile
            if not grace:
                raise LostError("rotated")
            return None
        record = place.record
        draft = replace(record, payload=self.view.packed(self.view.values), version=record.version + 1)
        if owner is not None:
            draft = replace(draft, owner=owner, created_at=now, expires_at=self._policy.end(now, now))
        new = handle_of(identifier)
        retired = retire(draft, new, now=now, grace=grace)
        return Move(place.handle, identifier, new, draft, retired, self.view.values, self.view.sent(), reason)

    def touch(self, now: float) -> Update:
        """Return a write that changes nothing but the version: what began before it cannot land any more.

        :raises LostError: where the session is over, or was rotated, though the client's identifier still leads there.
        """
        place, view = self._current(now), self.view
        if place.follows:
            raise LostError("rotated")
        draft = replace(place.record, version=place.record.version + 1)
        return Update(place.handle, draft, view.values, view.sent(), None)

    def _extension(self, now: float) -> Extension | None:
        if self._renewing:
            return "renew"
        if self._rolling and self.used and self.place is not None and self._policy.rolls(self.place.record, now):
            return "rolling"
        return None

    def _current(self, now: float) -> Place:
        """Return where the session is, or raise :class:`LostError` where it is over, or past its end."""
        if self.place is None:
            raise LostError(self.why_over())
        if self._policy.is_over(self.place.record, now):
            raise LostError("expired")
        return self.place

    # What came of it.

    def landed(self, step: Step) -> None:
        """Take over what was stored, and decide on the cookie (promise 5)."""
        self.went_on = False
        if isinstance(step, Update):
            self._take_over(step.record, step.values, step.sent)
            if step.extension is not None:
                self._extended(step.extension)
        elif isinstance(step, Extend):
            assert self.place is not None  # noqa: S101 - what was extended is there
            self.place = replace(self.place, record=replace(self.place.record, expires_at=step.expires_at))
            self._extended(step.extension)
        elif isinstance(step, Create):
            self.place = Place(step.identifier, step.handle, step.record)
            self.status, self.cookie, self.spare_cookie = LIVE, CookieAction.SEND, self._settled()
            self._take_over(step.record, step.values, step.sent)
            self._starting = self._renewing = False
            self._tell("created", step.reason)
        else:
            self.place = Place(step.identifier, step.new, step.record)
            self.cookie, self.spare_cookie = CookieAction.SEND, self._settled()
            self._take_over(step.record, step.values, step.sent)
            self._tell("rotated", step.reason)
        # Another task of the request may have changed something meanwhile.
        self.dirty = bool(self.view.changes or self._rolling or self._renewing or self._starting)

    def doubted(self, step: Create | Move) -> None:
        """Keep both ways open: nobody knows whether the new identifier landed (promise 9)."""
        handle = step.handle if isinstance(step, Create) else step.new
        self._spare(Place(step.identifier, handle, step.record))

    def _spare(self, place: Place) -> None:
        self.spare, self.spare_cookie = place, CookieAction.SEND

    def _settled(self) -> CookieAction:
        self.spare = None
        return CookieAction.EXPIRE if self.spares else KEEP

    def settle(self) -> None:
        """Let the client forget the identifier that it was given beside its own: it is settled which one counts."""
        self.spare_cookie = self._settled()

    def go_on(self) -> None:
        """Take note that the loop went on: since the cookie was decided others may have moved the session."""
        self.went_on = True

    def looked_again(self, record: SessionRecord | None, now: float) -> None:
        """Decide once more on a cookie from a commit point: only one that leads to the session is sent (promise 5)."""
        if record is None or record.retired or self._policy.is_over(record, now):
            self.cookie = KEEP

    def could_not_look_again(self) -> None:
        """Keep both ways open: nobody knows whether the session was moved on (promise 9)."""
        assert self.place is not None  # noqa: S101 - its cookie was to be sent
        if self.spare is None:  # else there is no room for a third: the likelier ones are sent
            self.cookie = KEEP
            self._spare(self.place)

    def _take_over(self, record: SessionRecord, values: dict[str, bytes], sent: Sent) -> None:
        assert self.place is not None  # noqa: S101 - what was written is there
        self.place = replace(self.place, record=record)
        self.view.landed(record, values, sent)

    def _extended(self, extension: Extension) -> None:
        assert self.place is not None  # noqa: S101 - what was extended is there
        self._renewing = False
        # Who came with a rotated-away identifier does not know the new one: there is no cookie to send.
        if not self.place.follows and not self.headers_sent:
            self.cookie = CookieAction.SEND
        self._tell("renewed", extension)

    def refreshed(self, handle: str, record: SessionRecord | None, now: float) -> None:
        """Take over the newest stored state: what the session's handle leads to by now.

        :raises LostError: where the session is over (promise 3).
        """
        place = self._current(now) if record is None else self.place  # tells an expired session from one that was ended
        if record is None or place is None:
            raise LostError("ended")
        if record.retired:
            raise LostError("rotated")
        try:
            self.view.refreshed(record)
        except ValueError:
            raise LostError("corrupt") from None
        if handle != place.handle:
            place = replace(place, handle=handle, follows=True)
            self.cookie = KEEP  # whoever rotated it has written the newer one
        self.place = replace(place, record=record)
        self._current(now)

    def lost(self, reason: str) -> None:
        """Drop what is pending: the session is over, and nothing of this request brings it back (promise 3)."""
        handle = self.place.handle if self.place is not None else self.known[0] if self.known else ""
        owner = None if self.place is None else self.place.record.owner
        self.discard()
        self.cookie = KEEP
        if self.status is LIVE:
            self.status, self.place = Status.ENDED, None
            self.view.clear()
        self.news.append(News("rejected", handle, owner, reason))

    def leave(self, status: Status, *, values: bool) -> None:
        """Let go of a session that was ended or rotated away, with or without the values that this request saw.

        :param status: what is true as long as no other session takes its place.
        """
        seen = self.view.values
        self.view.clear()
        self.place, self.prospective, self._handed_out, self.is_new = None, None, False, True
        self.status, self.cookie = status, KEEP
        if values:
            for key, value in seen.items():
                self.view.put(key, value)

    def ended(self) -> None:
        """Begin anew, without a session: this request destroyed what there was."""
        self.discard()
        self.known, self.place, self.prospective = (), None, None
        self.view.clear()
        self._handed_out, self.is_new, self._came_retired = False, True, False
        self.cookie = CookieAction.EXPIRE if self.presented else KEEP
        self.spare_cookie = self._settled()
        self.status = ABSENT

    def put_all_again(self) -> None:
        """Take all that the request sees for changes: what is stored may be older."""
        for key, value in list(self.view.values.items()):
            self.put(key, value)

    def exchange(self, identifier: str | None) -> None:
        """Give a session that is not there yet another identifier."""
        self.prospective, self._handed_out = identifier, False

    def check_cookie_possible(self) -> None:
        """Raise ``HeadersSentError`` where no cookie can be sent any more (promise 7)."""
        if self.headers_sent or (self.has_left is not None and self.has_left()):
            raise HeadersSentError(
                "this needs a session cookie in the response, and its headers have left already: "
                "do it before the response is prepared"
            )

    def _prospective(self) -> str:
        if self.prospective is None:
            self.prospective = self._identifiers.new_now()
        return self.prospective

    def _tell(self, name: EventName, reason: str) -> None:
        assert self.place is not None  # noqa: S101 - only of what is there
        self.news.append(News(name, self.place.handle, self.place.record.owner, reason))
