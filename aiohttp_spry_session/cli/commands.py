"""The commands of the command line."""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..codec import JSONCodec
from ..manager import SessionManager, overview_of
from ..store.guard import GuardedStore
from .copying import copy
from .errors import CommandError, UsageError
from .output import Output, plain
from .stores import store_from, unsealed

__all__ = ["carry_out"]

_TIMEOUT = 30.0
"""Seconds that one step may take: nobody waits for a page here."""


class _Values(JSONCodec):
    """Shows the values of a site whose codec is not known: what is no JSON as how much there is of it."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Return a value, as far as it is shown."""
        if not self._shown:
            return None
        try:
            return super().decode(data, type)
        except (TypeError, ValueError, RecursionError):
            return f"<{len(data)} bytes>"


async def carry_out(options: argparse.Namespace, output: Output, environment: Mapping[str, str]) -> None:
    """Carry out a command.

    :raises CommandError: where it failed in a way that has a message of its own; other exceptions are the store's.
    """
    if options.command == "schema":
        _schema(options, output)
        return
    if options.command == "keygen":
        _keygen(output)
        return
    if options.command == "copy":
        await _copy(options, output)
        return
    adapter = unsealed(store_from(options.store), environment)
    codec = _Values(shown=getattr(options, "values", False))
    async with SessionManager(adapter, codec=codec, max_bytes=None, timeout=_TIMEOUT) as manager:
        await _COMMANDS[options.command](manager, options, output)


async def _count(manager: SessionManager, options: argparse.Namespace, output: Output) -> None:
    live = await manager.count()
    output.result(f"{live}", count=live)


async def _list(manager: SessionManager, options: argparse.Namespace, output: Output) -> None:
    await output.sessions(manager.sessions(options.owner))


async def _show(manager: SessionManager, options: argparse.Namespace, output: Output) -> None:
    info = await overview_of(manager).get(options.handle)
    if info is None:
        raise CommandError(f"no live session has the handle {_quoted(options.handle)}")
    output.session(info)


async def _revoke(manager: SessionManager, options: argparse.Namespace, output: Output) -> None:
    missing: list[str] = []
    if options.all:
        total = await manager.count() if output.shows_progress else None
        with output.progress("revoking", total) as advance:
            ended = await overview_of(manager).revoke_all(advance)
    elif options.owner is not None:
        ended = await manager.revoke_owner(options.owner)
    else:
        missing = [handle for handle in dict.fromkeys(options.handles) if not await manager.revoke(handle)]
        ended = len(set(options.handles)) - len(missing)
    output.result(f"revoked {_sessions(ended)}", revoked=ended, **({"not_found": missing} if options.handles else {}))
    if missing:
        raise CommandError(f"no live session has the handle {', '.join(map(_quoted, missing))}")


async def _purge(manager: SessionManager, options: argparse.Namespace, output: Output) -> None:
    await manager.check()  # a store that lets go of what has expired by itself is not asked for more
    purged = await manager.purge()
    output.result(f"purged {purged} expired", purged=purged)


async def _check(manager: SessionManager, options: argparse.Namespace, output: Output) -> None:
    began = time.perf_counter()
    await manager.check()
    seconds = time.perf_counter() - began
    output.result(f"the store answers ({seconds * 1000:.1f} ms)", ok=True, seconds=round(seconds, 6))


async def _copy(options: argparse.Namespace, output: Output) -> None:
    """As they are stored: a sealed record is copied with its seal, and needs no key."""
    if options.target == options.store:
        raise UsageError("the store to copy to is the one to copy from")
    adapters = store_from(options.store), store_from(options.target, create=True)
    stores = [GuardedStore(adapter, time.time, _TIMEOUT) for adapter in adapters]
    source, target = stores
    await source.open()
    try:
        await target.open()
        try:
            total = await source.count() if output.shows_progress else None
            with output.progress("copying", total) as advance:
                done = await copy(source, target, advance)
        finally:
            await target.close()
    finally:
        await source.close()
    text = f"copied {_sessions(done['copied'])}, replaced {done['replaced']}, left {done['kept']} as they were"
    output.result(text, **done)


def _schema(options: argparse.Namespace, output: Output) -> None:
    if options.store is not None and not options.store.startswith(("postgresql:", "postgres:")):
        raise CommandError("only PostgreSQL has a table to make: SQLite's file is made by itself, and Redis needs none")
    from ..adapters.postgres import schema_sql

    try:
        sql = schema_sql(options.table, options.schema, since=options.since)
    except ValueError as error:
        raise UsageError(str(error)) from None
    output.result(sql.rstrip("\n"), sql=sql)


def _keygen(output: Output) -> None:
    try:
        from ..adapters.sealed import generate_key
    except ImportError as error:
        raise CommandError(str(error)) from error
    key = generate_key()
    output.result(key, key=key)


def _quoted(handle: str) -> str:
    return f"'{plain(handle)}'"


def _sessions(number: int) -> str:
    return "1 session" if number == 1 else f"{number} sessions"


_COMMANDS: dict[str, Callable[[SessionManager, argparse.Namespace, Output], Awaitable[None]]] = {
    "count": _count,
    "list": _list,
    "show": _show,
    "revoke": _revoke,
    "purge": _purge,
    "check": _check,
}
