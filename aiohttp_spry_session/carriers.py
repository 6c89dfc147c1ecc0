"""What carries the identifier between a client and its session: a cookie, or a header for clients without cookies."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import hdrs, web
from multidict import CIMultiDict

from .cookies import MAX_VALUES, CookieWriter, is_cookie_value, read_cookie
from .manager import Requests
from .request.state import SessionState
from .request.status import KEEP, CookieAction

__all__ = ["CookieCarrier", "HeaderCarrier", "Presented", "add_vary"]

Presented = tuple[Sequence[str], Sequence[str]]
"""The identifiers that a client presented, and those beside them, of a rotation whose outcome nobody knew."""

_NEXT = "-next"


class CookieCarrier:
    """Cookies, which browsers keep: one for the identifier, and one beside it where a rotation is in doubt.

    :param hooked: whether this is done when a response is prepared; before that a handler's own cookies are no headers.
    """

    def __init__(self, requests: Requests, *, hooked: bool) -> None:
        self._requests = requests
        self._cookies: CookieWriter = requests.cookies
        self._spares: CookieWriter = requests.spares
        self._hooked = hooked

    def read(self, request: web.BaseRequest) -> Presented:
        """Return what the client presented."""
        headers = request.headers.getall(hdrs.COOKIE, ())
        if not headers:
            return (), ()
        spares = read_cookie(headers, self._spares.name) if _NEXT in ";".join(headers) else ()
        return read_cookie(headers, self._cookies.name), spares

    def write(self, response: web.StreamResponse, state: SessionState) -> None:
        """Write into the response what becomes of the client's cookies."""
        headers, cookie, place = response.headers, state.cookie, state.place
        if cookie.spare_action is CookieAction.SEND and cookie.spare is not None:
            spare = cookie.spare
            self._spares.write(headers, spare.identifier, max_age=self._requests.max_age(spare))
        elif cookie.spare_action is CookieAction.EXPIRE:
            self._spares.remove(headers)
        if cookie.action is KEEP:
            return
        if not self._hooked:
            # One that the handler set becomes a header only when the response is prepared.
            response.cookies.pop(self._cookies.name, None)
        if cookie.action is CookieAction.SEND and place is not None:
            self._cookies.write(headers, place.identifier, max_age=self._requests.max_age(place))
        else:
            self._cookies.remove(headers)


class HeaderCarrier:
    """A header of requests and responses; where a rotation is in doubt its value is ``old,new``.

    :param name: the header's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def is_in(self, request: web.BaseRequest) -> bool:
        """Whether the client uses the header: it may be empty, while there is no session yet."""
        return self.name in request.headers

    def read(self, request: web.BaseRequest) -> Presented:
        """Return what the client presented; several headers are looked at as several cookies are."""
        presented: list[str] = []
        spares: list[str] = []
        for value in dict.fromkeys(request.headers.getall(self.name)):
            parts = [part.strip(" \t") for part in value.split(",")]
            if len(parts) > 2:
                parts = [value]  # no identifier: it is told of as such
            presented += [part for part in parts[:1] if part]
            spares += [part for part in parts[1:] if part]
        return list(dict.fromkeys(presented))[:MAX_VALUES], list(dict.fromkeys(spares))[:MAX_VALUES]

    def write(self, response: web.StreamResponse, state: SessionState) -> None:
        """Write into the response what the client is to present from now on; nothing where that stays as it is."""
        cookie, place = state.cookie, state.place
        if not cookie.writes:
            return
        if cookie.action is CookieAction.SEND and place is not None:
            value = place.identifier
        elif cookie.action is KEEP:
            value = _held(state)
        else:
            value = ""
        if cookie.spare_action is CookieAction.SEND and cookie.spare is not None:
            value = f"{value},{cookie.spare.identifier}"
        response.headers[self.name] = value
        response.headers.setdefault("Cache-Control", "no-store")


def _held(state: SessionState) -> str:
    """Return the identifier that the client is to keep: of those that it presented."""
    if state.place is not None and state.place.identifier in state.presented:
        return state.place.identifier
    # What cannot be one is not sent back: a response could not even hold all that a request can.
    return next(filter(is_cookie_value, state.presented), "")


def add_vary(headers: CIMultiDict[str], names: str) -> None:
    """Say that the response depends on these request headers, unless it says so already (CVE-2023-30861).

    :param names: such as ``Cookie``, or ``Cookie, X-Session``.
    """
    if headers.setdefault("Vary", names) == names:
        return
    present = ", ".join(headers.getall("Vary"))
    fields = {field.strip().lower() for field in present.split(",")}
    missing = [name for name in names.split(", ") if name.lower() not in fields]
    if missing and "*" not in fields:
        headers["Vary"] = ", ".join([present, *missing] if present else missing)
