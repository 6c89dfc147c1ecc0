"""Prints the lowest versions that ``pyproject.toml`` allows, as constraints for pip: for ``make test-lowest``."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["lowest", "requirements"]

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?>=(?P<version>[0-9.]+)(?:,<[0-9.]+)?")


def requirements(extras: Iterable[str]) -> Iterator[str]:
    """Return what the package needs, and each of the extras."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    yield from project["dependencies"]
    for extra in extras:
        yield from project["optional-dependencies"][extra]


def lowest(needed: Iterable[str]) -> dict[str, str]:
    """Return the lowest version of each; where two ask for one project, the higher bound is the lowest for both.

    :raises ValueError: for one without a lower bound, since it would promise every version there ever was.
    """
    found: dict[str, str] = {}
    for requirement in needed:
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None:
            raise ValueError(f"{requirement!r} is not of the form name>=version or name>=version,<version")
        name, version = match["name"].lower(), match["version"]
        found[name] = max(found.get(name, "0"), version, key=_number)
    return found


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


if __name__ == "__main__":
    for name, version in lowest(requirements(sys.argv[1:])).items():
        print(f"{name}=={version}")
