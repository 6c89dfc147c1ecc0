"""The programs of the how-to pages, to be tried beyond what their transcripts show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

import aiohttp_spry_session
from aiohttp_spry_session import SessionManager
from aiohttp_spry_session.testing import FakeClock

from .blocks import ROOT, Block, read_blocks

Load = Callable[..., ModuleType]
AT_ONCE = 12


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, clock: FakeClock, tmp_path: Path) -> Load:
    """Load the programs of a page by their number, with a clock that stands still and a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(aiohttp_spry_session, "SessionManager", partial(SessionManager, clock=clock))

    def load(page: str, number: int = 0) -> ModuleType:
        programs = [block for block in blocks_of(page) if block.language == "python" and "web.run_app(" in block.text]
        program = ModuleType("recipe")
        exec(compile(programs[number].text, programs[number].place, "exec", dont_inherit=True), program.__dict__)
        return program

    return load


def blocks_of(page: str) -> list[Block]:
    """Return what stands in the fences of a page."""
    return list(read_blocks(ROOT / "docs" / "how-to" / page))


@asynccontextmanager
async def opened(server: TestServer) -> AsyncIterator[TestClient[Any, Any]]:
    """A client with cookies of its own on a server that others use too."""
    client: TestClient[Any, Any] = TestClient(server, cookie_jar=aiohttp.CookieJar(unsafe=True))
    await client.start_server()
    try:
        yield client
    finally:
        await client.session.close()
