"""Sessions in Redis or Valkey: one server, a master behind Sentinels, or a Cluster."""

from .adapter import RedisSessionAdapter

__all__ = ["RedisSessionAdapter"]
