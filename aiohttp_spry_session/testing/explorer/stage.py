"""One schedule of the explorer: a new session, actors that work on it through the middleware, and what is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from http.cookies import SimpleCookie
from itertools import count
from typing import Any, Literal

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ...adapter import SessionAdapter
from ...codec import unpack
from ...events import SessionEvent
from ...identifiers import generate_identifier, handle_of
from ...manager import SessionManager, requests_of
from ...middleware import get_session, setup
from ..clock import FakeClock
from .gate import ACTOR, Gate, Scheduler
from .laws import Answer, History
from .operations import CANARY, VALUES, Kind, Operation, Scene, Values
from .requests import bare_request

__all__ = ["Stage", "Start"]

Start = Literal["live", "grace", "retired"]

_AGE = 0.6
"""The session's age when the actors begin, in lifetimes: past the half, where rolling managers renew."""
_JUMP = 0.45
"""How far the clock moves on: past the end of a session that was not renewed, not to the half of one that was."""
_GRACE = 60.0
_PROBE = Operation("probe")


def _fill(values: Values, actor: str) -> None:
    values.update(VALUES)


def _application(manager: SessionManager) -> web.Application:
    app = web.Application()
    setup(app, manager)
    return app


def _limit(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the managers' options for a limit that the session of the set-up alone does not reach, or just reaches."""
    asked_for = {operation.when_full for operation in operations} - {None}
    if not asked_for:
        return {}
    # Of sessions that began at the same moment the handles say which is the older: the same ones in each schedule.
    options = {"identifier_generator": map("session-{}".format, count()).__next__}
    if "refuse" in asked_for:
        return {"max_sessions": 2, "when_full": "refuse", **options}
    return {"max_sessions": 1, **options}


async def _pass_by() -> None:
    """Nothing but others' turn."""


def _prompt(prompts: list[Callable[[], None]]) -> bool:
    """Make the next prompt; return whether there was one."""
    if prompts:
        prompts.pop(0)()
        return True
    return False


class Stage:
    """Where schedules are played; the store keeps nothing of one when it is cleaned.

    :param options: of the managers, one for each process.
    """

    def __init__(
        self,
        adapter: SessionAdapter,
        *,
        life: float,
        start: Start,
        processes: int,
        options: Mapping[str, Any],
        skew: float = 0.0,
    ) -> None:
        self._adapter = adapter
        self._life = life
        self._start = start
        self._processes = processes
        self._options = options
        self._clock = FakeClock()
        self._skew = skew
        self._scheduler: Scheduler | None = None
        self._apps: dict[SessionManager, web.Application] = {}
        self._gate = Gate(adapter)
        self._managers: list[SessionManager] = []
        self._answers: dict[str, Answer] = {}

    async def play(self, operations: Mapping[str, Operation], scheduler: Scheduler) -> History:
        """Let each actor do its operation, in an order that the scheduler chooses."""
        rolling = any(operation.rolling for operation in operations.values())
        self._gate = Gate(self._adapter)
        limit = _limit(operations.values())
        self._managers = [self._manager(number, rolling=rolling, **limit) for number in range(self._processes)]
        self._apps = {manager: _application(manager) for manager in self._managers}
        self._adapter.clock = self._gate.clock = self._clock
        began = self._clock.now
        owner = generate_identifier()
        old, current = await self._set_up(owner)
        curtain = asyncio.Event()
        acts: dict[str, Callable[[], Awaitable[None]]] = {}
        for number, (actor, operation) in enumerate(operations.items()):
            manager = self._managers[number % self._processes]
            presented = current if number % 2 else old
            if operation.kind is Kind.FORGED:
                presented = generate_identifier()
            self._answers[actor] = Answer(actor, operation, self._clock.now, presented)
            scene = Scene(actor, manager, handle_of(presented), owner, curtain)
            self._gate.watching = self._gate.watching or (actor if operation.stays else "")
            self._gate.clocks[actor] = self._time_of(number)
            self._gate.lost[actor] = operation.lost
            acts[actor] = partial(self._act, self._answers[actor], scene, scheduler)
        self._gate.scheduler = self._scheduler = scheduler
        await scheduler.run(acts, partial(_prompt, self._prompts(operations, curtain)))
        self._gate.scheduler = self._scheduler = None
        self._gate.watching = ""
        self._adapter.clock = self._clock
        calls = list(self._gate.calls)
        answers = self._answers.values()
        identifiers = dict.fromkeys([old, current])
        identifiers.update(dict.fromkeys(value for each in answers for value in (each.cookie, each.doubted) if value))
        return History(
            setup=Operation("set up", apply=_fill, grace=_GRACE if self._start == "grace" else 0.0),
            presented=current,
            life=self._life,
            began=began,
            now=self._clock.now,
            answers=self._answers,
            calls=calls,
            stored={handle: await self._stored(handle) for handle in self._handles()},
            probes={identifier: await self._probe(identifier, self._managers[0]) for identifier in identifiers},
            elsewhere={identifier: await self._probe(identifier, self._managers[-1]) for identifier in identifiers}
            if self._skew
            else {},
            skew=self._skew,
            max_sessions=self._managers[0].max_sessions,
            when_full=self._managers[0].when_full,
        )

    def _prompts(self, operations: Mapping[str, Operation], curtain: asyncio.Event) -> list[Callable[[], None]]:
        """Return what lets go those that stay, once all others are done.

        Where time passed they look first, as they do by themselves when the end has come; real time does not pass here.
        """
        if not any(operation.stays for operation in operations.values()):
            return []
        is_late = any(operation.kind is Kind.CLOCK for operation in operations.values())
        return [self._gate.look_again, curtain.set] if is_late else [curtain.set]

    def tell(self) -> str:
        """Return what happened, a line for each call, with short names for the handles."""
        names: dict[str, str] = {}
        lines = [f"{answer.actor}: {answer.operation.name}" for answer in self._answers.values()]
        for call in self._gate.calls:
            handles = [names.setdefault(handle, f"s{len(names)}") for handle in (call.handle, call.new) if handle]
            version = "" if call.record is None else f" v{call.record.version}"
            outcome = call.outcome if isinstance(call.outcome, bool) else type(call.outcome).__name__
            inner = "  " if call.inner else ""
            lines.append(f"  {inner}{call.actor or '-'} {call.method} {' '.join(handles)}{version} -> {outcome}")
        for answer in self._answers.values():
            events = [f"{event.name}/{event.reason}" for event in answer.events]
            lines.append(f"{answer.actor}: {answer.status} {answer.result!r} cookie={answer.cookie!r} {events}")
        return "\n".join(lines)

    async def clean(self) -> None:
        """Remove from the store what the last schedule left there."""
        for handle in self._handles():
            await self._adapter.destroy(handle)

    def _time_of(self, actor: int) -> Callable[[], float]:
        """Return the clock of an actor's process: those of every second one are ahead."""
        ahead = self._skew * (actor % self._processes % 2)
        return self._clock if not ahead else lambda: self._clock.now + ahead

    def _manager(self, number: int, **usual: Any) -> SessionManager:
        options: dict[str, Any] = {"timeout": None, **usual, **self._options}
        manager = SessionManager(self._gate, clock=self._time_of(number), **options)
        for name in ("created", "renewed", "rotated", "destroyed", "rejected"):
            getattr(manager, f"on_{name}").append(self._note)
        return manager

    async def _note(self, event: SessionEvent) -> None:
        if (answer := self._answers.get(ACTOR.get())) is not None:
            answer.events.append(event)

    async def _set_up(self, owner: str) -> tuple[str, str]:
        """Start the session; return the identifiers that even and odd actors present."""
        self._answers = {}
        manager = self._managers[0]
        requests = requests_of(manager)
        session = requests.session(requests.driver.begin(()))
        for key, value in VALUES.items():
            await session.set(key, value)
        await session.bind(owner)
        old = session.identifier
        self._clock.advance(self._life * _AGE)
        if self._start != "live":
            await session.rotate(grace=_GRACE if self._start == "grace" else 0.0)
        return old, session.identifier

    async def _act(self, answer: Answer, scene: Scene, scheduler: Scheduler) -> None:
        operation = answer.operation
        if operation.kind is Kind.CLOCK:
            await scheduler.pass_gate(answer.actor, self._let_time_pass)
        elif operation.outside is not None:
            answer.result = await operation.outside(scene)
        else:
            await self._request(answer, scene)

    async def _let_time_pass(self) -> None:
        self._clock.advance(self._life * _JUMP)

    async def _request(self, answer: Answer, scene: Scene) -> None:
        async def handler(request: web.Request) -> web.Response:
            answer.result = await answer.operation.run(get_session(request), scene)
            return web.Response()

        async def read(request: web.Request) -> web.Response:
            answer.result = await get_session(request).get(CANARY)
            return web.Response()

        response = await self._send(answer, scene, handler)
        if answer.operation.lost and response.status == web.HTTPServiceUnavailable.status_code:
            # The browser comes again, with the cookies that it has; what it is answered there is what counts.
            answer.came_again, answer.doubted = True, answer.spare
            response = await self._send(answer, scene, read)
        answer.status = response.status

    async def _send(self, answer: Answer, scene: Scene, handler: Handler) -> web.StreamResponse:
        name, app = scene.manager.name, self._apps[scene.manager]
        spare = f"; {name}-next={answer.doubted}" if answer.doubted else ""
        request = bare_request({hdrs.COOKIE: f"{name}={answer.presented}{spare}"})
        response: web.StreamResponse
        try:
            response = await app.middlewares[0](request, handler)
        except web.HTTPException as raised:
            response = raised
        if answer.operation.later and self._scheduler is not None:
            await self._scheduler.pass_gate(answer.actor, _pass_by)
        await app.on_response_prepare[0](request, response)
        answer.left = len(self._gate.calls)
        cookies: SimpleCookie = SimpleCookie("; ".join(response.headers.getall(hdrs.SET_COOKIE, ())))
        answer.cookie = cookies[name].value if name in cookies else None
        answer.spare = cookies[f"{name}-next"].value if f"{name}-next" in cookies else None
        return response

    def _handles(self) -> Sequence[str]:
        written = [
            handle
            for call in self._gate.calls
            if call.method in {"create", "rotate"} and call.outcome is True
            for handle in (call.handle, call.new)
            if handle
        ]
        return list(dict.fromkeys(written))

    async def _stored(self, handle: str) -> Values | None:
        record = await self._adapter.load(handle)
        if record is None or record.retired or record.is_expired(self._clock.now):
            return None
        return {key: json.loads(value) for key, value in unpack(record.payload).items()}

    async def _probe(self, identifier: str, manager: SessionManager) -> Any:
        answer = Answer("", _PROBE, self._clock.now, identifier)
        await self._request(answer, Scene("", manager, "", ""))
        return answer.result
