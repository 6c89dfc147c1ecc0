"""The stores that variants need: a file, or a server that is started for the run."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def available(variant: str) -> bool:
    """Whether a variant's adapter, driver and server are installed."""
    if "redis" in variant:
        ours = variant == "redis"
        needed = ["redis", "aiohttp_spry_session.adapters.redis" if ours else "aiohttp_session"]
        return shutil.which("redis-server") is not None and all(map(_importable, needed))
    if variant == "postgres":
        return False
    if variant == "aiohttp-session-encrypted":
        return _importable("aiohttp_session") and _importable("cryptography")
    return True


@contextmanager
def urls(variants: Iterable[str], directory: Path) -> Iterator[dict[str, str]]:
    """Start what the variants need; return the URL of each one's store."""
    found: dict[str, str] = {}
    wanted = set(variants)
    with _redis(directory, wanted=any("redis" in variant for variant in wanted)) as redis:
        for number, variant in enumerate(sorted(wanted)):
            if variant.startswith("sqlite"):
                found[variant] = f"sqlite:///{directory}/{variant}.db"
            elif "redis" in variant:
                found[variant] = f"{redis}/{number % 16}"
            else:
                found[variant] = "memory://"
        yield found


@contextmanager
def _redis(directory: Path, *, wanted: bool) -> Iterator[str]:
    if not wanted:
        yield ""
        return
    port = _free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([*command, "--dir", str(directory)], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the store's server did not start")
