"""Sessions without requests, and what depends on them."""

from __future__ import annotations

import asyncio

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SessionManager
from aiohttp_spry_session.manager import requests_of
from aiohttp_spry_session.testing import FakeClock, FaultyAdapter


class Seldom(MemorySessionAdapter):
    """What ends is told; nothing is found out by looking again."""

    watch_interval = 3600.0


class OftenFaulty(FaultyAdapter):
    """May lose what is told, and then looking again has to do it."""

    watch_interval = 0.01


class Site:
    """One manager, and what it watches."""

    def __init__(self, adapter, clock, **options):
        self.adapter = adapter
        self.clock = clock
        self.manager = SessionManager(adapter, clock=clock, **options)
        self.requests = requests_of(self.manager)
        self.watcher = self.requests.driver.watcher

    def session(self, *identifiers):
        """Return the session of a request that presents these."""
        return self.requests.session(self.requests.driver.begin(identifiers))

    async def started(self, owner=None):
        """Start a session; return it."""
        session = self.session()
        await session.set("n", 1)
        await session.save()
        if owner is not None:
            await session.bind(owner)
        return session

    async def settled(self):
        """Wait until nothing is left of what watched."""
        async with asyncio.timeout(30):
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - what is waited for is that there is nothing
                await asyncio.sleep(0)
        assert len(self.watcher) == 0


class Socket:
    """Notes how it is closed, and stays open as long as the test likes."""

    prepared = True

    def __init__(self):
        self.closes = []
        self.frame_sent = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()
        self.failure = None

    @property
    def closed(self):
        return bool(self.closes)

    async def close(self, *, code, message):
        self.closes.append((code, message))
        self.frame_sent.set()
        if self.failure is not None:
            raise self.failure
        await self.answer.wait()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def site(clock):
    return Site(Seldom(), clock)


@pytest.fixture
def faulty(clock):
    return Site(OftenFaulty(MemorySessionAdapter()), clock)


@pytest.fixture
def socket():
    return Socket()


async def for_ever():
    await asyncio.Event().wait()
