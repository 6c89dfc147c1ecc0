"""Sessions in Redis or Valkey: one server, a master behind Sentinels, or a Cluster."""

try:
    import hiredis as _hiredis  # noqa: F401
    import redis as _redis  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'sessions in Redis need {error.name}: pip install "aiohttp-spry-session[redis]"', name=error.name
    ) from error

from .adapter import RedisSessionAdapter

__all__ = ["RedisSessionAdapter"]
