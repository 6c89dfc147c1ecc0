"""The lowest versions that ``make test-lowest`` installs."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from .lowest import PROJECT, lowest, requirements


def test_every_requirement_has_a_lower_bound() -> None:
    """Each of the package's and of every extra's dependencies is understood."""
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    needed = list(requirements(extras))
    assert lowest(needed).keys() >= {"aiohttp", "aiosqlite", "msgspec", "redis", "asyncpg", "pytest", "sphinx"}
    assert len(needed) > 20


def test_the_lowest_of_two_bounds_is_the_higher() -> None:
    """What two extras name has to fit both, compared by number; extras and upper bounds do not matter."""
    assert lowest(["a[x,y]>=1.9,<3", "B-c>=2", "a>=1.10", "a>=1.2.3"]) == {"a": "1.10", "b-c": "2"}


@pytest.mark.parametrize("requirement", ["a", "a<2", "a~=1.0", "a>=1; python_version < '3.12'", "a>=1.0b1"])
def test_a_requirement_without_a_plain_lower_bound(requirement: str) -> None:
    """It is refused: nobody could say what its lowest version is."""
    with pytest.raises(ValueError, match="is not of the form"):
        lowest([requirement])


def test_as_a_program() -> None:
    """It prints what pip reads as constraints, and nothing that was not asked for."""
    printed = subprocess.run(
        [sys.executable, "-m", "tests.lowest", "redis"], cwd=PROJECT.parent, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    expected = lowest(requirements(["redis"]))
    assert printed == [f"{name}=={version}" for name, version in expected.items()]
    assert expected.keys() == {"aiohttp", "aiosqlite", "msgspec", "redis"}
