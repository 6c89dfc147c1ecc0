"""Without the drivers there is an error that says what to install."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

PACKAGE = "aiohttp_spry_session.adapters.redis"


@pytest.mark.parametrize("driver", ["redis", "hiredis"])
def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    """Each of the two is needed, and the error is the one for modules that are not there."""
    for name in [name for name in sys.modules if name == driver or name.startswith((f"{driver}.", PACKAGE))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        import_module(PACKAGE)
    assert str(caught.value) == f'sessions in Redis need {driver}: pip install "aiohttp-spry-session[redis]"'
    assert caught.value.name == driver
