"""What the kit exports."""

import inspect
import subprocess
import sys

import pytest

from aiohttp_spry_session import testing


def test_every_exported_name_is_there():
    """``__all__`` is true."""
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    """The lazy import is for one name only."""
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = testing.Nothing


def test_only_the_contract_needs_pytest():
    """The rest of the kit is for scripts and other test runners, too; the contract may be imported first."""
    script = (
        "import sys; from aiohttp_spry_session.testing import FakeClock, FaultyAdapter, start_session; "
        "assert 'pytest' not in sys.modules; "
        "from aiohttp_spry_session.testing import AdapterContract; assert 'pytest' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_the_fixture_takes_what_start_session_takes():
    """Its declared type has the same options, with the same defaults."""
    from aiohttp_spry_session.testing import plugin  # later than pytest, which imports it for other tests

    options = list(inspect.signature(testing.start_session).parameters.values())[1:]
    assert list(inspect.signature(plugin.MakeSessionClient.__call__).parameters.values())[2:] == options
