"""The stores that variants need: a file, or a server that is started for the run."""

from __future__ import annotations

import glob
import importlib.util
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .priority import share_priority

DURABLE = tuple(part for name in ("fsync", "synchronous_commit", "full_page_writes") for part in ("-c", f"{name}=on"))
"""PostgreSQL as it comes; the tests' server runs without."""


def available(variant: str) -> bool:
    """Whether a variant's adapter, driver and server are installed."""
    if variant == "postgres":
        found = shutil.which("postgres") or glob.glob("/usr/lib/postgresql/*/bin/postgres")
        return bool(found) and _importable("asyncpg")
    if variant in ("redis", "aiohttp-session-redis"):
        library = "redis" if variant == "redis" else "aiohttp_session"
        return shutil.which("redis-server") is not None and _importable("redis") and _importable(library)
    if variant == "aiohttp-session-encrypted":
        return _importable("aiohttp_session") and _importable("cryptography")
    return True


@contextmanager
def urls(variants: Iterable[str], directory: Path) -> Iterator[dict[str, str]]:
    """Start what the variants need; return the URL of each one's store.

    The servers inherit the cores of this process.
    """
    wanted = list(variants)
    with ExitStack() as stack:
        redis = stack.enter_context(_redis()) if any("redis" in variant for variant in wanted) else ""
        postgres = stack.enter_context(_postgres()) if "postgres" in wanted else ""
        found: dict[str, str] = {}
        for variant in wanted:
            if variant.startswith("sqlite"):
                found[variant] = f"sqlite:///{directory}/{variant}.db"
            elif "redis" in variant:
                found[variant] = redis
            elif variant == "postgres":
                found[variant] = postgres
            else:
                found[variant] = "memory://"
        yield found


@contextmanager
def _redis() -> Iterator[str]:
    from tests.servers.process import guardian
    from tests.servers.redis import RedisServer

    server = RedisServer()
    try:
        server.start()
        share_priority(server._process.pid)
        yield server.url
    finally:
        server.close()
        guardian.dismiss()


@contextmanager
def _postgres() -> Iterator[str]:
    from tests.servers.postgres import PostgresServer
    from tests.servers.process import guardian

    server = PostgresServer(*DURABLE)
    try:
        server.initialise()
        server.start()
        share_priority(server._process.pid)
        yield server.dsn
    finally:
        server.close()
        guardian.dismiss()


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
