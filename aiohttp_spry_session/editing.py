"""A session changed from outside a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .request.driver import Driver
from .request.state import SessionState
from .session import Session

__all__ = ["edited"]


@asynccontextmanager
async def edited(driver: Driver, session: Callable[[SessionState], Session], handle: str) -> AsyncIterator[Session]:
    """Give the session under a handle to a block, and commit what it did; discard that where the block raises."""
    state = driver.begin((handle,))
    state.headers_sent = True  # there is no response
    state.rolling = state.tracking = False  # it is no use by its owner
    await driver.edit(state, handle)
    yield session(state)
    await driver.save(state, last=True)
