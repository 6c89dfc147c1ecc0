"""What works without asyncpg, and what is said where it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aiohttp_spry_session.adapters import postgres as postgres_package
from aiohttp_spry_session.adapters.postgres import schema_sql


def test_nothing_imports_the_driver_unless_the_adapter_is_used() -> None:
    """Neither the package nor the command needs asyncpg."""
    script = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "import aiohttp_spry_session, aiohttp_spry_session.testing\n"
        "import runpy\n"
        "runpy.run_module('aiohttp_spry_session.adapters.postgres_schema', run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == schema_sql().strip()


def _without_driver(script: str) -> str:
    """What a script prints where asyncpg is not installed."""
    script = "import sys; sys.modules['asyncpg'] = None\n" + script
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def test_without_the_driver_the_error_names_the_extra() -> None:
    """However the adapter is asked for; what needs no driver goes on working."""
    printed = _without_driver(
        "from aiohttp_spry_session.adapters.postgres import schema_sql\n"
        "from aiohttp_spry_session import adapter_from_url\n"
        "assert schema_sql().startswith('CREATE TABLE')\n"
        "def by_name():\n"
        "    from aiohttp_spry_session.adapters.postgres import PostgresSessionAdapter\n"
        "for ask in (by_name, lambda: adapter_from_url('postgresql://host/database')):\n"
        "    try:\n"
        "        ask()\n"
        "    except ImportError as error:\n"
        "        print(type(error).__name__, error.name, error)\n"
    )
    expected = 'ImportError asyncpg PostgresSessionAdapter needs asyncpg: pip install "aiohttp-spry-session[postgres]"'
    assert printed.splitlines() == [expected] * 2


@pytest.mark.parametrize("name", ["asyncpg", "another"])
def test_only_the_missing_driver_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever else cannot be imported is told as it is; an unknown name is an ``AttributeError``."""

    def fail(*args: object) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("builtins.__import__", fail)
    with pytest.raises(ImportError, match="pip install" if name == "asyncpg" else "No module named 'another'"):
        postgres_package.__getattr__("PostgresSessionAdapter")
    with pytest.raises(AttributeError, match="has no attribute 'Unknown'"):
        postgres_package.__getattr__("Unknown")
