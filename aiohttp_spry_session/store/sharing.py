"""One adapter, several managers: it is opened for the first, closed after the last, and serves one event loop."""
# ruff: noqa: SLF001 - what stands in an adapter for its users, besides their number, is no author's to read

from __future__ import annotations

import asyncio
import threading

from ..adapter import SessionAdapter

__all__ = ["close_shared", "open_shared"]

_CLAIM = threading.Lock()
"""Held for the moment in which an event loop takes an adapter."""


async def open_shared(adapter: SessionAdapter) -> None:
    """Open an adapter for one more user, unless it is open.

    :raises RuntimeError: where it is in use in another event loop, as in another thread.
    """
    with _CLAIM:
        loop = asyncio.get_running_loop()
        if adapter._users_loop is not loop:
            if _is_in_use(adapter):
                raise RuntimeError(
                    f"this {type(adapter).__name__} is in use in another event loop: "
                    "give each loop (as a rule, each thread) an adapter and a manager of its own"
                )
            adapter._users_loop, adapter._users_door, adapter.users = loop, asyncio.Lock(), 0
    async with adapter._users_door:  # who comes while it is opened or closed waits for that
        if not adapter.users:
            await adapter.open()
        adapter.users += 1


async def close_shared(adapter: SessionAdapter) -> None:
    """Close an adapter after its last user; fine where it is not open, or only in another event loop."""
    if adapter._users_loop is not asyncio.get_running_loop():
        return
    async with adapter._users_door:
        if adapter.users:
            adapter.users -= 1
            if not adapter.users:
                await adapter.close()


def _is_in_use(adapter: SessionAdapter) -> bool:
    loop = adapter._users_loop
    # What was open in a loop that is closed is open no more, though nobody said so.
    return loop is not None and not loop.is_closed() and (adapter.users > 0 or adapter._users_door.locked())
