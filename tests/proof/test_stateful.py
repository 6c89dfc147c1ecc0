"""Random requests of several browsers, with a moving clock, against a plain model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aiohttp_spry_session import (
    MemorySessionAdapter,
    SessionAdapter,
    SessionManager,
    SQLiteSessionAdapter,
    get_session,
    setup,
)
from aiohttp_spry_session.identifiers import handle_of
from aiohttp_spry_session.testing import FakeClock

from ..minimal import PlainAdapter
from ..support import arrive, identifier_in, session_of
from .model import Live, Model, Retired
from .scripts import Final, Judge, Script

pytestmark = pytest.mark.no_cover

LIFE = 1200.0
OWNERS = ["ann", "bob"]
ADAPTERS: dict[str, Callable[[], SessionAdapter]] = {
    "memory": lambda: MemorySessionAdapter(expiration=LIFE),
    "plain": PlainAdapter,
    "sqlite": lambda: SQLiteSessionAdapter(":memory:", expiration=LIFE),
}

owners = st.sampled_from(OWNERS)
keys = st.sampled_from(["a", "b", "c"])
values = st.sampled_from([1, "x", None, [1, {"k": True}], {}])
writes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, values),
        st.tuples(st.just("remove"), keys, st.none()),
        st.tuples(st.just("clear"), st.just(""), st.none()),
    ),
    max_size=3,
).map(tuple)
scripts = st.builds(
    Script,
    writes=writes,
    final=st.just("nothing") | st.sampled_from(get_args(Final)),
    owner=owners,
    end=st.sampled_from(["return", "return", "redirect", "crash"]),
)
browsers = st.integers(0, 2)

SHORT = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a failure is made smaller in the long run only: that takes minutes
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    SHORT, max_examples=500, stateful_step_count=60, derandomize=False, phases=[Phase.generate, Phase.shrink]
)


class Browsers(RuleBasedStateMachine):
    """Three browsers and one application.

    :param make_adapter: makes a new adapter, which is opened and closed in the machine's own event loop.
    """

    def __init__(self, make_adapter: Callable[[], SessionAdapter]) -> None:
        super().__init__()
        self.make_adapter = make_adapter
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.cookies: list[str | None] = [None, None, None]
        self.old: list[str] = ["never-issued"]
        self.script = Script()
        self.seen: Any = None

    def run(self, work: Any) -> Any:
        """Await something in the machine's loop."""
        return self.runner.run(work)

    @initialize(rolling=st.booleans(), lazy=st.booleans(), max_lifetime=st.sampled_from([None, 3000.0]))
    def start(self, rolling: bool, lazy: bool, max_lifetime: float | None) -> None:
        """Start the application."""
        self.model = Model(self.clock.now, life=LIFE, max_lifetime=max_lifetime, rolling=rolling)
        self.manager = SessionManager(
            self.make_adapter(), clock=self.clock, rolling=rolling, lazy=lazy, max_lifetime=max_lifetime
        )
        app = web.Application()
        app.router.add_get("/", self.handle)
        setup(app, self.manager)
        self.run(self.connect(app))

    async def connect(self, app: web.Application) -> None:
        """Start a server, and a client without cookies of its own."""
        self.client = TestClient(TestServer(app))
        await self.client.start_server()

    async def handle(self, request: web.Request) -> web.Response:
        """Run the script that the test has laid out."""
        self.seen = None
        self.seen = await self.script.run(get_session(request))
        return self.script.finish()

    async def get(self, *identifiers: str | None) -> tuple[int, str | None]:
        """Send a request; return the status, and what it says of the cookie."""
        self.client.session.cookie_jar.clear()
        cookie = "; ".join(f"{self.manager.name}={identifier}" for identifier in identifiers if identifier)
        headers = {"Cookie": cookie} if cookie else {}
        async with self.client.get("/", headers=headers, allow_redirects=False) as response:
            return response.status, identifier_in(response.headers)

    @rule(browser=browsers, script=scripts)
    def request(self, browser: int, script: Script) -> None:
        """A browser sends a request, and takes over what the response says of the cookie."""
        presented = self.cookies[browser]
        given = self.play(presented, script)
        if given is not None:
            self.old.extend([presented] if presented else [])
            self.cookies[browser] = given or None

    @rule(data=st.data(), script=scripts)
    def late_request(self, data: st.DataObject, script: Script) -> None:
        """A request comes with an identifier that its browser has since replaced; the answer is lost."""
        given = self.play(data.draw(st.sampled_from(self.old)), script)
        self.old.extend([given] if given else [])

    def play(self, presented: str | None, script: Script) -> str | None:
        """Do the script, and compare; return what the response says of the cookie."""
        self.script = script
        status, given = self.run(self.get(presented))

        def new() -> str:
            assert given
            assert given not in self.model.entries
            return given

        expected = Judge(self.model, presented, new).play(script)
        assert status == expected.status
        if status != 409:
            assert self.seen == (expected.view, expected.result)
        if expected.cookie != "new":
            assert given == {"keep": None, "same": presented, "expire": ""}[expected.cookie]
        return given

    @rule(first=browsers, second=browsers)
    def request_with_two_cookies(self, first: int, second: int) -> None:
        """Of two identifiers in one request exactly one must lead to a session."""
        identifiers = [self.cookies[first], self.cookies[second]]
        self.script = Script(end="crash")
        self.run(self.get(*identifiers))
        found = dict(self.model.resolve(identifier) for identifier in identifiers)
        sessions = [entry for entry in found.values() if isinstance(entry, Live)]
        assert self.seen == (sessions[0].values if len(sessions) == 1 else {}, None)

    @rule(giver=browsers, taker=browsers)
    def copy_cookie(self, giver: int, taker: int) -> None:
        """Two browsers have one session."""
        self.cookies[taker] = self.cookies[giver]

    @rule(seconds=st.sampled_from([1, 20, 40, 100, 500, 700, 1300]))
    def pass_time(self, seconds: int) -> None:
        """The clock moves on."""
        self.clock.advance(seconds)
        self.model.now = self.clock.now

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """The application ends a session by its handle, be it an old one."""
        identifier = data.draw(st.sampled_from([*self.old, *filter(None, self.cookies)]))
        assert self.run(self.manager.revoke(handle_of(identifier))) == self.model.end(identifier)

    @rule(owner=owners, browser=st.none() | browsers)
    def revoke_owner(self, owner: str, browser: int | None) -> None:
        """The application ends the sessions of an owner, all or all but one."""
        kept, keep = "", None
        if browser is not None:
            kept, entry = self.model.resolve(self.cookies[browser])
            if isinstance(entry, Retired):
                return
            keep = session_of(arrive(self.manager, list(filter(None, [self.cookies[browser]]))))
        doomed = [identifier for identifier in self.model.owned(owner) if identifier != kept]
        assert self.run(self.manager.revoke_owner(owner, keep=keep)) == len(doomed)
        for identifier in doomed:
            self.model.end(identifier)

    @rule()
    def purge(self) -> None:
        """Expired sessions leave the store, and no others."""
        self.run(self.manager.purge())

    @invariant()
    def owners_have_their_sessions(self) -> None:
        """``find`` tells of each owner's sessions what the model knows, and nothing more."""
        for owner in OWNERS:
            found = {
                info.handle: (info.values, info.created_at.timestamp(), info.expires_at and info.expires_at.timestamp())
                for info in self.run(self.manager.find(owner))
            }
            assert found == {
                handle_of(identifier): (session.values, session.created_at, session.ends_at)
                for identifier, session in self.model.owned(owner).items()
            }

    def teardown(self) -> None:
        """Stop the application."""
        if hasattr(self, "client"):
            self.run(self.client.close())
        self.runner.close()


@pytest.mark.parametrize("adapter", ["memory", "sqlite"])
def test_random_requests(adapter: str) -> None:
    """Whatever several browsers do one after the other, every response is the one that the model gives."""
    run_state_machine_as_test(lambda: Browsers(ADAPTERS[adapter]), settings=SHORT)


@pytest.mark.long
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_many_random_requests(adapter: str) -> None:
    """So it is after thousands of requests."""
    run_state_machine_as_test(lambda: Browsers(ADAPTERS[adapter]), settings=LONG)
