"""Sessions in one SQLite file, shared by any number of processes on one machine."""

from .adapter import SQLiteSessionAdapter

__all__ = ["SQLiteSessionAdapter"]
