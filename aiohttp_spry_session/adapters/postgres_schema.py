"""Prints the SQL that makes or migrates the table of sessions: ``python -m ...adapters.postgres_schema``.

The name under which version 1.0 had it; the work is done in :mod:`.postgres.schema`.
"""

from .postgres.schema import main

if __name__ == "__main__":
    main()
