"""Walking through the keys of a Redis server in small steps (https://redis.io/docs/latest/commands/scan/)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from typing import Any

from .pipe import Pipe

__all__ = ["KeyWalk", "Seen", "pattern_of"]

_STEP = b"250"
"""How many places of its table the server looks at in one step."""

_REST = 12


def pattern_of(prefix: bytes) -> bytes:
    """Return the pattern of all keys that begin so."""
    return b"".join(b"\\" + bytes((byte,)) if byte in b"*?[]^\\" else bytes((byte,)) for byte in prefix) + b"*"


class KeyWalk:
    """Walks through the keys of one server, on a connection that is made for the first walk.

    :param ask: sends one command on the pipe, and returns its answer.
    """

    def __init__(self, pipe: Pipe, ask: Callable[[tuple[bytes, ...]], Awaitable[Any]]) -> None:
        self._pipe = pipe
        self._ask = ask
        self._turn = asyncio.Lock()

    async def keys(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        """Return the keys of all strings that are there the whole time; one may come several times."""
        cursor, connection = b"0", 0
        while True:
            async with self._turn:
                answer = await self._ask((b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _STEP, b"TYPE", b"string"))
                is_new = connection != self._pipe.connections
                connection = self._pipe.connections
            if isinstance(answer, Exception):
                raise answer
            if is_new and cursor != b"0":
                # It may be another server, or the same one after a restart, to which the cursor says something else.
                cursor = b"0"
                continue
            cursor, keys = answer
            yield keys
            if cursor == b"0":
                return

    async def drain(self) -> None:
        """Wait for the step that is under way."""
        async with self._turn:
            pass


class Seen:
    """A set of keys that takes some 15 bytes for each: their digests, long enough that no two are the same."""

    def __init__(self) -> None:
        self._rests: dict[bytes, bytearray] = {}

    def add(self, key: bytes) -> bool:
        """Add a key; return whether it is new."""
        digest = blake2b(key, digest_size=2 + _REST).digest()
        rests, rest = self._rests.setdefault(digest[:2], bytearray()), digest[2:]
        at = rests.find(rest)
        while at % _REST and at >= 0:  # across two of them
            at = rests.find(rest, at + 1)
        if at >= 0:
            return False
        rests += rest
        return True
