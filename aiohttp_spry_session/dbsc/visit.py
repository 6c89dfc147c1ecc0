"""The request's side: what comes on top of each request's session where its manager binds sessions to devices.

It refuses a bound session to a request that does not show its device, offers a binding at each sign-in, and lets the
browser forget the bound cookie with the session.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence

from aiohttp import hdrs, web

from ..cookies import CookieWriter, read_cookie
from ..request.state import SessionState
from ..request.status import KEEP
from .arrival import UNBOUND, Device, Sight, judge
from .binding import Binding, challenge_for, new_offer, read_binding
from .headers import CHALLENGE, REGISTRATION, SKIPPED, write_challenge, write_registration
from .options import Options

__all__ = ["REQUIRED", "Visit", "Visits"]

REQUIRED = "__aiohttp_spry_session_dbsc_required__"
"""The attribute of a handler that wants a bound session."""

_UNSEEN = Sight("unbound")

_RELOAD = "<!doctype html><meta charset=utf-8><title>One moment</title>"


class Visits:
    """Makes what comes on top of the requests of one binding."""

    def __init__(self, options: Options, cookies: CookieWriter, *, clock: Callable[[], float]) -> None:
        self.options = options
        self.cookies = cookies
        self.clock = clock

    def __call__(self, request: web.Request) -> Visit:
        """Return what comes on top of one request."""
        return Visit(self, request)


class Visit:
    """On top of one request's session."""

    __slots__ = ("_offer", "_request", "_visits", "sight")

    def __init__(self, visits: Visits, request: web.Request) -> None:
        self._visits = visits
        self._request = request
        self._offer: Binding | None = None
        self.sight = _UNSEEN
        """What the look-up made of the request."""

    def arrived(self, state: SessionState, now: float) -> None:
        """Refuse a bound session where this request does not show that it comes from its device.

        :raises aiohttp.web.HTTPOk: where a browser has not been able to prove it yet, but will when it loads the page
            again by itself.
        """
        facts, record = state.view.facts, state.record
        assert record is not None  # noqa: S101 - it is asked of live sessions
        options = self._visits.options
        self.sight = judge(
            facts,
            self.presented,
            options,
            since=record.created_at,
            now=now,
            # An anonymous visitor has signed in nowhere yet, and was offered nothing.
            required=record.owner is not None
            and (options.required or hasattr(self._request.match_info.handler, REQUIRED)),
        )
        if self.sight.state != "unproven":
            return
        reloads = self.sight.can_be_proved and _comes_from_elsewhere(self._request)
        state.refuse("unproven", tell=not reloads)
        if reloads:
            headers = {"Refresh": "0", hdrs.CACHE_CONTROL: "no-store"}
            raise web.HTTPOk(text=_RELOAD, content_type="text/html", headers=headers)

    def offer(self, state: SessionState) -> bytes | None:
        """Return the offer that a sign-in stores; none to a client that has no cookies."""
        if state.by_header:
            return None
        if self._offer is None:
            self._offer = new_offer()
        return self._offer.packed()

    def leaving(self, state: SessionState, headers: MutableMapping[str, str]) -> None:
        """Write the offer into the response that carries its session's cookie, or forget the bound cookie."""
        if state.cookie.action is KEEP or state.by_header:
            return
        binding = self._current(state)
        if binding is None:
            if self.presented():
                self._visits.cookies.remove(headers)  # type: ignore[arg-type]
        elif binding.key is None and self._offers(state):
            options = self._visits.options
            challenge = challenge_for(binding, options, self._visits.clock())
            headers[REGISTRATION] = write_registration(options.algorithms, options.register_path, challenge)

    def _offers(self, state: SessionState) -> bool:
        # Of a sign-in whose outcome was in doubt, the response that settles it repeats the offer.
        return self._offer is not None or bool(state.cookie.spares)

    def device(self, state: SessionState) -> Device:
        """Return the device of the session that the request has by now."""
        if state.place is None:
            return self.sight.device() if self.sight.state == "unproven" else UNBOUND
        seen, current = self.sight.binding, self._current(state)
        same = seen is not None and current is not None and seen.secret == current.secret
        return self.sight.device() if same else UNBOUND

    def was_proved_within(self, seconds: float) -> bool:
        """Whether the key was there so recently: after a challenge that was made then."""
        found = self.sight.found
        return found is not None and found.issued >= self._visits.clock() - seconds

    def send_back(self) -> web.HTTPTemporaryRedirect:
        """Return what makes a browser prove its key at once: the way to the same address, without a bound cookie."""
        binding = self.sight.binding
        assert binding is not None  # noqa: S101 - only who is bound is sent back
        options = self._visits.options
        path = self._request.rel_url.raw_path_qs
        response = web.HTTPTemporaryRedirect("/")
        # To the letter; but two slashes would lead to another host.
        response.headers[hdrs.LOCATION] = f"/.{path}" if path.startswith("//") else path
        self._visits.cookies.remove(response.headers)
        # A challenge that the browser has from before would prove nothing of now.
        challenge = challenge_for(binding, options, self._visits.clock())
        response.headers[CHALLENGE] = write_challenge(challenge, options.cookie)
        return response

    def presented(self) -> Sequence[str]:
        """Return the bound cookies that came along."""
        return read_cookie(self._request.headers.getall(hdrs.COOKIE, ()), self._visits.options.cookie)

    def _current(self, state: SessionState) -> Binding | None:
        try:
            packed = None if state.place is None else state.view.facts.binding
            return None if packed is None else read_binding(packed)
        except ValueError:
            return None


def _comes_from_elsewhere(request: web.Request) -> bool:
    """Whether a browser opens a page by another site's link, for which it refreshes nothing.

    Loaded again by the page itself it does. That request comes from this origin, so that this happens once.
    """
    headers = request.headers
    return (
        request.method == "GET"
        and headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        and headers.get("Sec-Fetch-Dest") == "document"
        and SKIPPED not in headers
    )
