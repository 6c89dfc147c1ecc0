"""What one request knows of its session, and what becomes of it: a state machine, without any I/O.

Nothing here awaits, asks a store, reads a clock or knows HTTP. The handler's wishes come in (:meth:`SessionState.put`,
``drop``, ``renew``, ``discard``); :mod:`.plan` makes of it what is to be stored; ``landed``, ``refreshed`` and ``lost``
are told what came of that. The driver does the rest. ::

    UNLOADED --arrive--> LIVE | ABSENT | RETIRED
    ABSENT   --landed(Create)--> LIVE
    RETIRED  --renew--> ABSENT, to be started;  --begin_anew, landed(Create)--> LIVE
    LIVE     --landed(Update | Extend | Move), refreshed--> LIVE;  --lost--> ENDED;  --refuse--> ENDED
    any      --ended (a destroy)--> ABSENT

Values are opaque bytes; :mod:`..session` encodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ..events import EventName
from ..exceptions import AdapterError, HeadersSentError, SessionEndedError, SessionError
from ..facts import last_used_at
from ..identifiers import IdentifierSource
from ..policy import Policy
from ..record import SessionRecord
from .arrival import Place, Sighting, judge
from .companion import Companion, Newcomer
from .cookie import CookieDecision
from .status import ABSENT, LIVE, RETIRED, UNLOADED, LostError, News, Status
from .steps import Create, Extend, Extension, Move, Step, Update
from .view import View

__all__ = ["SessionState"]


def _no_request() -> None:
    """Outside a request there is none."""


class SessionState(Struct, eq=False):
    """The session of one request.

    A ``Struct``, since every request makes one: its many fields are set in C.
    """

    policy: Policy
    _identifiers: IdentifierSource
    presented: Sequence[str]
    view: View
    cookie: CookieDecision
    rolling: bool
    dirty: bool
    """Whether there may be something to commit; :func:`~.plan.next_step` knows."""
    status: Status = UNLOADED
    place: Place | None = None
    """Where the session is; set while it is live."""
    by_header: bool = False
    """Whether the identifiers came in a header, and not in a cookie."""
    known: Sequence[str] = ()
    """Handles that the client presented and the store knew."""
    prospective: str | None = None
    """The identifier that a session will have which is not there yet, once anybody wanted to know."""
    news: list[News] = []
    failure: AdapterError | None = None
    """Of the look-up before the handler ran."""
    headers_sent: bool = False
    has_left: Callable[[], bool] | None = None
    """Tells whether the headers have left, where no response hook does."""
    handled: bool = False
    """Whether the handler is done."""
    is_new: bool = True
    used: bool = False
    last_used_at: float | None = None
    """When the session was used before this request, in Unix seconds, as far as that was stored."""
    request: Callable[[], object] = _no_request
    """Returns the request, for who is told of an event; ``None`` once it is over."""
    busy: bool = False
    """Whether a task of the request is at the store; this and ``waiting`` are the driver's."""
    waiting: list[Callable[[], None]] = []
    """What wakes the tasks that wait for their turn."""
    companion: Companion[SessionState] | None = None
    """What comes on top of the session, in this request."""
    newcomer: Newcomer[SessionState] | None = None
    """Who is asked where the client presented nothing that the store knows."""
    starting: bool = False
    renewing: bool = False
    tracking: bool = True
    """Whether what this request does is a use of the session."""
    _handed_out: bool = False
    _came_retired: bool = False
    _refusal: str | None = None

    @classmethod
    def begin(
        cls, policy: Policy, identifiers: IdentifierSource, presented: Sequence[str], spares: Sequence[str] = ()
    ) -> SessionState:
        """Return the session of a request that presented these identifiers, and those beside them.

        :param spares: what the client was given beside its identifier, by a rotation whose outcome nobody knew.
        """
        rolling = policy.rolling
        view, cookie = View(policy.max_bytes), CookieDecision(spares)
        state = cls(policy, identifiers, presented, view, cookie, rolling, rolling or policy.track_use is not None)
        if not presented and not spares and identifiers.synchronous:
            state.begin_absent()
        return state

    def __repr__(self) -> str:
        # (promise 10) never an identifier
        return f"<SessionState {self.status.name}{'' if self.place is None else f' {self.place.handle}'}>"

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
            self.starting = self._handed_out = self.dirty = True
            return self.new_identifier()
        if self.place is None:
            raise SessionEndedError(self.why_over())
        if not self.place.identifier:
            raise SessionError("the identifier is known to the client alone: the store holds its hash, session.handle")
        return self.place.identifier

    @property
    def is_over(self) -> bool:
        """Whether nobody will commit any more: what is changed now is committed at once (promise 8)."""
        return self.handled and self.headers_sent

    @property
    def has_changes(self) -> bool:
        """Whether there is more to commit than a new end."""
        return bool(self.view.changes) or self.starting

    @property
    def handles(self) -> Sequence[str]:
        """All that an end has to end: what the client presented and the store knew, and where the session is by now."""
        if self.place is None or self.place.handle in self.known:
            return self.known
        return [*self.known, self.place.handle]

    @property
    def handed_out(self) -> bool:
        """Whether the prospective identifier may have gone somewhere, so that it cannot be exchanged any more."""
        return self._handed_out

    def why_over(self) -> str:
        """Return why there is no session."""
        return "retired" if self.status is RETIRED else self._refusal or "ended"

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
            self.starting = True
        self.renewing = self.dirty = True

    def discard(self) -> None:
        """Forget what is pending (promise 8); the request renews nothing by itself any more."""
        self.view.discard(self.record)
        self.renewing = self.starting = self.rolling = self.tracking = self.dirty = False
        if self._came_retired and self.status is ABSENT:
            self.status = RETIRED  # (promise 5) as it arrived: what asked for a session of its own is forgotten

    # What the store knew of what the client presented.

    def expect(self, newcomer: Newcomer[SessionState]) -> None:
        """Take note that the client may hold more than what it presented, so that there is something to look up."""
        self.newcomer = newcomer
        self.status, self.starting = UNLOADED, False

    def arrive(self, sightings: Sequence[Sighting], now: float) -> None:
        """Take over the session that one of the presented identifiers leads to, or none (promise 4)."""
        arrival = judge(sightings, self.policy, now)
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
                self.place, self.is_new, self.status, self.starting = place, False, LIVE, False
                self.last_used_at = last_used_at(self.view.facts, place.record.created_at)
                return
        if arrival.retired:
            # (promise 5) Another request has written the newer cookie. Reads are empty; a plain write starts nothing,
            # and would only replace that cookie by one of a session without its data.
            self.status, self._came_retired = RETIRED, True
        else:
            self.begin_absent()

    def refuse(self, reason: str, *, tell: bool = True) -> None:
        """Take away what was found: this request may not have it, though it is live, and a ``destroy`` still ends it.

        Reads are empty, and a plain write starts nothing (promise 5): the client's cookie is as good as before.
        """
        assert self.place is not None  # noqa: S101 - it was found
        if tell:
            self.news.append(News("rejected", self.place.handle, self.place.record.owner, reason))
        self.view.clear()
        self.place, self.is_new, self.dirty, self.status = None, True, False, Status.ENDED
        self.starting = self.rolling = self.tracking = False
        self.last_used_at = None
        self.cookie = CookieDecision(self.cookie.spares)
        self._refusal = reason

    def unload(self) -> None:
        """Know nothing any more: the look-up failed."""
        self.view.clear()
        self.place, self.known, self.news = None, (), []
        self.status, self.is_new, self.starting, self.last_used_at = UNLOADED, True, False, None
        self.cookie.keep()

    def begin_absent(self) -> None:
        """Go on without a session, or, with ``autostart``, with one that is to be started."""
        self.status = ABSENT
        if self.policy.autostart:
            self.starting = self.dirty = True

    # What plans are made of.

    def current(self, now: float) -> Place:
        """Return where the session is, or raise :class:`LostError` where it is over, or past its end."""
        if self.place is None:
            raise LostError(self.why_over())
        if self.policy.is_over(self.place.record, now):
            raise LostError("expired")
        return self.place

    def new_identifier(self) -> str:
        """Return the identifier of the session that is to be started."""
        if self.prospective is None:
            self.prospective = self._identifiers.new_now()
        return self.prospective

    # What came of it.

    def landed(self, step: Step) -> None:
        """Take over what was stored, and decide on the cookie (promise 5)."""
        self.cookie.went_on = False
        if isinstance(step, Update):
            self._take_over(step)
            if step.extension is not None:
                self._extended(step.extension)
        elif isinstance(step, Extend):
            assert self.place is not None  # noqa: S101 - what was extended is there
            self.place = replace(self.place, record=replace(self.place.record, expires_at=step.expires_at))
            self._extended(step.extension)
        else:
            if isinstance(step, Create):
                self.place = Place(step.identifier, step.handle, step.record)
                self.status, self.starting, self.renewing = LIVE, False, False
                self._take_over(step)
                self._tell("created", step.reason)
            else:
                self.place = Place(step.identifier, step.new, step.record)
                self._take_over(step)
                self._tell("rotated", step.reason, previous=step.handle)
            self.cookie.send()
            self.cookie.settle()
        # Another task of the request may have changed something meanwhile.
        self.dirty = bool(self.view.changes or self.rolling or self.renewing or self.starting)

    def doubted(self, step: Create | Move) -> None:
        """Keep both ways open: nobody knows whether the new identifier landed (promise 9)."""
        handle = step.handle if isinstance(step, Create) else step.new
        self.cookie.doubt(Place(step.identifier, handle, step.record))

    def looked_again(self, record: SessionRecord | None, now: float) -> None:
        """Decide once more on a cookie from a commit point: only one that leads to the session is sent (promise 5)."""
        if record is None or record.retired or self.policy.is_over(record, now):
            self.cookie.keep()

    def _take_over(self, step: Create | Update | Move) -> None:
        assert self.place is not None  # noqa: S101 - what was written is there
        self.place = replace(self.place, record=step.record)
        self.view.landed(step.record, step.values, step.facts, step.sent)

    def _extended(self, extension: Extension) -> None:
        assert self.place is not None  # noqa: S101 - what was extended is there
        self.renewing = False
        # Who came with a rotated-away identifier does not know the new one: there is no cookie to send.
        if not self.place.follows and not self.headers_sent:
            self.cookie.send()
        self._tell("renewed", extension)

    def refreshed(self, handle: str, record: SessionRecord | None, now: float) -> None:
        """Take over the newest stored state: what the session's handle leads to by now.

        :raises LostError: where the session is over (promise 3).
        """
        place = self.current(now) if record is None else self.place  # tells an expired session from one that was ended
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
            self.cookie.keep()  # whoever rotated it has written the newer one
        self.place = replace(place, record=record)
        self.current(now)

    def lost(self, reason: str) -> None:
        """Drop what is pending: the session is over, and nothing of this request brings it back (promise 3)."""
        handle = self.place.handle if self.place is not None else self.known[0] if self.known else ""
        owner = None if self.place is None else self.place.record.owner
        self.discard()
        self.cookie.keep()
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
        self.last_used_at = None
        self.status = status
        self.cookie.keep()
        if values:
            for key, value in seen.items():
                self.view.put(key, value)

    def ended(self) -> None:
        """Begin anew, without a session: this request destroyed what there was."""
        self.discard()
        self.known, self.place, self.prospective, self.last_used_at = (), None, None, None
        self.view.clear()
        self._handed_out, self.is_new, self._came_retired = False, True, False
        self.status = ABSENT
        if self.presented or (self.by_header and self.cookie.spares):
            self.cookie.expire()
        else:
            self.cookie.keep()
        self.cookie.settle()

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

    def _tell(self, name: EventName, reason: str, *, previous: str | None = None) -> None:
        assert self.place is not None  # noqa: S101 - only of what is there
        self.news.append(News(name, self.place.handle, self.place.record.owner, reason, previous))
