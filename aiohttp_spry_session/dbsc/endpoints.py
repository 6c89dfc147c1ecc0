"""Where browsers register a device's key and prove it: what is answered, and what each answer makes them do.

A browser takes most answers but ``200`` for the end of its device session, and would lock its user out a few minutes
later. So whatever is no fault of the session (a store that fails, a conflict, an identifier that was rotated away
meanwhile) is a 503, which keeps the device session (promise 9). Neither endpoint ever writes the session's own cookie
(promise 5).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from msgspec.structs import replace

from ..cookies import CookieWriter
from ..events import logger
from ..exceptions import AdapterError, ConflictError, SessionEndedError
from ..facts import Facts
from .binding import Binding, TakenError, challenge_for, pass_for, read_binding, refresh, register
from .headers import CHALLENGE, IDENTIFIER, RESPONSE, only_value, write_challenge
from .keys import ProofError
from .options import Options
from .seals import Challenge
from .sessions import BoundSession, Sessions, UnsettledError

__all__ = ["Endpoints"]

_KEEP = (AdapterError, ConflictError, UnsettledError)
"""What is no fault of the session: the browser shall try again."""


class Endpoints:
    """The two endpoints of one binding.

    :param cookies: writes the bound cookie.
    :param identify: returns all identifiers that a request presents, those of a rotation in doubt too.
    :param tell: is told of each registration, once it is stored.
    """

    def __init__(
        self,
        options: Options,
        sessions: Sessions,
        cookies: CookieWriter,
        *,
        identify: Callable[[web.Request], Sequence[str]],
        tell: Callable[[BoundSession, Binding, web.Request], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._sessions = sessions
        self._cookies = cookies
        self._identify = identify
        self._tell = tell
        self._clock = clock
        self._instructions = json.dumps(_instructions(options, cookies)).encode()
        self._routes = {options.register_path: self.register, options.refresh_path: self.refresh}

    def find(self, path: str) -> Callable[[web.Request], Awaitable[web.Response]] | None:
        """Return what answers a path; ``None`` for all but two."""
        return self._routes.get(path)

    async def register(self, request: web.Request) -> web.Response:
        """Take the key that a browser has made, the first time, for the session that was offered it."""
        if request.method != "POST":
            return _only_post()
        text = only_value(request.headers, RESPONSE)
        if text is None:
            return _answer(400)
        try:
            session = await self._sessions.find(self._identify(request))
            if session is None or _binding_of(session.facts) is None:
                return _answer(403)  # without a challenge: whoever has the session's cookie alone shall get none
            proof = _Proof(register, text, self._options, self._clock())
            await session.change(proof)
        except ProofError as error:
            logger.debug("a device's registration was refused: %s", error)
            return _answer(400)
        except SessionEndedError:
            return _answer(403)
        except TakenError:
            return _answer(409)
        except _KEEP:
            return _unavailable()
        await self._tell(session, proof.binding, request)
        return self._accepted(proof)

    async def refresh(self, request: web.Request) -> web.Response:
        """Take one more proof of the key, and give a new bound cookie for it; without a proof, give a challenge."""
        if request.method != "POST":
            return _only_post()
        if only_value(request.headers, IDENTIFIER) != self._options.cookie:
            return _answer(404)
        now = self._clock()
        try:
            session = await self._sessions.find(self._identify(request))
            binding = None if session is None else _binding_of(session.facts)
            if session is None or binding is None:
                return self._ended()
            if binding.key is None:
                # Its registration may be under way; an end that arrived after it would end the new device session.
                return _unavailable() if now < session.since + self._options.grace else self._ended()
            text = only_value(request.headers, RESPONSE)
            if text is None:
                return self._challenge(binding, now)
            proof = _Proof(refresh, text, self._options, now)
            try:
                await session.change(proof)
            except ProofError as error:
                logger.debug("a device's proof was refused: %s", error)
                return self._challenge(proof.newest, now)
        except SessionEndedError:
            return self._ended()
        except _KEEP:
            return _unavailable()
        response = self._accepted(proof)
        # Saves the next refresh its first round.
        response.headers[CHALLENGE] = write_challenge(
            challenge_for(proof.binding, self._options, now), self._options.cookie
        )
        return response

    def _accepted(self, proof: _Proof) -> web.Response:
        response = _answer(200, self._instructions)
        # What a proof shows is that the key was there after its challenge was made.
        value = pass_for(proof.binding, self._options, proof.challenge.issued, proof.now)
        self._cookies.write(response.headers, value, max_age=int(self._options.lifetime))
        return response

    def _challenge(self, binding: Binding, now: float) -> web.Response:
        response = _answer(403)
        response.headers[CHALLENGE] = write_challenge(challenge_for(binding, self._options, now), self._options.cookie)
        return response

    def _ended(self) -> web.Response:
        response = _answer(200, b'{"continue": false}')
        self._cookies.remove(response.headers)
        return response


class _Proof:
    """Makes the binding after a proof of the one before it; what came of it stays here."""

    newest: Binding
    """What was stored when it was last tried."""
    binding: Binding
    challenge: Challenge

    def __init__(
        self,
        accept: Callable[[Binding, str, Options, float], tuple[Binding, Challenge]],
        text: str,
        options: Options,
        now: float,
    ) -> None:
        self._accept = accept
        self._text = text
        self._options = options
        self.now = now

    def __call__(self, facts: Facts) -> Facts:
        newest = _binding_of(facts)
        if newest is None or (newest.key is None and self._accept is refresh):
            raise UnsettledError  # another sign-in has replaced the binding
        self.newest = newest
        self.binding, self.challenge = self._accept(newest, self._text, self._options, self.now)
        bound_at = self.now if newest.key is None else facts.bound_at
        return replace(facts, binding=self.binding.packed(), bound_at=bound_at)


def _binding_of(facts: Facts) -> Binding | None:
    """Return a session's binding; ``None`` where there is none, or none that can be read."""
    try:
        return None if facts.binding is None else read_binding(facts.binding)
    except ValueError:
        return None


def _instructions(options: Options, cookies: CookieWriter) -> object:
    """Return what a browser is to do with its device session."""
    return {
        # A constant: a new registration replaces the device session of the sign-in before.
        "session_identifier": options.cookie,
        "refresh_url": options.refresh_path,
        "scope": {
            "include_site": False,
            "scope_specification": [{"type": "exclude", "domain": "*", "path": path} for path in options.exclude],
        },
        "credentials": [{"type": "cookie", "name": options.cookie, "attributes": cookies.attributes}],
    }


def _answer(status: int, body: bytes = b"") -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(status=status, body=body, headers=headers, content_type="application/json" if body else None)


def _only_post() -> web.Response:
    response = _answer(405)
    response.headers["Allow"] = "POST"
    return response


def _unavailable() -> web.Response:
    response = _answer(503)
    response.headers["Retry-After"] = "1"
    return response
