"""Runs the examples of one page, top to bottom, the way a reader would."""

from __future__ import annotations

import ast
import inspect
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import aiohttp_spry_session
from aiohttp_spry_session import SessionManager, get_session, setup

from .blocks import Block
from .transcript import differs, names_in, read_commands, run

__all__ = ["DATA", "PageRunner"]

DATA = {"", "text", "ini", "nginx", "sql", "html"}
"""Blocks with nothing to run."""

_ADDRESS = "127.0.0.1:8080"
"""Where the documentation's programs are served; a free port takes its place here."""


class PageRunner:
    """Everything that the examples of a page share: names, files, the program that is being served.

    - A Python block that calls ``web.run_app`` is a program: it is served until the next one.
    - One that awaits runs in a request of an application with sessions, with ``request``, ``session``, ``manager``.
    - Any other one is executed; all of them share the page's names.
    - A ``console`` block is run by a shell, its output compared.
    """

    def __init__(self, folder: Path, servers: dict[str, str]) -> None:
        self._folder = folder
        self._replacements = servers
        self._stack = AsyncExitStack()
        self._module = ModuleType("example")
        self._module.__dict__.update(
            {name: getattr(aiohttp_spry_session, name) for name in aiohttp_spry_session.__all__}, web=web
        )
        self._client: TestClient[web.Request, web.Application] | None = None
        self._program: TestServer | None = None
        self._included: Path | None = None
        self._current: Block | None = None
        self._failure: BaseException | None = None

    async def __aenter__(self) -> PageRunner:
        # No patch.dict: it would forget what a page imports, and cryptography cannot be imported twice.
        sys.modules["example"] = self._module
        self._stack.callback(sys.modules.pop, "example")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self, block: Block) -> None:
        """Run one block, whatever it is."""
        if block.marker == "by hand":
            return
        if block.marker == "needs" and block.detail == "demo":
            await self._serve_demo()
        if block.marker == "file":
            path = self._folder / block.detail
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            if block.language == "python":
                compile(block.text, block.place, "exec")
        elif block.language == "python":
            await self._run_python(block, self._adapted(block.text), block.page, block.line)
        elif block.language == "console":
            await self._run_shell(block)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "{literalinclude}":
            path = (block.page.parent / block.argument).resolve()
            if path.suffix == ".py" and path != self._included:
                self._included = path
                await self._run_python(block, self._adapted(path.read_text()), path, 1)
        elif block.language == "sh" and all(line.startswith("make ") for line in block.text.splitlines()):
            pass  # that the targets exist is tested on its own
        elif block.language not in DATA and not block.language.startswith("{"):
            raise AssertionError(f"{block.place}: nothing knows how to run {block.language!r}")

    def _adapted(self, text: str) -> str:
        for written, real in self._replacements.items():
            text = text.replace(written, real)
        if self._program is not None:
            text = text.replace(_ADDRESS, f"127.0.0.1:{self._program.port}")
        return text

    async def _run_python(self, block: Block, text: str, path: Path, line: int) -> None:
        tree = ast.parse(text)
        if "web.run_app(" in text:
            await self._serve(text, path, line)
        elif any(_awaits(node) for node in tree.body):
            await self._run_in_request(block)
        else:
            self._execute(text, path, line)

    def _execute(self, text: str, path: Path, line: int) -> Any:
        source = "\n" * (line - 1) + text
        code = compile(source, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        return eval(code, self._module.__dict__)

    async def _serve(self, text: str, path: Path, line: int) -> None:
        started: list[web.Application | Awaitable[web.Application]] = []

        def run_app(app: web.Application | Awaitable[web.Application], **_: object) -> None:
            started.append(app)

        with mock.patch.object(web, "run_app", run_app), mock.patch.object(self._module, "__name__", "__main__"):
            self._execute(text, path, line)
        (app,) = started
        await self._start(await app if inspect.isawaitable(app) else app)

    async def _serve_demo(self) -> None:
        from demo.app import create_app
        from demo.settings import Settings

        adapter = aiohttp_spry_session.adapter_from_url("sqlite:///demo.db", expiration=28_800)
        await self._start(create_app(Settings(adapter=adapter)))

    async def _start(self, app: web.Application) -> None:
        if self._program is not None:
            await self._program.close()
        self._program = TestServer(app, host="127.0.0.1")
        await self._stack.enter_async_context(self._program)

    async def _run_in_request(self, block: Block) -> None:
        if self._client is None:
            self._client = await self._stack.enter_async_context(self._open_client())
        self._current, self._failure = block, None
        response = await self._client.get("/")
        await response.read()
        if self._failure is not None:
            raise self._failure
        assert response.status == 200, f"{block.place}: {response.status}"

    @asynccontextmanager
    async def _open_client(self) -> AsyncIterator[TestClient[web.Request, web.Application]]:
        names = self._module.__dict__
        manager = names.setdefault("manager", SessionManager())
        app = web.Application()
        app.router.add_get("/", self._handle)
        setup(app, manager)
        names.setdefault("app", app)
        async with TestClient(TestServer(app)) as client:
            yield client

    async def _handle(self, request: web.Request) -> web.Response:
        assert self._current is not None
        self._module.__dict__.update(request=request, session=get_session(request))
        try:
            result = self._execute(self._adapted(self._current.text), self._current.page, self._current.line)
            if inspect.iscoroutine(result):
                await result
        except BaseException as error:
            self._failure = error
            raise
        return web.Response()

    async def _run_shell(self, block: Block) -> None:
        for command in read_commands(block.text):
            text = self._adapted(command.text)
            assert _ADDRESS not in text, f"{block.place}: no program is being served"
            printed = await run(text, self._folder)
            if differs(command.expected, printed):
                shown = "\n".join(printed)
                raise AssertionError(f"{block.place}: {command.text}\nprinted\n{shown}\ninstead of what the page says")
            # Later commands may repeat what this one printed.
            self._replacements |= names_in(command.expected, printed)


def _awaits(node: ast.stmt) -> bool:
    """Whether a top-level statement awaits by itself, not only in a function that it defines."""
    if isinstance(node, ast.AsyncFor | ast.AsyncWith):
        return True
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(isinstance(child, ast.Await | ast.AsyncFor | ast.AsyncWith) for child in ast.walk(node))
