"""The examples in docstrings that the reference shows, run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import pydoc
import re
import textwrap
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, dbsc, get_session, setup
from aiohttp_spry_session.testing import AdapterContract, FaultyAdapter, plugin, start_session
from aiohttp_spry_session.testing.dbsc import SoftwareDevice
from aiohttp_spry_session.testing.plugin import device_client, session_client

from .blocks import ROOT

__all__ = ["device_client", "session_client"]  # fixtures

HANDLE = "0" * 64


async def sign_in(request: web.Request) -> web.Response:
    form = await request.post()
    await get_session(request).bind(str(form["name"]))
    return web.Response()


async def account(request: web.Request) -> web.Response:
    return web.Response(status=401 if get_session(request).owner is None else 200)


async def empty(request: web.Request) -> web.Response:
    await get_session(request).set("basket", [])
    return web.Response()


def make_app(clock: Callable[[], float] | None = None) -> web.Application:
    """The application that the examples take for granted; with a clock its sessions are bound to devices."""
    app = web.Application()
    app.add_routes([web.get("/", account), web.get("/account", account), web.post("/sign-in", sign_in)])
    app.add_routes([web.post("/basket/empty", empty), web.post("/checkout", empty)])
    if clock is None:
        setup(app, SessionManager())
    else:
        manager = SessionManager(name="__Host-sid", secure=True, clock=clock)
        setup(app, manager)
        dbsc.setup(app, dbsc.DeviceBinding(manager))
    return app


def example_of(documented: object) -> str:
    """Return the literal block of a docstring."""
    text = inspect.getdoc(documented) or ""
    (found,) = re.findall(r"::\n\n((?:(?: {4}.*)?\n?)+)", text)
    return textwrap.dedent(found)


async def run(example: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run an example that may await, and return its names."""
    code = compile(example, "docstring", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result
    return names


async def test_start_session(aiohttp_client: Any) -> None:
    """A client that has a session already."""
    names = {"aiohttp_client": aiohttp_client, "app": make_app(), "start_session": start_session}
    await run(example_of(start_session), names)


async def test_session_client(session_client: Any) -> None:
    """The fixture, as a test of a user's asks for it."""
    names = await run(example_of(plugin.session_client), {"make_app": make_app})
    await names["test_checkout"](session_client)


async def test_device_client(device_client: Any, clock: Any) -> None:
    """The fixture for devices, likewise."""
    names = await run(example_of(plugin.device_client), {"make_app": make_app, "clock": clock})
    await names["test_theft"](device_client)


async def test_software_device(device_client: Any, clock: Any) -> None:
    """A browser in software signs in, and refreshes."""
    device, _ = await device_client(make_app(clock), owner="ann")
    await run(example_of(SoftwareDevice), {"SoftwareDevice": SoftwareDevice, "client": device.client, "clock": clock})


async def test_faulty_adapter() -> None:
    """Each of the faults can be asked for, and the third load waits for its release."""
    asked = asyncio.Event()

    class Told(FaultyAdapter):
        def hang(self, *args: Any, **options: Any) -> Any:
            asked.set()
            return super().hang(*args, **options)

    names: dict[str, Any] = {"FaultyAdapter": Told, "MemorySessionAdapter": MemorySessionAdapter}
    async with asyncio.timeout(30):
        running = asyncio.ensure_future(run(example_of(FaultyAdapter), names))
        await asked.wait()
        loads: list[Awaitable[Any]] = [names["store"].load(HANDLE) for _ in range(3)]
        assert await asyncio.gather(*loads) == [None] * 3
        await running


async def test_adapter_contract() -> None:
    """The class is one that pytest would take for the tests of an adapter."""
    names = await run(example_of(AdapterContract), {"AdapterContract": AdapterContract, "pytest": pytest})
    assert issubclass(names["TestMyAdapter"], AdapterContract)


def test_every_example_is_run() -> None:
    """No docstring that the reference shows has an example that is left out here."""
    reference = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = [pydoc.locate(path) for path in re.findall(r"^\.\. auto\w+:: ([\w.]+)", reference, re.MULTILINE)]
    kit = [start_session, plugin.session_client, plugin.device_client, SoftwareDevice, FaultyAdapter, AdapterContract]
    assert {example_of(it) for it in shown if "::\n" in (inspect.getdoc(it) or "")} == {example_of(it) for it in kit}
