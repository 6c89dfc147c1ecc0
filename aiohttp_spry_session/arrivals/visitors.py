"""One request's old cookies: which session they stand for, and how that arrives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

from aiohttp import hdrs, web

from ..codec import Codec, pack
from ..cookies import CookieWriter, read_cookie
from ..events import logger
from ..exceptions import AdapterError
from ..identifiers import handle_of
from ..keys import key_name
from ..record import SessionRecord
from ..request.companion import Records
from ..request.state import SessionState
from ..request.status import KEEP, News
from ..session import check_owner
from ..store.outage import Outage
from .claims import arrived_as, claim_of, done, identifier_of, new_salt, opened
from .old import OldSession, Source

__all__ = ["Visitor", "Visitors"]

_ATTEMPTS = 8
_NOT_SHARED = re.compile(r"no-store|private", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(?:([0-3][0-7]{2})|(.))")


class Candidate(NamedTuple):
    """A session that has not arrived yet."""

    session: OldSession
    source: Source
    claim: SessionRecord | None
    """Open, or not there."""


class Visitors:
    """Makes what is asked of the requests of one manager.

    :param cookies: the old cookies, by their names, with the attributes of the manager's.
    :param timeout: seconds that a call of an old storage may take.
    """

    def __init__(
        self, sources: Sequence[Source], cookies: Sequence[CookieWriter], codec: Codec, timeout: float | None
    ) -> None:
        self.sources = sources
        self.cookies = cookies
        self.codec = codec
        self._timeout = timeout
        self._outages = {source: Outage() for source in sources}

    def __call__(self, request: web.Request) -> Visitor | None:
        """Return what is asked of one request; ``None`` where no old cookie came along."""
        headers = request.headers.getall(hdrs.COOKIE, ())
        found = {cookie: values for cookie in self.cookies if (values := read_cookie(headers, cookie.name))}
        return Visitor(self, found) if found else None

    async def find(self, source: Source, value: str, now: float) -> OldSession | None:
        """Ask an old storage; ``AdapterError`` where it fails or hangs (promise 9)."""
        outage = self._outages[source]
        try:
            async with asyncio.timeout(self._timeout):
                session = await source.find(value, now)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong there
            failure = AdapterError("load", f"the old storage of aiohttp-session failed ({type(error).__name__})")
            # (promise 10) Redis repeats the arguments of a command that it does not have: such a cause is left out.
            failure.__cause__ = error if value not in str(error) else None
            outage.failed("load", failure)
            raise failure  # noqa: B904 - its cause was needed before: the log shows it
        if outage.going_on:
            outage.answered("load")
        return session

    async def remove(self, source: Source, value: str) -> None:
        """Remove what has arrived. Where that fails its claim alone keeps it from arriving again."""
        try:
            async with asyncio.timeout(self._timeout):
                await source.remove(value)
        except Exception as error:  # noqa: BLE001 - the session is safe
            logger.warning(
                "a session of aiohttp-session has arrived, and could not be deleted there (%s)", type(error).__name__
            )


class Visitor:
    """The client of one request that sent old cookies.

    :param found: their values, by the cookies that it sent.
    """

    def __init__(self, visitors: Visitors, found: Mapping[CookieWriter, Sequence[str]]) -> None:
        self._visitors = visitors
        self._found = found

    async def identify(self, state: SessionState, store: Records, clock: Callable[[], float]) -> Sequence[str]:
        """Let the sessions arrive that the old cookies stand for, unless they have already; return their identifiers.

        Where there are several they arrive too, though none is used (promise 4): so that ``bind`` and ``destroy`` end
        them all, and a cookie that is left of them leads nowhere.
        """
        found: dict[str, Candidate] = {}
        identifiers: list[str] = []
        for value, sources in self._values():
            one = await self._look(value, sources, store, clock)
            if isinstance(one, Candidate):
                found[one.session.value] = one
            elif one is not None:
                identifiers.append(one)
        for candidate in found.values():
            identifier = await self._arrive(state, store, clock, candidate)
            if identifier is not None:
                identifiers.append(identifier)
        return list(dict.fromkeys(identifiers))

    def leaving(self, state: SessionState, headers: MutableMapping[str, str]) -> None:
        """Remove the old cookies with the response that says which one counts from now on.

        (promise 10) A handler that used no session may let caches keep its response for everybody, and could not know
        that somebody would arrive with it: a secret is none of that. The next response has the cookie.
        """
        if not state.used and not state.is_new and _is_for_caches(headers):
            state.cookie.keep_all()
        if state.cookie.action is not KEEP:
            for cookie in self._found:
                cookie.remove(headers)  # type: ignore[arg-type]

    def _values(self) -> Iterator[tuple[str, list[Source]]]:
        """Return the values of old cookies, each with the storages that may know it."""
        for cookie, found in self._found.items():
            sources = [source for source in self._visitors.sources if source.cookie_name == cookie.name]
            for value in map(_unquoted, found):
                if value and _is_text(value):
                    yield value, sources

    async def _look(
        self, value: str, sources: Sequence[Source], store: Records, clock: Callable[[], float]
    ) -> Candidate | str | None:
        """Return the session that a cookie stands for, or the identifier of one that has arrived.

        The old storage is asked first: what it does not have any more, since another request let it arrive, has a claim
        that is done by then.
        """
        for source in sources:
            session = await self._visitors.find(source, value, clock())
            if session is not None:
                claim = await store.load(claim_of(session.value))
                if claim is None or not claim.retired:
                    return Candidate(session, source, claim)
                return arrived_as(claim, session.value)
        if any(source.removes for source in sources):
            claim = await store.load(claim_of(value))
            return None if claim is None else arrived_as(claim, value)
        return None

    async def _arrive(
        self, state: SessionState, store: Records, clock: Callable[[], float], candidate: Candidate
    ) -> str | None:
        """Make the session, unless another request does; return its identifier, whoever made it."""
        old, source, claim = candidate
        name = claim_of(old.value)
        values, left_out = self._read_values(old)
        owner = _read_owner(old, source.owner)
        payload = pack(values)
        for _ in range(_ATTEMPTS):
            now = clock()
            end = state.policy.end(old.created_at, now)
            if end is not None and end <= now:  # past the manager's ``max_lifetime``
                return None
            if claim is None:
                await store.create(name, opened(now))
            salt = b"" if store.rotates_at_once else new_salt()
            identifier = identifier_of(old.value, salt)
            handle = handle_of(identifier)
            record = SessionRecord(payload, 1, old.created_at, end, owner)
            if await store.rotate(name, handle, record, done(salt, now, old.ends_at)):
                state.news.append(News("created", handle, owner, "arrived"))
                _report(handle, left_out, None if owner is not None else _unread_owner(old, source.owner))
                await self._visitors.remove(source, old.value)
                return identifier
            claim = await store.load(name)
            if claim is not None and claim.retired:
                return arrived_as(claim, old.value)
            if await store.load(handle) is not None:
                return identifier  # it outlived its claim
        raise AdapterError("rotate", "an old session could not arrive: its claim kept changing")

    def _read_values(self, old: OldSession) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the values as they are stored, and what is wrong with those that cannot be."""
        values: dict[str, bytes] = {}
        left_out: dict[str, str] = {}
        for key, value in old.values.items():
            try:
                values[key_name(key)] = self._visitors.codec.encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                left_out[key] = type(error).__name__  # not its message, which may show the value
        return values, left_out


