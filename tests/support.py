"""What the tests of sessions over HTTP share: a store that is watched, and the cookie as a browser sees it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from multidict import CIMultiDictProxy

from aiohttp_spry_session import Session, SessionAdapter, SessionEvent, SessionManager, SessionRecord
from aiohttp_spry_session.adapters.hints import closing
from aiohttp_spry_session.manager import requests_of

COOKIE = "SPRY_SESSION_ID"

HEADER = "X-Session"


class Carrier:
    """What carries identifiers in the test that runs: a cookie, or the header of this name."""

    header: str | None = None


OPERATIONS = ("load", "create", "update", "renew", "rotate", "destroy", "find", "scan", "count", "purge")


class WatchedAdapter(SessionAdapter):
    """Passes everything on to another adapter; counts the calls, and can hold one up or let it fail.

    ``before`` is awaited with the operation's name before each call, so a test can raise or wait there; ``after``
    likewise once the call is done.
    """

    def __init__(self, inner: SessionAdapter) -> None:
        self.inner = inner
        self.calls: list[str] = []
        self.before: Callable[[str], Awaitable[None]] | None = None
        self.after: Callable[[str], Awaitable[None]] | None = None
        super().__init__(expiration=inner.expiration)

    @property
    def clock(self) -> Callable[[], float]:  # type: ignore[override]
        return self.inner.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self.inner.clock = clock

    @property
    def counted(self) -> dict[str, int]:
        return dict(Counter(self.calls))

    async def _pass(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        return await self._step(operation, getattr(self.inner, operation), *args, **kwargs)

    async def _step(self, operation: str, call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        self.calls.append(operation)
        if self.before is not None:
            await self.before(operation)
        result = await call(*args, **kwargs)
        if self.after is not None:
            await self.after(operation)
        return result

    @property
    def rotates_at_once(self) -> bool:
        return self.inner.rotates_at_once

    @property
    def finds_owners(self) -> bool:
        return self.inner.finds_owners

    async def load(self, handle: str) -> SessionRecord | None:
        return await self._pass("load", handle)

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await self._pass("create", handle, record)

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await self._pass("update", handle, record)

    async def destroy(self, handle: str) -> bool:
        return await self._pass("destroy", handle)

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await self._pass("renew", handle, expires_at)

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await self._pass("rotate", old, new, record, retired)

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await self._pass("find", owner)

    async def scan(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        """Each step is a call: each record, and the end."""
        records = self.inner.scan()
        while (found := await self._step("scan", anext, records, None)) is not None:
            yield found

    async def scan_all(self) -> AsyncIterator[tuple[str, SessionRecord]]:
        records = self.inner.scan_all()
        while (found := await self._step("scan", anext, records, None)) is not None:
            yield found

    async def count(self) -> int:
        return await self._pass("count")

    async def purge(self) -> int:
        return await self._pass("purge")

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    def fail(self, *operations: str, error: BaseException | None = None) -> None:
        """Let these operations fail from now on; without any, all of them."""
        failing = operations or OPERATIONS

        async def before(operation: str) -> None:
            if operation in failing:
                raise error or OSError("the store is down")

        self.before = before

    def work(self) -> None:
        """Let everything work again."""
        self.before = self.after = None


class Life:
    """The session of one request without HTTP: the state, and the driver that works on it."""

    def __init__(self, manager: SessionManager, presented: Sequence[str]) -> None:
        self.requests = requests_of(manager)
        self.driver = self.requests.driver
        self.state = self.driver.begin(presented)

    async def commit(self) -> None:
        await self.driver.commit(self.state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.state, name)


def arrive(manager: SessionManager, presented: Sequence[str]) -> Life:
    """A request that presents these identifiers."""
    return Life(manager, presented)


def session_of(life: Life) -> Session:
    """What the request's handler sees."""
    return life.requests.session(life.state)


class Barrier:
    """Holds up one store operation, so that a test can do something meanwhile."""

    def __init__(self, adapter: WatchedAdapter, operation: str) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self._operation = operation
        adapter.before = self._hold

    async def _hold(self, operation: str) -> None:
        if operation == self._operation and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()


async def heard(hints: AsyncIterator[str | None]) -> str | None:
    """The next hint, or ``"the end"``."""
    return await asyncio.wait_for(anext(hints, "the end"), 30)


