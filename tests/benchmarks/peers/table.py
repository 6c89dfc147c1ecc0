"""Which peers are measured, and what each one's server needs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .. import results
from ..stores import available

FOLDER = Path(__file__).parent

BARE = "bare"


@dataclass(frozen=True, slots=True)
class Peer:
    """A library's sessions on one store: its framework, and what its server calls the store."""

    framework: str
    library: str
    store: str
    variant: str


PEERS = (
    Peer("aiohttp", "aiohttp-spry-session", "memory", "memory"),
    Peer("aiohttp", "aiohttp-spry-session", "SQLite, durable", "sqlite"),
    Peer("aiohttp", "aiohttp-spry-session", "Redis", "redis"),
    Peer("aiohttp", "aiohttp-spry-session", "PostgreSQL, durable", "postgres"),
    Peer("aiohttp", "aiohttp-session", "encrypted cookie", "aiohttp-session-encrypted"),
    Peer("aiohttp", "aiohttp-session", "Redis", "aiohttp-session-redis"),
    Peer("Starlette", "starsessions", "memory", "memory"),
    Peer("Starlette", "starsessions", "Redis", "redis"),
    Peer("Django", "Django", "memory", "memory"),
    Peer("Django", "Django", "Redis", "redis"),
    Peer("Express", "express-session", "memory", "memory"),
    Peer("Express", "express-session", "Redis", "redis"),
    Peer("Fastify", "@fastify/session", "memory", "memory"),
    Peer("Fastify", "@fastify/session", "Redis", "redis"),
)

_MODULES = {"Starlette": ("starlette", "starsessions", "uvicorn", "httptools"), "Django": ("django", "gunicorn")}
_SCRIPTS = {"Express": "express_server.cjs", "Fastify": "fastify_server.cjs"}


def command(framework: str, variant: str, url: str) -> list[str]:
    """Return the command line of a framework's server, bare or with sessions."""
    if framework in _SCRIPTS:
        return ["node", str(FOLDER / _SCRIPTS[framework]), variant, url]
    if framework == "aiohttp":
        return [sys.executable, "-m", "tests.benchmarks.server", variant, "--url", url]
    return [sys.executable, "-m", f"tests.benchmarks.peers.{framework.lower()}_server", variant, url]


def missing(peer: Peer) -> str | None:
    """Return what a peer needs and this machine has not; ``None`` where all is there."""
    if peer.framework in _SCRIPTS and not (shutil.which("node") and shutil.which("npm")):
        return "node and npm"
    absent = [name for name in _MODULES.get(peer.framework, ()) if importlib.util.find_spec(name) is None]
    if absent:
        return f"{', '.join(absent)} (the extra 'bench')"
    if not available(peer.variant):
        return "a server or a library for its store"
    return None


def install_for_node() -> Path:
    """Install what ``package.json`` asks for, once, beside the results; return the folder of the modules.

    :raises OSError: where npm fails.
    """
    folder = results.DIRECTORY.absolute() / "node"
    wanted = (FOLDER / "package.json").read_text()
    installed = folder / "package.json"
    if not (installed.exists() and installed.read_text() == wanted and (folder / "node_modules").exists()):
        folder.mkdir(parents=True, exist_ok=True)
        installed.write_text(wanted)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            installed.unlink()
            raise OSError(f"npm install failed: {done.stderr.strip() or done.returncode}")
    return folder / "node_modules"


def versions_on_node() -> dict[str, str]:
    """Return the versions of node and of what is installed for it; nothing where it is not."""
    modules = results.DIRECTORY.absolute() / "node" / "node_modules"
    if not (modules.exists() and shutil.which("node")):
        return {}
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    installed = {name: json.loads((modules / name / "package.json").read_text())["version"] for name in wanted}
    return {"node": node.removeprefix("v"), **installed}
