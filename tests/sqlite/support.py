"""What the tests of the SQLite adapter share: a way to look into its file."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager

from aiohttp_spry_session.adapters.sqlite.schema import APPLICATION_ID, MIGRATIONS


def query(path, statement, *parameters):
    """Run one statement on the file, as another program would; return all rows."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as database:
        return database.execute(statement, parameters).fetchall()


NEWEST = len(MIGRATIONS)


@contextmanager
def no_thread_left():
    """Hold the block to ending every thread that it starts, but for those of the loop's own pool."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("asyncio"):
            thread.join(30)
            assert not thread.is_alive()


def make_file(path, *, version=NEWEST, application_id=APPLICATION_ID, statements=None):
    """Make a database file of some schema version."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for migration in MIGRATIONS[:version] if statements is None else [statements]:
            for statement in migration:
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {application_id}")
        database.execute(f"PRAGMA user_version = {version}")
