"""An adapter from a URL: one setting that decides where sessions are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .adapter import SessionAdapter
from .adapters.memory import MemorySessionAdapter
from .adapters.sqlite import SQLiteSessionAdapter

__all__ = ["adapter_from_url"]


def adapter_from_url(url: str, *, expiration: timedelta | float | None = timedelta(minutes=20)) -> SessionAdapter:
    """Return the adapter that a URL names.

    - ``memory://``
    - ``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db``
    - ``redis://…``, ``rediss://…``, ``valkey://…``, ``valkeys://…``, ``unix://…`` (extra ``redis``);
      ``?prefix=shop:`` is the adapter's option
    - ``postgresql://…``, ``postgres://…`` (extra ``postgres``; the table is created where it is missing);
      ``?table=sessions&schema=web`` are the adapter's options

    :raises ValueError: for any other URL. No message repeats the URL, which may hold a password.
    :raises ImportError: where the driver is not installed.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # whose message may repeat the part with the password
        raise ValueError("the session store's URL is malformed") from None
    if parts.scheme == "memory" and url == "memory://":
        return MemorySessionAdapter(expiration=expiration)
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and not parts.query + parts.fragment:
        return SQLiteSessionAdapter(unquote(parts.path[1:]), expiration=expiration)
    if parts.scheme in ("redis", "rediss", "valkey", "valkeys", "unix"):
        from .adapters.redis import RedisSessionAdapter

        # redis-py knows lower-case schemes of its own only.
        url, options = _own_options(parts.scheme.replace("valkey", "redis") + url[len(parts.scheme) :], "prefix")
        return RedisSessionAdapter(url, expiration=expiration, **options)
    if parts.scheme in ("postgresql", "postgres"):
        from .adapters.postgres import PostgresSessionAdapter

        url, options = _own_options(url, "table", "schema")
        return PostgresSessionAdapter(url, expiration=expiration, create_schema=True, **options)
    raise ValueError(
        "the session store's URL must be memory://, sqlite:///path, redis://..., rediss://..., valkey://..., "
        "valkeys://..., unix://..., postgresql://... or postgres://...; "
        f"this one has the scheme {parts.scheme!r}"
    )


def _own_options(url: str, *names: str) -> tuple[str, dict[str, Any]]:
    """Return the URL for a driver, which need not know the adapter's options, and these."""
    address, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    own = {name: value for name, value in pairs if name in names}
    if not own:
        return url, own
    rest = urlencode([pair for pair in pairs if pair[0] not in names])
    return f"{address}?{rest}" if rest else address, own
