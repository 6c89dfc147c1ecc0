"""What is asked of a connection before it is trusted with sessions."""

from __future__ import annotations

import math
from typing import Any

import asyncpg

from .connections import is_connection_lost, is_rolled_back

__all__ = ["CodecError", "check_codecs", "is_read_committed"]

_VALUES: dict[str, object] = {
    "bytea": b"\x00\xff",
    "float8": math.pi,
    "int8": 2**62,
    "bool": True,
    "text": "é",
    "char": b"c",
}
"""A value of each type that the adapter sends or reads."""


class CodecError(Exception):
    """The connection turns the values of a type into others than the driver does by itself."""


async def check_codecs(connection: Any) -> None:
    """Send a value of each type there and back, alone and in an array.

    :raises CodecError: where another one comes back, or it cannot be sent.
    """
    for name, value in _VALUES.items():
        problem: Exception | None = None
        try:
            row = await connection.fetchrow(f'SELECT $1::"{name}", $2::"{name}"[]', value, [value])
            is_same = row[0] == value and row[1] == [value] and type(row[0]) is type(row[1][0]) is type(value)
        except OSError:
            raise
        except Exception as error:
            if is_connection_lost(error) or (isinstance(error, asyncpg.PostgresError) and not is_rolled_back(error)):
                raise
            is_same, problem = False, error
        if not is_same:
            raise CodecError(
                f"the pool's connections have a codec of their own for {name} (set_type_codec): "
                "pass a pool without it, or a URL"
            ) from problem


async def is_read_committed(connection: Any) -> bool:
    """Whether that is the isolation of a transaction that asks for none."""
    answer: bool = await connection.fetchval("SELECT current_setting('transaction_isolation') = 'read committed'")
    return answer
