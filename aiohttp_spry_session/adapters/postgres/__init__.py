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
    try:
        from .adapter import PostgresSessionAdapter
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ImportError(
            'PostgresSessionAdapter needs asyncpg: pip install "aiohttp-spry-session[postgres]"', name="asyncpg"
        ) from error
    return PostgresSessionAdapter
