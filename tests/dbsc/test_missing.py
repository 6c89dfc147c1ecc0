"""Without the extra there is an error that says what to install."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

PACKAGE = "aiohttp_spry_session.dbsc"


def test_the_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the one for modules that are not there."""
    for name in [name for name in sys.modules if name.startswith(("cryptography", PACKAGE))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module(PACKAGE)
    assert str(caught.value) == 'device-bound sessions need cryptography: pip install "aiohttp-spry-session[dbsc]"'
    assert caught.value.name == "cryptography"
