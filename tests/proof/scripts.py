"""What a request does, once for the library and once for the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from aiohttp_spry_session import Session

from .model import Expected, Live, Model, Retired, Values

Write = tuple[Literal["set", "remove", "clear"], str, Any]
Final = Literal[
    "nothing", "save", "increment", "update", "pop", "renew", "rotate", "grace", "bind", "destroy", "destroy for good"
]
End = Literal["return", "redirect", "crash"]

GRACE = 30.0
AT_ONCE = {"save", "increment", "update", "pop"}


@dataclass(frozen=True)
class Script:
    """Plain writes, then at most one other operation, then an end."""

    writes: tuple[Write, ...] = ()
    final: Final = "nothing"
    owner: str = "ann"
    end: End = "return"

    async def run(self, session: Session) -> tuple[Values, Any]:
        """Do it to a session; return what the request saw after its writes, and what the operation returned."""
        for kind, key, value in self.writes:
            if kind == "set":
                await session.set(key, value)
            elif kind == "remove":
                await session.remove(key)
            else:
                await session.clear()
        view = {key: await session.get(key) for key in await session.keys()}
        return view, await self._finish(session)

    async def _finish(self, session: Session) -> Any:
        if self.final == "increment":
            return await session.increment("n")
        if self.final == "update":
            return await session.update("list", lambda value: [*(value or []), self.owner])
        if self.final == "pop":
            return await session.pop("a")
        if self.final == "grace":
            return await session.rotate(grace=GRACE)
        if self.final == "bind":
            return await session.bind(self.owner)
        if self.final == "destroy for good":
            return await session.destroy(regenerate=False)
        return None if self.final == "nothing" else await getattr(session, self.final)()

    def finish(self) -> web.Response:
        """Answer the request, or fail."""
        if self.end == "redirect":
            raise web.HTTPFound("/")
        if self.end == "crash":
            raise ZeroDivisionError
        return web.Response()

    def changed(self, values: Values) -> tuple[Values, Any]:
        """Return what the final operation makes of values, and what it returns."""
        after = dict(values)
        if self.final == "increment":
            after["n"] = after.get("n", 0) + 1
            return after, after["n"]
        if self.final == "update":
            after["list"] = [*after.get("list", []), self.owner]
            return after, after["list"]
        if self.final == "pop":
            return after, after.pop("a", None)
        return after, None


class Judge:
    """Plays a script on the model: what must come out of one request.

    :param new: returns the identifier that the response gave to the client; the model cannot make one up.
    """

    def __init__(self, model: Model, presented: str | None, new: Callable[[], str]) -> None:
        self._model = model
        self._presented = presented
        self._new = new
        self._identifier, self._entry = model.resolve(presented)
        self._follows = self._identifier != (presented or "")

    def play(self, script: Script) -> Expected:
        """Return what the client must see, and change the model so."""
        if isinstance(self._entry, Live):
            expected = self._live(script, self._entry)
        else:
            expected = self._nothing(script, retired=isinstance(self._entry, Retired))
        if expected.status == 200 and script.end != "return":
            expected.status = 302 if script.end == "redirect" else 500
        return expected

    def _live(self, script: Script, session: Live) -> Expected:
        model, kept = self._model, script.end != "crash"
        view = written(script.writes, session.values)
        after, result = script.changed(view)
        expected = Expected(view=view, result=result)
        if script.final in ("destroy", "destroy for good"):
            return self._destroy(script, expected)
        if script.final in ("rotate", "grace", "bind") and not (script.final == "grace" and self._follows):
            new = self._new()
            model.move(self._identifier, new, GRACE if script.final == "grace" else 0.0)
            session.values = after
            expected.cookie = "new"
            if script.final == "bind":
                session.owner, session.created_at, session.ends_at = script.owner, model.now, model.ends_at(model.now)
            if kept and model.rolls(session):
                model.extend(session)
            return expected
        changes = leaves_changes(script.writes, session.values)
        wrote = {
            "grace": changes,
            "save": changes or model.rolls(session),
            "pop": changes or model.rolls(session) or result is not None,
            "increment": True,
            "update": True,
        }
        if kept or wrote.get(script.final, False):
            session.values = after
            if (script.final == "renew" and kept) or model.rolls(session):
                model.extend(session)
                expected.cookie = "keep" if self._follows else "same"
        return expected

    def _nothing(self, script: Script, *, retired: bool) -> Expected:
        model, kept = self._model, script.end != "crash"
        view = written(script.writes, {})
        after, result = script.changed(view)
        expected = Expected(view=view, result=result)
        if script.final in ("destroy", "destroy for good"):
            return self._destroy(script, expected)
        asks = script.final in ("renew", "rotate", "grace", "bind")
        if retired and not asks:
            if script.final in ("increment", "update", "pop") or (
                script.final == "save" and leaves_changes(script.writes, {})
            ):
                expected.status, expected.result = 409, None
            return expected
        at_once = script.final in AT_ONCE or script.final in ("rotate", "grace", "bind")
        if (after or asks) and (kept or at_once):
            model.start(self._new(), after, script.owner if script.final == "bind" else None)
            expected.cookie = "new"
        return expected

    def _destroy(self, script: Script, expected: Expected) -> Expected:
        known = self._entry is not None
        if known:
            self._model.end(self._presented)
        expected.cookie = "expire" if self._presented else "keep"
        if script.final == "destroy" and (known or expected.view):
            self._model.start(self._new(), {})
            expected.cookie = "new"
        return expected


def written(writes: tuple[Write, ...], values: Values) -> Values:
    """Return values with plain writes made to them."""
    after = dict(values)
    for kind, key, value in writes:
        if kind == "set":
            after[key] = value
        elif kind == "remove":
            after.pop(key, None)
        else:
            after.clear()
    return after


def leaves_changes(writes: tuple[Write, ...], values: Values) -> bool:
    """Whether plain writes leave anything to commit, be it without effect."""
    return any(kind != "clear" or written(writes[:position], values) for position, (kind, _, _) in enumerate(writes))
