"""An adapter from a URL."""

from __future__ import annotations

import re
import sys

import pytest

from aiohttp_spry_session import MemorySessionAdapter, SQLiteSessionAdapter, adapter_from_url

REDIS = ("redis", "rediss", "valkey", "valkeys", "unix")
POSTGRES = ("postgresql", "postgres")


def test_memory():
    """memory:// is the store of this process."""
    adapter = adapter_from_url("memory://", expiration=60)
    assert isinstance(adapter, MemorySessionAdapter)
    assert adapter.expiration == 60


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///sessions.db", "sessions.db"),
        ("sqlite:///s", "s"),
        ("sqlite:///a/b.db", "a/b.db"),
        ("sqlite:////var/lib/s.db", "/var/lib/s.db"),
        ("sqlite:///with%20space%3F.db", "with space?.db"),
        ("SQLite:///s.db", "s.db"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_sqlite(url, path):
    """Three slashes lead to a relative path, four to an absolute one; escapes are undone."""
    adapter = adapter_from_url(url)
    assert isinstance(adapter, SQLiteSessionAdapter)
    assert adapter.path == path
    assert adapter.expiration == 1200
    assert adapter_from_url(url, expiration=60).expiration == 60


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:",
        "memory://x",
        "memory:///",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/s.db",
        "sqlite:///s.db?mode=ro",
        "sqlite:///s.db#x",
        "sqlite:///a%00b",
        "mysql://user:secret@host/db",
        "http://user:secret@host/",
        "/var/lib/s.db",
        "redis",
        "redis://user:secret@[::1/0",
        "redis://user:secret@ho\u2100st/0",
        "//user:secret@ho\u2100st/0",
    ],
)
def test_other_urls(url):
    """They are refused without being repeated, for there may be a password in them."""
    with pytest.raises(ValueError, match=r"the session store's URL|path must be") as caught:
        adapter_from_url(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_the_message_names_every_scheme():
    """Whoever mistyped one learns of all that work, the docstring's."""
    with pytest.raises(ValueError, match="has the scheme 'mysql'") as caught:
        adapter_from_url("mysql://host/db")
    named = set(re.findall(r"(\w+)://", str(caught.value)))
    assert named == {"memory", "sqlite", *REDIS, *POSTGRES}
    assert named == set(re.findall(r"(\w+)://", adapter_from_url.__doc__))


class Stub:
    """Stands for an adapter of an extra."""

    def __init__(self, url: str, **options: object) -> None:
        self.url, self.options = url, options


@pytest.mark.parametrize(
    ("url", "passed_on"),
    [
        ("redis://valkey:6379/0", "redis://valkey:6379/0"),
        ("rediss://host", "rediss://host"),
        ("valkey://valkey:6379", "redis://valkey:6379"),
        ("VALKEYS://valkeys", "rediss://valkeys"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ],
)
def test_redis(monkeypatch, url, passed_on):
    """The scheme is what redis-py knows; a host, password or socket named valkey is left alone."""
    module = type(sys)("stub")
    module.RedisSessionAdapter = Stub
    monkeypatch.setitem(sys.modules, "aiohttp_spry_session.adapters.redis", module)
    adapter = adapter_from_url(url, expiration=60)
    assert (adapter.url, adapter.options) == (passed_on, {"expiration": 60})
    assert url.partition("://")[0].lower() in REDIS


@pytest.mark.parametrize("scheme", POSTGRES)
def test_postgres(monkeypatch, scheme):
    """The URL is asyncpg's; the table is made where it is missing."""
    module = type(sys)("stub")
    module.PostgresSessionAdapter = Stub
    monkeypatch.setitem(sys.modules, "aiohttp_spry_session.adapters.postgres", module)
    adapter = adapter_from_url(f"{scheme}://user:secret@host/db", expiration=60)
    assert adapter.url == f"{scheme}://user:secret@host/db"
    assert adapter.options == {"expiration": 60, "create_schema": True}


@pytest.mark.parametrize(
    ("url", "passed_on", "options"),
    [
        ("redis://host/0?prefix=shop:", "redis://host/0", {"prefix": "shop:"}),
        ("unix:///run/s.sock?db=1&prefix=a%26b&x=%20", "unix:///run/s.sock?db=1&x=+", {"prefix": "a&b"}),
        ("redis://host?db=1", "redis://host?db=1", {}),
        ("postgresql://h/db?table=t&sslmode=require&schema=web", "postgresql://h/db?sslmode=require", None),
    ],
)
def test_options_of_the_adapter(monkeypatch, url, passed_on, options):
    """They are taken out of the URL, which is the driver's otherwise."""
    for name in ("redis", "postgres"):
        module = type(sys)("stub")
        module.PostgresSessionAdapter = module.RedisSessionAdapter = Stub
        monkeypatch.setitem(sys.modules, f"aiohttp_spry_session.adapters.{name}", module)
    adapter = adapter_from_url(url, expiration=60)
    expected = {"create_schema": True, "table": "t", "schema": "web"} if options is None else options
    assert (adapter.url, adapter.options) == (passed_on, {"expiration": 60, **expected})


@pytest.mark.parametrize(("url", "driver"), [("redis://host", "redis"), ("postgresql://host/db", "asyncpg")])
def test_missing_driver(monkeypatch, url, driver):
    """A driver that is not installed is an ImportError, when it is needed and not before."""
    for name in [
        name
        for name in sys.modules
        if name.partition(".")[0] == driver or "adapters.redis" in name or "adapters.postgres" in name
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ImportError):
        adapter_from_url(url)
