"""The parts of the package that mutation testing knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from .mutants import PARTS, forgotten


def test_every_module_belongs_to_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """``make mutants`` changes the whole package, new modules too."""
    monkeypatch.chdir(Path(__file__).parents[1])
    assert forgotten() == []


@pytest.mark.parametrize("name", PARTS)
def test_a_part_names_what_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files and its tests exist."""
    monkeypatch.chdir(Path(__file__).parents[1])
    assert all(list(Path().glob(file)) for file in PARTS[name].files())
    assert all(Path(tests).exists() for tests in PARTS[name].tests)
