"""The exported surface: what may be imported, and from where."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

import aiohttp_spry_session
from aiohttp_spry_session import Session, SessionAdapter, SessionManager, SessionRecord

PUBLIC = {
    "SESSION",
    "AdapterError",
    "Codec",
    "ConflictError",
    "HeadersSentError",
    "JSONCodec",
    "MemorySessionAdapter",
    "SQLiteSessionAdapter",
    "Session",
    "SessionAdapter",
    "SessionEndedError",
    "SessionError",
    "SessionEvent",
    "SessionInfo",
    "SessionKey",
    "SessionManager",
    "SessionNotLoadedError",
    "SessionRecord",
    "SessionTooLargeError",
    "SessionValueError",
    "TooManySessionsError",
    "StoreCall",
    "adapter_from_url",
    "generate_identifier",
    "get_session",
    "session_middleware",
    "setup",
}


def names_of(owner: type) -> set[str]:
    """The public attributes of a class."""
    return {name for name in dir(owner) if not name.startswith("_")}


def test_exported_names():
    """Exactly these, sorted, and every one is there."""
    assert set(aiohttp_spry_session.__all__) == PUBLIC
    assert len(aiohttp_spry_session.__all__) == len(PUBLIC)
    for name in PUBLIC:
        assert getattr(aiohttp_spry_session, name) is not None


def test_testing_kit_is_public():
    """The kit is there with what the design names; it may have more."""
    from aiohttp_spry_session import testing

    assert {"AdapterContract", "FakeClock", "FaultyAdapter"} <= set(testing.__all__)
    assert "testing" not in PUBLIC


def test_operations_of_a_session():
    """The design's operations and properties, and no others."""
    assert names_of(Session) == {
        *("identifier", "handle", "is_new", "created_at", "expires_at", "owner"),
        *("last_used_at", "authenticated_at", "level", "device", "is_fresh"),
        *("has", "get", "keys", "set", "remove", "clear", "update", "increment", "pop"),
        *("renew", "rotate", "bind", "confirm", "destroy", "load", "save", "reload", "alive"),
    }


def test_methods_of_an_adapter():
    """The design's contract."""
    methods = {"load", "create", "update", "renew", "rotate", "destroy", "find", "count", "purge", "open", "close"}
    assert {
        name for name in names_of(SessionAdapter) if inspect.iscoroutinefunction(getattr(SessionAdapter, name))
    } == methods
    assert names_of(SessionAdapter) - methods == {
        *(
            "scan",
            "scan_all",
            "clock",
            "hints",
            "purge_interval",
            "watch_interval",
            "users",
            "rotates_at_once",
            "finds_owners",
        )
    }
    assert list(SessionRecord.__dataclass_fields__) == [
        *("payload", "version", "created_at", "expires_at", "owner", "retired"),
    ]


OPTIONS = [
    *(
        "name",
        "domain",
        "path",
        "secure",
        "http_only",
        "identifier_generator",
        "same_site",
        "partitioned",
        "persistent",
    ),
    *(
        "max_lifetime",
        "header",
        "rolling",
        "track_use",
        "max_sessions",
        "when_full",
        "autostart",
        "lazy",
        "codec",
        "max_bytes",
        "timeout",
        "clock",
    ),
]


def test_options_of_a_manager():
    """The adapter, by position or name, then the options by name only."""
    parameters = inspect.signature(SessionManager).parameters
    assert list(parameters) == ["adapter", *OPTIONS]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in OPTIONS)
    operations = {"find", "revoke", "revoke_owner", "purge", "open", "close"}
    signals = {"on_created", "on_renewed", "on_rotated", "on_destroyed", "on_rejected"}
    assert operations | signals <= names_of(SessionManager)


def test_signatures_of_the_functions():
    """What is passed by position today stays so."""
    signatures = {
        name: str(inspect.signature(getattr(aiohttp_spry_session, name)))
        for name in ("setup", "session_middleware", "get_session", "generate_identifier")
    }
    assert {name: re.sub(r": '[^']*'| -> '[^']*'", "", signature) for name, signature in signatures.items()} == {
        "setup": "(app, manager, *, key = 'session')",
        "session_middleware": "(manager, *, key = 'session')",
        "get_session": "(request, key = 'session')",
        "generate_identifier": "()",
    }
    assert isinstance(aiohttp_spry_session.SESSION, web.RequestKey)


MODULES = [module.name for module in pkgutil.walk_packages(aiohttp_spry_session.__path__, "aiohttp_spry_session.")]


@pytest.mark.parametrize("name", [name for name in MODULES if ".testing" not in name])
def test_every_module_says_what_it_exports(name):
    """Each has a docstring, and where it has names for others, an __all__ of names that exist."""
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_everything_public_is_documented(name):
    """A docstring states the promise, for every public method too."""
    value = getattr(aiohttp_spry_session, name)
    if name != "SESSION":
        assert value.__doc__
    if isinstance(value, type):
        for attribute, member in vars(value).items():
            inherited = [getattr(base, attribute, None) for base in value.__mro__[1:]]
            if not attribute.startswith("_") and callable(member):
                assert member.__doc__ or any(getattr(base, "__doc__", None) for base in inherited), attribute


def test_core_imports_no_driver_of_an_extra():
    """Nothing imports a driver that may not be installed, nor pytest."""
    code = (
        "import sys, aiohttp_spry_session, aiohttp_spry_session.testing;"
        "optional = ('redis', 'asyncpg', 'cryptography', 'aiohttp_security', 'pytest', 'hypothesis', 'pickle5');"
        "print([name for name in optional if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


def test_package_is_typed_and_knows_its_version():
    """Type checkers look for py.typed."""
    package = Path(aiohttp_spry_session.__file__).parent
    assert (package / "py.typed").exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+", aiohttp_spry_session.__version__)


def test_no_pickle():
    """Nothing in the package deserialises what could run code (ASVS 1.5.2, CVE-2026-7818)."""
    package = Path(aiohttp_spry_session.__file__).parent
    for source in package.rglob("*.py"):
        assert not re.search(r"\b(pickle|marshal|shelve|dill|eval|exec)\b\s*[.(]", source.read_text()), source
