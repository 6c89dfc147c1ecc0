"""The hints of two stores as those of one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...adapter import SessionAdapter
from ..hints import Hints, closing

__all__ = ["listen"]


async def listen(stores: Sequence[SessionAdapter], hints: Hints) -> None:
    """Bring the hints of all the stores: from when all are listened to, until one has none, or none any more."""
    heard: set[int] = set()

    async def listen_to(number: int, store: SessionAdapter) -> None:
        async with closing(store.hints()) as from_store:
            async for hint in from_store:
                if hint is not None:
                    hints.tell(hint)
                    continue
                heard.add(number)
                if len(heard) == len(stores):
                    hints.connected()

    tasks = [asyncio.create_task(listen_to(number, store)) for number, store in enumerate(stores)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