@asynccontextmanager
async def listening(adapter: SessionAdapter) -> AsyncIterator[AsyncIterator[str | None]]:
    """The hints of an adapter, from the moment on when it is listened to."""
    async with closing(adapter.hints()) as hints:
        assert await heard(hints) is None
        yield hints


async def held_up_save(session: Session, store: WatchedAdapter, operation: str) -> tuple[asyncio.Task[None], Barrier]:
    """Save a session in a task of its own; return when that is at the store's operation, held up there."""
    barrier = Barrier(store, operation)
    saving = asyncio.create_task(session.save())
    await barrier.reached.wait()
    return saving, barrier


class Recorder:
    """Collects the events of a manager."""

    def __init__(self, manager: SessionManager) -> None:
        self.events: list[SessionEvent] = []
        for signal in (
            manager.on_created,
            manager.on_renewed,
            manager.on_rotated,
            manager.on_destroyed,
            manager.on_rejected,
        ):
            signal.append(self._receive)

    async def _receive(self, event: SessionEvent) -> None:
        self.events.append(event)

    @property
    def told(self) -> list[tuple[str, str | None]]:
        """Name and reason of each event."""
        return [(event.name, event.reason) for event in self.events]


def cookies_of(headers: CIMultiDictProxy[str], name: str = COOKIE) -> list[str]:
    """The Set-Cookie headers for one cookie name."""
    return [header for header in headers.getall("Set-Cookie", ()) if header.partition("=")[0] == name]


def identifier_in(headers: CIMultiDictProxy[str], name: str = COOKIE) -> str | None:
    """The identifier that a response gives to the browser: ``None`` for no cookie, ``""`` for its removal.

    Of ``old,new`` in a header the first is the cookie's, the second that of the cookie beside it.
    """
    if Carrier.header is not None:
        assert "Set-Cookie" not in headers, "no cookie for a client of the header"
        values = headers.getall(Carrier.header, ())
        assert len(values) <= 1, "one header a response"
        if not values:
            return None
        identifier, _, spare = values[0].partition(",")
        return spare if name.endswith("-next") else identifier or (None if spare else "")
    assert HEADER not in headers, "no header for a client of the cookie"
    cookies = cookies_of(headers, name)
    assert len(cookies) <= 1, "one session cookie a response"
    if not cookies:
        return None
    value = cookies[0].partition(";")[0].partition("=")[2]
    assert bool(value) == ("Max-Age=0" not in cookies[0])
    return value


def sending(identifier: str, name: str = COOKIE) -> dict[str, str]:
    """The headers of a request that presents an identifier."""
    if Carrier.header is not None:
        return {Carrier.header: identifier}
    return {"Cookie": f"{name}={identifier}"}


def sending_nothing() -> dict[str, str]:
    """The headers of a client that has no identifier yet."""
    return {} if Carrier.header is None else {Carrier.header: ""}


def presenting(identifier: str, spare: str = "") -> dict[str, str]:
    """The headers of a client that holds an identifier, or none, and another one beside it, or none."""
    if Carrier.header is not None:
        return {Carrier.header: f"{identifier},{spare}" if spare else identifier}
    pairs = ((COOKIE, identifier), (f"{COOKIE}-next", spare))
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in pairs if value)}


def lasts(headers: CIMultiDictProxy[str], seconds: int) -> bool:
    """Whether the response gives an identifier, and a cookie that lasts so long; a header says nothing of that."""
    return bool(identifier_in(headers)) and (
        Carrier.header is not None or f"; Max-Age={seconds};" in headers["Set-Cookie"]
    )


def vary() -> str:
    """What responses of handlers that used the session vary by."""
    return "Cookie" if Carrier.header is None else f"Cookie, {Carrier.header}"


class Pause:
    """A place in a handler where a test lets other requests go first."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def here(self) -> None:
        self.reached.set()
        await asyncio.wait_for(self.go_on.wait(), 30)

    async def during(self, request: Awaitable[Any], *others: Callable[[], Awaitable[Any]]) -> Any:
        """Start a request, wait until it is here, let the others happen, and return what the request gives."""
        task = asyncio.ensure_future(request)
        await asyncio.wait_for(self.reached.wait(), 30)
        for other in others:
            await other()
        self.go_on.set()
        return await asyncio.wait_for(task, 30)
