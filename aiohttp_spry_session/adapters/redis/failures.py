"""What a call may fail with, and which failures say that the server is not there any more, or not the master."""

from __future__ import annotations

from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisClusterException, RedisError, ResponseError

__all__ = ["FAILURES", "is_demoted", "is_lost"]

FAILURES = (RedisError, RedisClusterException, OSError)
"""What redis-py raises; one of them is no ``RedisError``."""


def is_lost(error: object) -> bool:
    """Whether another connection might do better than the one that failed so.

    It was lost or is silent, its server is no master any more, or wants to know once more who is there (``NOAUTH``,
    which is a lost connection for redis-py).
    """
    return isinstance(error, LostConnectionError | OSError) or is_demoted(error)


def is_demoted(error: object) -> bool:
    """Whether the server is a replica that takes no writes, or does not answer for want of its master."""
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    # Redis 6 wraps what a command in a script failed with.
    return isinstance(error, ResponseError) and " -READONLY " in str(error)
