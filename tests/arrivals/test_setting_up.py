"""What is wrong is said when it is set up, with what is allowed."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import pytest
import redis
from aiohttp import web
from cryptography.fernet import Fernet
from redis.asyncio import Redis

from aiohttp_spry_session import MemorySessionAdapter, SessionManager, arrivals, setup
from aiohttp_spry_session.arrivals import AiohttpSessionEncryptedCookie, AiohttpSessionRedis
from aiohttp_spry_session.testing import FakeClock

KEY = bytes(32)


def cookie(**options: Any) -> AiohttpSessionEncryptedCookie:
    """A storage of the old site."""
    return AiohttpSessionEncryptedCookie(**{"key": KEY, "max_age": 3600, **options})


@pytest.mark.parametrize(
    "key",
    [b"", b"short", bytes(31), bytes(33), "", "x" * 44, "Zoë", "A" * 40, None, 7, [KEY], Fernet],
    ids=["nothing", "short", "31", "33", "empty", "no key", "no ASCII", "40", "none", "number", "list", "class"],
)
def test_keys_that_are_none(key: Any) -> None:
    """The message says what a key is, and repeats none."""
    with pytest.raises(ValueError, match=r"32 bytes, a Fernet key as text \(44 characters of base64url\)") as caught:
        cookie(key=key)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert type(key).__name__ in str(caught.value)
    if key:
        assert repr(key) not in str(caught.value)


@pytest.mark.parametrize("max_age", [0, -1, True, "3600", 401 * 86_400], ids=str)
def test_lifetimes_that_are_none(max_age: Any) -> None:
    """Up to 400 days, or ``None``."""
    for make in cookie, lambda max_age: AiohttpSessionRedis(Redis(), max_age=max_age):
        with pytest.raises(ValueError, match="max_age must be a timedelta or a number of seconds"):
            make(max_age=max_age)


def test_max_age_has_to_be_said() -> None:
    """Of cookies that nobody can delete."""
    with pytest.raises(TypeError, match="max_age"):
        AiohttpSessionEncryptedCookie(KEY)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["", "a b", "a=b", "ä", None, 7, "x" * 4000], ids=range(7))
def test_names_that_are_none(name: Any) -> None:
    """Of cookies."""
    for make in cookie, lambda cookie_name: AiohttpSessionRedis(Redis(), cookie_name=cookie_name):
        with pytest.raises(ValueError, match=r"^cookie_name must"):
            make(cookie_name=name)


@pytest.mark.parametrize("owner", ["", 7, True], ids=str)
def test_owners_that_are_none(owner: Any) -> None:
    """A key, or ``None``."""
    for make in cookie, lambda owner: AiohttpSessionRedis(Redis(), owner=owner):
        with pytest.raises(ValueError, match="owner must be the key under which"):
            make(owner=owner)


@pytest.mark.parametrize(
    "client", [None, "redis://localhost", redis.Redis(), Redis], ids=["none", "url", "sync", "class"]
)
def test_clients_that_are_none(client: Any) -> None:
    """As the old storage asked for."""
    with pytest.raises(ValueError, match=r"client must be the redis.asyncio.Redis that RedisStorage was given, not a"):
        AiohttpSessionRedis(client)


def test_no_manager() -> None:
    """The message is the one of ``setup``."""
    app = web.Application()
    for wrong in None, MemorySessionAdapter(), "manager":
        with pytest.raises(ValueError, match="setup needs a SessionManager"):
            arrivals.setup(app, wrong, cookie())  # type: ignore[arg-type]


@pytest.mark.parametrize("app", [web.Application(), None], ids=["before", "no app"])
def test_before_the_manager(app: Any) -> None:
    """It comes after ``setup(app, manager)``, on the same application."""
    with pytest.raises(ValueError, match=r"not set up on this application: call setup\(app, manager\) before"):
        arrivals.setup(app, SessionManager(), cookie())


@pytest.fixture
def manager() -> SessionManager:
    """A manager."""
    return SessionManager(clock=FakeClock())


@pytest.fixture
def app(manager: SessionManager) -> web.Application:
    """An application that has it, and another one."""
    app = web.Application()
    setup(app, manager)
    setup(app, SessionManager(name="staff"), key="staff")
    return app


@pytest.mark.parametrize(
    ("sources", "told"),
    [([], "not none"), ([None], "not a NoneType"), (["x", KEY], "not a str, a bytes"), ([Redis()], "not a Redis")],
    ids=["none", "None", "two", "client"],
)
def test_sources_that_are_none(app: web.Application, manager: SessionManager, sources: Any, told: str) -> None:
    """One or more of the two kinds."""
    with pytest.raises(ValueError, match="setup needs one or more old storages") as caught:
        arrivals.setup(app, manager, *sources)
    assert str(caught.value).endswith(told)
    arrivals.setup(app, manager, cookie())


@pytest.mark.parametrize("name", ["SPRY_SESSION_ID", "SPRY_SESSION_ID-next", "staff", "staff-next"])
def test_a_cookie_that_is_a_managers_own(app: web.Application, manager: SessionManager, name: str) -> None:
    """Of any manager of the application."""
    with pytest.raises(ValueError, match=f"'{name}' is a session manager's own"):
        arrivals.setup(app, manager, cookie(), cookie(cookie_name=name))
    arrivals.setup(app, manager, cookie())


def test_an_old_cookie_that_could_not_be_removed(app: web.Application, manager: SessionManager) -> None:
    """A manager without ``secure`` cannot remove one whose name demands it."""
    with pytest.raises(ValueError, match="__Host-"):
        arrivals.setup(app, manager, cookie(cookie_name="__Host-old"))


def test_twice(app: web.Application, manager: SessionManager) -> None:
    """All storages in one call."""
    arrivals.setup(app, manager, cookie())
    with pytest.raises(ValueError, match=r"call arrivals.setup once, with all old storages"):
        arrivals.setup(app, manager, cookie())


@pytest.mark.parametrize(
    ("package", "make", "message"),
    [
        (
            "cryptography",
            lambda: AiohttpSessionEncryptedCookie(KEY, max_age=1),
            "AiohttpSessionEncryptedCookie needs cryptography: pip install 'aiohttp-spry-session[arrivals]'",
        ),
        (
            "redis",
            lambda: AiohttpSessionRedis(None),  # type: ignore[arg-type]
            "AiohttpSessionRedis needs redis: pip install 'aiohttp-spry-session[redis]'",
        ),
    ],
    ids=["cryptography", "redis"],
)
def test_a_missing_package_names_the_extra(
    package: str, make: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each storage needs its own alone: the module is imported without either."""
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("aiohttp_spry_session.arrivals")]:
        monkeypatch.delitem(sys.modules, name)
    import_module("aiohttp_spry_session.arrivals")
    with pytest.raises(ImportError) as caught:
        make()
    assert str(caught.value) == message
    assert caught.value.name == package
