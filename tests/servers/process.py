"""One server process: started, stopped, killed, paused, and gone with the test run, however that ends."""

from __future__ import annotations

import abc
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

__all__ = ["Server", "absent", "free_port"]

_READY_SECONDS = 30.0
_STOP_SECONDS = 30.0

HOST = "127.0.0.1"


def absent(what: str, package: str) -> None:
    """Skip the test for want of a program; fail it where the environment says ``CI``."""
    message = f"{what} is not installed: apt-get install {package} (or the like) provides it"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def free_port() -> int:
    """Return a port that is free, like the one 10,000 above it, which a Redis Cluster node takes for its bus.

    All are below the range for outgoing connections, so that nobody takes one by chance while its server is stopped.
    """
    for _ in range(1000):
        port = 10_000 + secrets.randbelow(10_000)  # no seed of a test makes two workers take the same
        try:
            for candidate in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, candidate))
        except OSError:
            continue
        return port
    raise RuntimeError("no free port")


class _Guardian:
    """A shell that ends the servers and removes their folders when this process goes without having done so."""

    _SCRIPT = """
    while read -r kind what; do
        case $kind in
            pid) pids="$pids $what" ;;
            gone) pids=$(printf '%s\\n' $pids | grep -vx "$what" | tr '\\n' ' ') ;;
            folder) folders="$folders $what" ;;
        esac
    done
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
    for folder in $folders; do rm -rf "$folder"; done
    """

    def __init__(self) -> None:
        self._shell: subprocess.Popen[str] | None = None

    def tell(self, kind: str, what: object) -> None:
        if self._shell is None:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", self._SCRIPT], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{kind} {what}\n")
        self._shell.stdin.flush()

    def dismiss(self) -> None:
        if self._shell is not None:
            self._shell.communicate()
            self._shell = None


guardian = _Guardian()


class Server(abc.ABC):
    """A server that a test may stop, kill, pause and start again; every call returns when that has happened.

    The calls block: a coroutine whose load has to go on meanwhile uses ``asyncio.to_thread``. What would disturb a
    server that others use too (:meth:`shared`) skips the test.
    """

    host = HOST
    _is_shared = False

    def __init__(self, *, user: str | None = None) -> None:
        self.user = user
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="spry-server-"))
        guardian.tell("folder", self.folder)
        if user is not None:
            shutil.chown(self.folder, user)
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []

    @classmethod
    def shared(cls, port: int, folder: str) -> Self:
        """Return a server that somebody else started, and will end."""
        server = cls.__new__(cls)
        server.port, server.folder = port, Path(folder)
        server._process, server._paused, server._is_shared = None, [], True
        return server

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abc.abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers."""

    @abc.abstractmethod
    def shut_down(self) -> None:
        """Ask the running server to keep its data and go."""

    def pids(self, pid: int) -> list[int]:
        """Return the processes that make up the server, given the one that was started."""
        return [pid]

    @property
    def is_running(self) -> bool:
        """Whether the server's process is there, paused or not."""
        return self._is_shared or (self._process is not None and self._process.poll() is None)

    def start(self) -> None:
        """Start the server, with the data it had when it was stopped; return when it answers."""
        if self.is_running:
            return
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start the process without waiting for an answer."""
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
                extra_groups=None if self.user is None else [],
            )
        guardian.tell("pid", self._process.pid)

    def wait_until_ready(self) -> None:
        """Return when the server answers; ``RuntimeError`` with its log where it does not."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self.is_ready():
            if not self.is_running or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command()[0]} did not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server in good order: its data are there again after :meth:`start`."""
        self.must_be_own()
        self.resume()
        if self.is_running:
            self.shut_down()
        self._reap()

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        self.must_be_own()
        if self._process is not None and self.is_running:
            for pid in self.pids(self._process.pid):
                _signal(pid, signal.SIGKILL)
        self._paused = []
        self._reap()

    def pause(self) -> None:
        """Freeze the server: connections stay open, and nothing is answered."""
        self.must_be_own()
        if self._process is None or not self.is_running or self._paused:
            return
        # The first process before the others are listed, so that it cannot start another one meanwhile.
        _signal(self._process.pid, signal.SIGSTOP)
        self._paused = self.pids(self._process.pid)
        for pid in self._paused[1:]:
            guardian.tell("pid", pid)
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        for pid in reversed(self._paused):
            _signal(pid, signal.SIGCONT)
        for pid in self._paused[1:]:
            guardian.tell("gone", pid)
        self._paused = []

    def recover(self) -> None:
        """Bring the server back to work, whatever a test did to it."""
        self.resume()
        self.start()

    def close(self) -> None:
        """End the server and remove its folder."""
        if not self._is_shared:
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def must_be_own(self) -> None:
        """Skip the test where others use this server too."""
        if self._is_shared:
            pytest.skip("others use this server too")

    def _reap(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        guardian.tell("gone", self._process.pid)
        self._process = None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
