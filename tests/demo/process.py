"""The demo as a process of its own, as ``make demo`` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.servers.process import free_port

ROOT = Path(__file__).parents[2]


class DemoProcess:
    """One demo server, on one SQLite file; it can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.announcement = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> None:
        """Start it, and return when it says that it is open."""
        command = [sys.executable, "-W", "error", "-m", "demo", "--port", str(self.port), *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        self.announcement = self._process.stdout.readline()
        assert f"{self.port}/ (sessions: " in self.announcement, self.log.read_text()

    @property
    def log(self) -> Path:
        """What it wrote to its standard error."""
        return self.folder / "demo.log"

    def kill(self) -> None:
        """End it at once: it gets no chance to tidy up."""
        self._end(lambda process: process.kill())

    def stop(self) -> int:
        """Ask it to end, as Ctrl+C does; return its status."""
        return self._end(lambda process: process.terminate())

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        how(process)
        assert process.stdout is not None
        process.stdout.close()
        return process.wait(timeout=30)
