"""Keeps what each visitor's recent requests did with the session: store calls, cookies, events.

It stays in memory, and bounded: so many visitors, so many requests of each. Only masked cookies and handles get here.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, TypeVar

from aiohttp import hdrs, web

from aiohttp_spry_session import SESSION, SessionEvent, SessionManager, SessionRecord
from aiohttp_spry_session.adapters.wrapping import WrappingAdapter

from .assets import is_asset

__all__ = ["PANEL", "RECORDER", "Recorder", "RecordingAdapter", "recent"]

T = TypeVar("T")

MAX_VISITORS = 256
MAX_ENTRIES = 80
MAX_EVENTS = 10
MAX_PATH = 80
SHOWN_IN_PANEL = 5

PANEL = "/activity/panel"


@dataclass(slots=True)
class Entry:
    """One request, as far as it has come."""

    method: str
    path: str
    at: float
    status: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    came_with: str | None = None
    """The handle of the live session that the visitor presented."""
    handle: str | None = None
    """The handle of the session that the visitor has now."""
    ended: bool = False
    """Whether the request ended the session that it came with."""


CURRENT: ContextVar[Entry | None] = ContextVar("current", default=None)
ENTRY = web.RequestKey("entry", Entry)


class Recorder:
    """Records requests, and finds those of one visitor again by their session's handle."""

    def __init__(self, manager: SessionManager) -> None:
        self._logs: OrderedDict[str, deque[Entry]] = OrderedDict()
        signals = (
            manager.on_created,
            manager.on_renewed,
            manager.on_rotated,
            manager.on_destroyed,
            manager.on_rejected,
        )
        for signal in signals:
            signal.append(self._on_event)

    def of(self, handle: str) -> list[Entry]:
        """Return a visitor's recent requests, the newest first."""
        return list(reversed(self._logs.get(handle, ())))

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Open an entry for the request, unless it asks for the record itself, or for a style sheet."""
        if is_asset(request) or request.path == PANEL:
            return await handler(request)
        entry = request[ENTRY] = Entry(request.method, request.path[:MAX_PATH], time.time())
        token = CURRENT.set(entry)
        try:
            return await handler(request)
        finally:
            CURRENT.reset(token)

    async def on_response_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """File the entry when the headers leave; a stream's goes on counting."""
        entry = request.get(ENTRY)
        if entry is None or entry.status:
            return
        entry.status = response.status
        entry.cookies = [masked(header) for header in response.headers.getall(hdrs.SET_COOKIE, ())]
        if entry.calls:
            self._file(entry)

    def _file(self, entry: Entry) -> None:
        # A log follows its session through rotations, and ends with it: the next person at this computer should not
        # read what the last one did.
        past = self._logs.pop(entry.came_with, deque()) if entry.came_with is not None else deque()
        if entry.handle is None:
            return
        log = self._logs.pop(entry.handle, None)
        if log is None:
            log = deque(() if entry.ended else past, maxlen=MAX_ENTRIES)
        log.append(entry)
        self._logs[entry.handle] = log
        while len(self._logs) > MAX_VISITORS:
            self._logs.popitem(last=False)

    async def _on_event(self, event: SessionEvent) -> None:
        entry = CURRENT.get()
        if entry is None:
            return
        if len(entry.events) < MAX_EVENTS:
            entry.events.append(f"{event.name} ({event.reason}) {event.handle[:12]}")
        if event.name in ("created", "rotated"):
            entry.handle = event.handle
        elif event.name == "destroyed" and event.reason in ("destroy", "bind"):
            entry.handle, entry.ended = None, True


RECORDER = web.AppKey("recorder", Recorder)


def recent(request: web.Request, *, limit: int | None = SHOWN_IN_PANEL) -> list[dict[str, Any]]:
    """Return this visitor's recent requests, the newest first; the session has to be loaded."""
    handle = request[SESSION].handle
    if handle is None:
        return []
    entries = request.app[RECORDER].of(handle)
    return [summary(list(alike)) for _, alike in groupby(entries, key=kind)][:limit]


def kind(entry: Entry) -> tuple[str, str, int]:
    """Return what requests have in common that are shown as one."""
    return entry.method, entry.path, entry.status


def summary(entries: list[Entry]) -> dict[str, Any]:
    """Return what is shown of requests that were alike."""
    newest = entries[0]
    calls = sum((entry.calls for entry in entries[1:]), newest.calls.copy())
    return {
        "method": newest.method,
        "path": newest.path,
        "status": newest.status,
        "times": len(entries),
        "at": datetime.fromtimestamp(newest.at, UTC),
        "store_calls": dict(calls),
        "set_cookie": [cookie for entry in entries for cookie in entry.cookies],
        "events": [event for entry in entries for event in entry.events],
    }


class RecordingAdapter(WrappingAdapter):
    """Passes every call on to another adapter, and notes it for the request that made it."""

    async def load(self, handle: str) -> SessionRecord | None:
        record = await noted("load", super().load(handle))
        entry = CURRENT.get()
        if entry is not None and entry.handle is None and record is not None and not record.retired:
            entry.came_with = entry.handle = handle
        return record

    async def create(self, handle: str, record: SessionRecord) -> bool:
        return await noted("create", super().create(handle, record))

    async def update(self, handle: str, record: SessionRecord) -> bool:
        return await noted("update", super().update(handle, record))

    async def destroy(self, handle: str) -> bool:
        return await noted("destroy", super().destroy(handle))

    async def renew(self, handle: str, expires_at: float | None) -> bool:
        return await noted("renew", super().renew(handle, expires_at))

    async def rotate(self, old: str, new: str, record: SessionRecord, retired: SessionRecord) -> bool:
        return await noted("rotate", super().rotate(old, new, record, retired))

    async def find(self, owner: str) -> Mapping[str, SessionRecord]:
        return await noted("find", super().find(owner))


async def noted(operation: str, call: Awaitable[T]) -> T:
    """Await a store call, and count it for the request that is being handled, if one is."""
    entry = CURRENT.get()
    if entry is not None:
        entry.calls[operation] += 1
    return await call


def masked(header: str) -> str:
    """Return a ``Set-Cookie`` header without its secret."""
    name, _, rest = header.partition("=")
    value, semicolon, attributes = rest.partition(";")
    hidden = f"•••••••• ({len(value)} characters)" if value.strip('"') else value
    return f"{name}={hidden}{semicolon}{attributes}"
