"""The session object that a handler works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from msgspec import UNSET, UnsetType

from .codec import Codec
from .exceptions import SessionEndedError, SessionNotLoadedError, SessionValueError
from .facts import authenticated_at, read_facts, read_level
from .keys import SessionKey, TypedKey, TypeForm, key_name
from .options import read_lifetime
from .policy import to_datetime
from .request.companion import Companion
from .request.driver import Driver, check_loaded
from .request.state import SessionState
from .request.status import ABSENT, UNLOADED
from .watch.alive import Alive, Socket

__all__ = ["Session", "check_owner", "companion_of", "handle_to_keep"]

T = TypeVar("T")
D = TypeVar("D")
R = TypeVar("R")
V = TypeVar("V")

_AS_THEY_ARE = frozenset({str, int, float, bool})
"""Types of keys whose values need no second look."""


class Session:
    """The session of one request: a small asynchronous mapping that outlives it.

    Reads see what the store held when the request began and what this request changed since. Plain writes are
    committed together, before the response's headers leave, if the handler returns or raises an ``HTTPException``;
    :meth:`update`, :meth:`increment`, :meth:`pop`, :meth:`rotate`, :meth:`bind`, :meth:`confirm` and :meth:`save`
    commit at once everything changed so far. Values are copied in and out.

    Every operation may raise :class:`~aiohttp_spry_session.AdapterError` where it has to ask the store. Operations that
    commit at once raise :class:`~aiohttp_spry_session.SessionEndedError` where the session is gone by then. Every
    operation that takes a key raises :class:`~aiohttp_spry_session.SessionValueError` for one that is neither a valid
    ``str`` nor a :class:`~aiohttp_spry_session.SessionKey`.
    """

    __slots__ = ("_codec", "_driver", "_state")

    def __init__(self, driver: Driver, codec: Codec, state: SessionState) -> None:
        self._driver = driver
        self._codec = codec
        self._state = state

    @property
    def identifier(self) -> str:
        """The secret in the cookie. Reading that of a new session starts it: what was handed out is kept.

        :raises SessionNotLoadedError: with ``lazy=True``, before something was awaited.
        :raises SessionEndedError: where the client's session is over.
        :raises HeadersSentError: for a new session, after the response's headers have left.
        """
        return self._loaded().identifier

    @property
    def handle(self) -> str | None:
        """SHA-256 of the identifier, hexadecimal: the session's name in store, logs and lists. Safe to show.

        ``None`` while there is no session, while it is not loaded, in an outage, and once it has ended. Reading it
        starts nothing, raises nothing and is no use of the session, so that any log line may have it.
        """
        place = self._state.place
        return None if place is None else place.handle

    @property
    def is_new(self) -> bool:
        """Whether the client came without a live session."""
        return self._loaded().is_new

    @property
    def created_at(self) -> datetime | None:
        """When the session was started, or last bound to its owner, in UTC; ``None`` while it is not stored yet."""
        record = self._loaded().record
        return None if record is None else to_datetime(record.created_at)

    @property
    def expires_at(self) -> datetime | None:
        """When the session will end, in UTC; ``None`` for never, and while it is not stored yet."""
        record = self._loaded().record
        return None if record is None or record.expires_at is None else to_datetime(record.expires_at)

    @property
    def owner(self) -> str | None:
        """Whose session this is, as told to :meth:`bind`."""
        record = self._loaded().record
        return None if record is None else record.owner

    @property
    def last_used_at(self) -> datetime | None:
        """When it was used before this request, in UTC, as exactly as ``track_use`` says; ``None`` for no session."""
        state = self._loaded()
        return None if state.place is None or state.last_used_at is None else to_datetime(state.last_used_at)

    @property
    def authenticated_at(self) -> datetime | None:
        """When its user last proved who they are (:meth:`bind`, :meth:`confirm`), in UTC; ``None`` without an owner."""
        seconds = self._authenticated_at()
        return None if seconds is None else to_datetime(seconds)

    @property
    def level(self) -> str | None:
        """How its user proved who they are, as told to :meth:`bind` or :meth:`confirm`."""
        return self._loaded().view.facts.level

    @property
    def device(self) -> dict[str, str] | None:
        """A copy of what :meth:`bind` was told of the device; ``None`` where that was nothing."""
        device = self._loaded().view.facts.device
        return None if device is None else dict(device)

    def is_fresh(self, within: timedelta | float, *, level: str | None = None) -> bool:
        """Return whether its user proved who they are within that time, by the manager's clock (ASVS 7.5.1, 7.5.3).

        :param within: a ``timedelta`` or seconds.
        :param level: where given, it has to be just that one: levels are names, not ranks.
        """
        seconds = read_lifetime("within", within)
        if seconds is None:
            raise ValueError("within must be a timedelta or a number of seconds: None is no time")
        authenticated = self._authenticated_at()
        if authenticated is None or self._driver.clock() - authenticated > seconds:
            return False
        return level is None or self._state.view.facts.level == level

    async def has(self, key: str | SessionKey[Any]) -> bool:
        """Return whether the key has a value (which may be ``None``)."""
        state = await self._use()
        return key_name(key) in state.view.values

    @overload
    async def get(self, key: TypedKey[Any, R, Any]) -> R: ...
    @overload
    async def get(self, key: TypedKey[Any, Any, V], default: D) -> V | D: ...
    @overload
    async def get(self, key: str, default: None = None, *, type: TypeForm[T]) -> T | None: ...
    @overload
    async def get(self, key: str, default: D, *, type: TypeForm[T]) -> T | D: ...
    @overload
    async def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any: ...

    async def get(self, key: str | TypedKey[Any, Any, Any], default: Any = None, *, type: Any = Any) -> Any:
        """Return a new copy of the key's value, or the default where there is none.

        With ``type``, or a :class:`~aiohttp_spry_session.SessionKey`, msgspec converts the value and checks it.

        :raises SessionValueError: where the value cannot be read as the type.
        """
        state = await self._use()
        name = key_name(key)
        data = state.view.values.get(name)
        if data is None:
            return _default(key, default)
        return self._decode(name, data, key.type if isinstance(key, SessionKey) else type)

    async def keys(self) -> list[str]:
        """Return the names of all keys, in no particular order."""
        state = await self._use()
        return list(state.view.values)

    @overload
    async def set(self, key: TypedKey[T, Any, Any], value: T) -> None: ...
    @overload
    async def set(self, key: str, value: Any) -> None: ...

    async def set(self, key: str | TypedKey[Any, Any, Any], value: Any) -> None:
        """Store a copy of the value under the key; starts a session where there is none.

        Under a :class:`~aiohttp_spry_session.SessionKey` msgspec converts it to the key's type first.

        :raises SessionValueError: for a value that has no exact stored form, or not the key's type; the old one stays.
        :raises SessionTooLargeError: where the session would pass ``max_bytes``; the old value stays.
        :raises HeadersSentError: where this would start a session after the response's headers have left.
        """
        state = await self._use()
        name = key_name(key)
        state.put(name, self._encode(name, value, _type(key)))
        if state.is_over:
            await self._driver.save(state)

    async def remove(self, key: str | SessionKey[Any]) -> None:
        """Remove the key; fine where it is not there."""
        state = await self._use()
        state.drop(key_name(key))
        if state.is_over:
            await self._driver.save(state)

    async def clear(self) -> None:
        """Remove all keys that this request sees; the session goes on, empty."""
        state = await self._use()
        for key in list(state.view.values):
            state.drop(key)
        if state.is_over:
            await self._driver.save(state)

    @overload
    async def update(self, key: TypedKey[T, R, V], function: Callable[[R], T]) -> V: ...
    @overload
    async def update(self, key: TypedKey[T, Any, V], function: Callable[[T], T], default: T) -> V: ...
    @overload
    async def update(self, key: str, function: Callable[[Any], T], default: Any = None) -> T: ...

    async def update(
        self, key: str | TypedKey[Any, Any, Any], function: Callable[[Any], Any], default: Any = None
    ) -> Any:
        """Replace the value by ``function(value)``, atomically in the store; return the new value.

        The function gets the newest stored value, or the default. It may be called again when another request was
        faster, so it should do nothing but compute; an exception from it changes nothing and comes out as it is.

        :raises SessionValueError: where its result cannot be stored, or not as the key's type; the old value stays.
        :raises ConflictError: where other processes were faster too often.
        """
        await self._use()
        name = key_name(key)
        kind = _type(key)

        def change(data: bytes | None) -> bytes:
            current = _default(key, default) if data is None else self._decode(name, data, kind)
            return self._encode(name, function(current), kind)

        changed = await self._driver.mutate(self._state, name, change)
        return None if changed is None else self._decode(name, changed, kind)

    @overload
    async def increment(self, key: TypedKey[int, Any, V], by: int = 1) -> V: ...
    @overload
    async def increment(self, key: TypedKey[float, Any, V], by: float = 1) -> V: ...
    @overload
    async def increment(self, key: str, by: int = 1) -> int: ...
    @overload
    async def increment(self, key: str, by: float) -> float: ...

    async def increment(self, key: str | TypedKey[Any, Any, Any], by: float = 1) -> Any:
        """Add to a number, atomically in the store; a missing one counts as 0. Return the sum.

        :raises SessionValueError: where the value is not a number, or the sum not of the key's type; the value stays.
        :raises ConflictError: where other processes were faster too often.
        """

        def add(value: Any) -> float:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SessionValueError(
                    f"{key_name(key)!r} holds a {type(value).__name__}: only a number can be incremented",
                    key=key_name(key),
                )
            return value + by

        missing = 0 if isinstance(key, str) else _default(key, None) or 0
        return await self.update(key, add, missing)

    @overload
    async def pop(self, key: TypedKey[Any, R, Any]) -> R: ...
    @overload
    async def pop(self, key: TypedKey[Any, Any, V], default: D) -> V | D: ...
    @overload
    async def pop(self, key: str, default: Any = None) -> Any: ...

    async def pop(self, key: str | TypedKey[Any, Any, Any], default: Any = None) -> Any:
        """Remove the key, atomically in the store, and return its value, or the default.

        Of any number of requests that pop one value exactly one gets it: right for one-time tokens.

        :raises ConflictError: where other processes were faster too often.
        """
        await self._use()
        name = key_name(key)
        data = await self._driver.take(self._state, name)
        if data is None:
            return _default(key, default)
        return self._decode(name, data, _type(key))

    async def renew(self) -> None:
        """Restart the expiration, when the headers leave, and write the cookie; starts a session where there is none.

        The end never moves to an earlier time, nor past ``max_lifetime``. After the response's headers have left only
        the stored session is extended.

        :raises HeadersSentError: where this would start a session after the response's headers have left.
        """
        state = await self._use()
        state.renew()
        if state.is_over:
            await self._driver.save(state)

    async def rotate(self, *, grace: timedelta | float = 0) -> None:
        """Give the session a new identifier, at once; data, owner, ``created_at`` and ``expires_at`` stay (ASVS 7.2.4).

        The old identifier is dead when this returns. With ``grace`` (a ``timedelta`` or seconds; for rotation by the
        clock only) it still leads to the session for so long, and a request under it that rotates so changes nothing.
        Where there is no session this starts one.

        :raises HeadersSentError: after the response's headers have left.
        :raises SessionEndedError: also where another request rotated it first.
        """
        seconds = read_lifetime("grace", grace) if grace else 0.0
        await self._use()
        await self._driver.rotate(self._state, grace=seconds or 0.0)

    async def bind(
        self,
        owner: str,
        *,
        level: str | None = None,
        device: Mapping[str, str] | None = None,
        expiration: timedelta | float | UnsetType | None = UNSET,
        max_lifetime: timedelta | float | UnsetType | None = UNSET,
        persistent: bool | UnsetType = UNSET,
    ) -> None:
        """Say whose session this is: the one call to make at login (ASVS 7.2.4).

        Rotates the identifier, sets the owner, and restarts expiration and ``max_lifetime``. Where there is no session
        this starts one. A visitor's values stay, and so do the same owner's; another owner's session ends, and one
        begins empty. Where the session ended or was rotated away while this ran, one of its own is started: with the
        values that this request saw where a rotation or another ``bind`` of this owner was faster, else empty.

        What is given here holds for this session alone, through renewals and rotations, until the next ``bind``; what
        is not, comes from adapter and manager. "Remember me" is ``expiration=timedelta(days=30), persistent=True``.

        :param owner: a non-empty ``str``, such as the user's id.
        :param level: a name for how they proved who they are, such as ``"password"``; :meth:`is_fresh` asks for it.
        :param device: what a list of devices shows, at most 1 KB of text, such as the ``User-Agent``.
        :param expiration: a ``timedelta`` or seconds; ``None`` is never.
        :param max_lifetime: a ``timedelta`` or seconds that no renewal passes; ``None``: no limit.
        :param persistent: whether the cookie outlives the browser.
        :raises SessionValueError: for any other owner, level or device; nothing is changed.
        :raises ValueError: for a lifetime that adapters or cookies cannot hold.
        :raises TooManySessionsError: with ``when_full="refuse"``, where the owner has ``max_sessions`` already: the
            session goes on without an owner, its values intact.
        :raises HeadersSentError: after the response's headers have left.
        """
        facts = read_facts(
            level=level, device=device, expiration=expiration, max_lifetime=max_lifetime, persistent=persistent
        )
        check_owner(owner)
        await self._use()
        await self._driver.bind(self._state, owner, facts)

    async def confirm(self, level: str | None = None) -> None:
        """Take note that the user proved again who they are, for a step that needs it (ASVS 7.5.1).

        Rotates the identifier, and sets :attr:`authenticated_at`, and :attr:`level` unless it is ``None``;
        ``created_at``, ``expires_at`` and the absolute limit stay.

        :raises SessionValueError: for a level that is none.
        :raises SessionError: where the session has no owner: there is nobody to confirm.
        :raises HeadersSentError: after the response's headers have left.
        :raises SessionEndedError: also where another request rotated the session first.
        """
        read_level(level)
        await self._use()
        await self._driver.confirm(self._state, level)

    async def destroy(self, *, regenerate: bool = True) -> None:
        """Delete the session from the store, at once, wherever a rotation has taken it (ASVS 7.4.1).

        The request gets a new, empty session, whose cookie is written to the response. With ``regenerate=False``, or
        where there was nothing to destroy, nothing is stored and the client's cookie, if it sent one, is expired; a
        session starts only if something is set afterwards.

        :raises HeadersSentError: with ``regenerate=True``, after the response's headers have left.
        """
        await self._use()
        await self._driver.destroy(self._state, regenerate=regenerate)

    async def load(self) -> None:
        """Look at the store now, where that has not been done yet (``lazy=True``)."""
        self._state.used = True
        await self._driver.load(self._state)

    async def save(self) -> None:
        """Commit now. Starts nothing for a visitor without a session, unless something was set."""
        await self._use()
        await self._driver.save(self._state)

    async def reload(self) -> None:
        """Look at the store again, for WebSockets and streams; what was changed and not committed stays changed.

        :raises SessionEndedError: where the session was destroyed, revoked or rotated, or has expired.
        """
        await self._use()
        await self._driver.reload(self._state)

    def alive(self, socket: Socket | None = None, *, code: int = 4401) -> AbstractAsyncContextManager[None]:
        """Return an asynchronous context manager whose block ends when the session does, wherever that was ended.

        Then the WebSocket, if one is given, is closed, the block cancelled, and ``async with`` ends quietly; without a
        socket :class:`~aiohttp_spry_session.SessionEndedError` comes out. A ``rotate``, a ``confirm``, a renewal, and a
        ``bind`` of the same owner end nothing; neither does a store that fails for a while. Where there is no live
        session it ends at once. At the application's shutdown the socket is closed with 1001.

        :param socket: a prepared ``WebSocketResponse``.
        :param code: what that is closed with, 1000 to 4999; the reason is ``session ended``.
        :raises AdapterError: from ``async with``, where the store fails when the block is entered.
        """
        return Alive(self._driver.watcher, self._use, socket, code)

    def __repr__(self) -> str:
        return f"<Session {self._state.status.name.lower()}>"

    def _authenticated_at(self) -> float | None:
        state = self._loaded()
        record = state.record
        return None if record is None else authenticated_at(state.view.facts, record.owner, record.created_at)

    async def _use(self) -> SessionState:
        state = self._state
        state.used = True
        if state.status is UNLOADED:
            check_loaded(state)
            await self._driver.load(state)
        return state

    def _loaded(self) -> SessionState:
        state = self._state
        state.used = True
        if state.status is UNLOADED:
            check_loaded(state)
            raise SessionNotLoadedError("the session is not loaded yet: await session.load(), or any operation, first")
        return state

    def _encode(self, name: str, value: Any, type: Any) -> bytes:
        try:
            data = self._codec.encode(value)
            if type is Any or (value.__class__ is type and type in _AS_THEY_ARE):
                return data
            # What a read would make of it, or the error that it would raise.
            return self._codec.encode(self._codec.decode(data, type))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _unstorable(name, error) from error

    def _decode(self, name: str, data: bytes, type: Any) -> Any:
        try:
            return self._codec.decode(data, type)
        except (TypeError, ValueError, RecursionError) as error:
            raise _unreadable(name, error) from error


def _unstorable(name: str, error: Exception) -> SessionValueError:
    return SessionValueError(f"the value for {name!r} cannot be stored: {error}", key=name)


def _unreadable(name: str, error: Exception) -> SessionValueError:
    return SessionValueError(f"the stored value of {name!r} cannot be read: {error}", key=name)


def handle_to_keep(session: Session) -> str | None:
    """Return the handle of a loaded session; ``None`` where the visitor has none.

    :raises SessionEndedError: where the session is over: nobody knows which one is meant.
    """
    state = session._state  # noqa: SLF001 - it is this module's
    if state.place is None and state.status is not ABSENT:
        raise SessionEndedError(state.why_over())
    return session.handle


def companion_of(session: Session) -> tuple[Companion[SessionState] | None, SessionState]:
    """Return what comes on top of a request's session, and what that is asked with."""
    state = session._state  # noqa: SLF001 - it is this module's
    return state.companion, state


def check_owner(owner: str) -> str:
    """Return a usable owner; ``SessionValueError`` for one that is not a non-empty, valid ``str``."""
    if not isinstance(owner, str) or not owner:
        raise SessionValueError(f"an owner must be a non-empty str, such as str(user.id), not {type(owner).__name__}")
    try:
        owner.encode()
    except UnicodeEncodeError as error:
        raise SessionValueError("an owner must be valid Unicode") from error
    return owner


def _type(key: object) -> Any:
    return key.type if isinstance(key, SessionKey) else Any


def _default(key: object, default: Any) -> Any:
    return key.default if default is None and isinstance(key, SessionKey) else default