def _read_owner(old: OldSession, key: str | None) -> str | None:
    """Return whose session it is; ``None`` where it does not say so, or that is no user's name or number."""
    owner: Any = None if key is None else old.values.get(key)
    try:
        return check_owner(str(owner) if type(owner) is int else owner)
    except ValueError:
        return None


def _unread_owner(old: OldSession, key: str | None) -> str | None:
    """Return the key, where it should have said whose the session is."""
    return None if key is None or old.values.get(key) is None else key


def _report(handle: str, left_out: dict[str, str], owner: str | None) -> None:
    """Log what did not arrive with a session: the names of keys, and no value."""
    for key, problem in left_out.items():
        logger.error(
            "%s: the value of %r in a session of aiohttp-session cannot be stored: it arrived without (%s)",
            handle,
            key,
            problem,
        )
    if owner is not None:
        logger.error("%s: %r in a session of aiohttp-session is no user's: it arrived without an owner", handle, owner)


def _is_for_caches(headers: Mapping[str, str]) -> bool:
    """Whether a response has a ``Cache-Control`` of its own that does not keep it to one browser."""
    control = headers.get(hdrs.CACHE_CONTROL)
    return control is not None and _NOT_SHARED.search(control) is None


def _unquoted(value: str) -> str:
    """Return a value as aiohttp, which wrote it in quotes where it has an ``=``, reads it.

    Not with ``http.cookies``, which takes the square of its length for one of backslashes, up to Python 3.11.9 and
    3.12.5 (CVE-2024-7592): anybody can send those.
    """
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(_unescaped, value[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8)) if found[1] else found[2]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
