"""A site that version 1.0 and this one serve at the same time, from one store, while it is deployed."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar

import aiohttp_spry_session

HERE = Path(__file__).parent
VERSIONS = {"1.0.0": HERE / "version_1_0.zip", aiohttp_spry_session.__version__: HERE.parents[1]}
OLD, NEW = VERSIONS
"""The package of version 1.0 is a zip of its source, as it was released."""

Ask = Callable[..., Awaitable[Any]]


@contextmanager
def serving(package: Path, *store: str) -> Iterator[int]:
    """Serve a site with a version of the package; give its port."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(HERE / "serve.py"), *store],
        env={**os.environ, "PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@pytest.fixture(scope="module", params=["sqlite", "redis", "postgres"])
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Where each version serves the one store: for all tests here, each with a browser of its own."""
    name = f"beside_{secrets.token_hex(4)}"
    if request.param == "sqlite":
        store = ("sqlite", str(tmp_path_factory.mktemp(name) / "sessions.db"))
    elif request.param == "redis":
        store = ("redis", request.getfixturevalue("_redis_server").url, f"{name}:")
    else:
        store = ("postgres", request.getfixturevalue("_postgres_server").dsn, name)
    with ExitStack() as stack:
        yield {version: stack.enter_context(serving(where, *store)) for version, where in VERSIONS.items()}


@pytest.fixture
async def ask(ports: dict[str, int]) -> AsyncIterator[Ask]:
    """Ask a version for a path, as one browser, or with another cookie."""
    browser: dict[str, str] = {}
    async with ClientSession(cookie_jar=DummyCookieJar()) as http:

        async def ask(version: str, path: str, cookie: str | None = None) -> Any:
            presented = browser.get("sid") if cookie is None else cookie
            headers = {} if presented is None else {"Cookie": f"sid={presented}"}
            async with http.get(f"http://127.0.0.1:{ports[version]}/{path}", headers=headers) as response:
                assert response.status == 200, await response.text()
                if "sid" in response.cookies and cookie is None:
                    browser["sid"] = response.cookies["sid"].value
                answer = await response.json()
                if answer:
                    assert answer.pop(0) == version
                return answer

        ask.browser = browser  # type: ignore[attr-defined]
        yield ask


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)], ids=["old first", "new first"])
async def test_one_session_under_both(ask: Ask, first: str, second: str) -> None:
    """What the one starts, changes, rotates, binds and ends is so for the other."""
    assert await ask(first, "set?a=1") == [None, {"a": "1"}]
    assert await ask(second, "set?b=2") == [None, {"a": "1", "b": "2"}]
    for version in (first, second, first):
        await ask(version, "increment")
    assert await ask(second, "read") == [None, {"a": "1", "b": "2", "n": 3}]
    before = ask.browser["sid"]  # type: ignore[attr-defined]
    assert await ask(first, "bind") == ["ada", {"a": "1", "b": "2", "n": 3}]
    assert await ask(second, "read", before) == [None, {}]
    assert await ask(second, "bind") == ["ada", {"a": "1", "b": "2", "n": 3}]
    assert await ask(first, "read") == ["ada", {"a": "1", "b": "2", "n": 3}]
    before = ask.browser["sid"]  # type: ignore[attr-defined]
    await ask(second, "rotate")
    assert await ask(first, "read", before) == [None, {}]
    before = ask.browser["sid"]  # type: ignore[attr-defined]
    await ask(first, "rotate?grace=30")
    assert await ask(second, "set?c=3", before) == ["ada", {"a": "1", "b": "2", "c": "3", "n": 3}]
    assert await ask(first, "read") == ["ada", {"a": "1", "b": "2", "c": "3", "n": 3}]
    last = ask.browser["sid"]  # type: ignore[attr-defined]
    await ask(second, "destroy")
    assert await ask(first, "read", last) == [None, {}]


async def test_a_logout_under_the_identifier_before(ask: Ask) -> None:
    """Each version ends what the other has rotated."""
    for rotates, ends in ((OLD, NEW), (NEW, OLD)):
        ask.browser.clear()  # type: ignore[attr-defined]
        await ask(rotates, "set?a=1")
        before = ask.browser["sid"]  # type: ignore[attr-defined]
        await ask(rotates, "rotate")
        await ask(ends, "destroy", before)
        assert await ask(rotates, "read") == [None, {}]


async def test_writes_that_meet(ask: Ask) -> None:
    """None is lost, whichever process makes it."""
    await ask(OLD, "set?a=1")
    await asyncio.gather(*(ask((OLD, NEW)[number % 2], "increment") for number in range(40)))
    assert await ask(NEW, "read") == [None, {"a": "1", "n": 40}]
