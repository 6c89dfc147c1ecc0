"""The files of a database as the path leads to them: whether they are still those that are open."""

from __future__ import annotations

import contextlib
import os

__all__ = ["Files", "clear_remains", "create_private_file", "identify"]

Files = dict[str, tuple[int, int] | None]
"""Device and inode of the database, and of what SQLite keeps beside it, by what its name ends with."""

_SUFFIXES = ("", "-wal", "-shm")


def create_private_file(path: str) -> None:
    """Create the file with mode 0600 where it is missing; SQLite gives its WAL files the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def identify(path: str) -> Files:
    """Return which files the path leads to now. They are not opened: that would cost SQLite its locks."""
    return {suffix: _identity(path + suffix) for suffix in _SUFFIXES}


def clear_remains(path: str, files: Files) -> None:
    """Remove what stayed beside a database that went away: SQLite would take it for that of the next one."""
    if _identity(path) == files.get(""):
        return
    for suffix in _SUFFIXES[1:]:
        if files.get(suffix) is not None and _identity(path + suffix) == files[suffix]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + suffix)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
