"""PostgreSQL: one server in a folder of its own."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from .process import Server, absent

__all__ = ["PostgresServer"]


class PostgresServer(Server):
    """A PostgreSQL server that trusts the loopback, without ``fsync``: it keeps its data over a :meth:`stop`."""

    def __init__(self, *arguments: str) -> None:
        binaries = _find_binaries()
        if binaries is None:
            absent("PostgreSQL's server", "postgresql")
        assert binaries is not None
        super().__init__(user=_unprivileged_user())
        self.binaries = binaries
        self.arguments = arguments
        self.data = self.folder / "data"

    @property
    def dsn(self) -> str:
        """The maintenance database; tests take one of their own from the fixture ``postgres_database``."""
        return self.database_dsn("postgres")

    def database_dsn(self, name: str) -> str:
        """Return the DSN of a database."""
        return f"postgresql://postgres@{self.host}:{self.port}/{name}"

    def initialise(self) -> None:
        """Make the folder of data."""
        subprocess.run(
            [
                *(str(self.binaries / "initdb"), "--pgdata", str(self.data), "--username", "postgres"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            user=self.user,
            extra_groups=None if self.user is None else [],
        )

    def copy(self, primary: PostgresServer) -> None:
        """Make the folder of data as a standby's, which follows a running server."""
        subprocess.run(
            [
                *(str(self.binaries / "pg_basebackup"), "--pgdata", str(self.data), "--write-recovery-conf"),
                *("--checkpoint", "fast", "--dbname", primary.dsn, "--no-sync"),
            ],
            cwd=self.folder,
            check=True,
            user=self.user,
            extra_groups=None if self.user is None else [],
        )

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "100",
            "shared_buffers": "32MB",
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *pairs, *self.arguments]

    def is_ready(self) -> bool:
        check = [str(self.binaries / "pg_isready"), "--quiet", "--host", self.host, "--port", str(self.port)]
        return subprocess.run(check, check=False).returncode == 0

    def shut_down(self) -> None:
        # The fast mode: sessions are ended, and the data are written.
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    def pids(self, pid: int) -> list[int]:
        """Return the postmaster and its children, which are no process group."""
        return [
            pid,
            *(int(status.parent.name) for status in Path("/proc").glob("[0-9]*/stat") if _parent(status) == pid),
        ]


def _find_binaries() -> Path | None:
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: float(path.split("/")[4]))
    return Path(versions[-1]).parent if versions else None


def _unprivileged_user() -> str | None:
    """Return whom to run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _parent(status: Path) -> int | None:
    try:
        return int(status.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
