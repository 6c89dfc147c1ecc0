"""Sessions in a PostgreSQL table, shared by any number of machines.

The driver is imported with the adapter only: :func:`schema_sql`, and the command that prints it, do without.
"""

from typing import TYPE_CHECKING, Any

from .schema import schema_sql

if TYPE_CHECKING:
    from .adapter import PostgresSessionAdapter

__all__ = ["PostgresSessionAdapter", "schema_sql"]


def __getattr__(name: str) -> Any:
    if name != "PostgresSessionAdapter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .adapter import PostgresSessionAdapter

    return PostgresSessionAdapter
