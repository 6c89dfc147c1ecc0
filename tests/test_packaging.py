"""What is published: versions that agree, links that lead somewhere from an index too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import aiohttp_spry_session

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOOK = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]


def published() -> str:
    """The README as an index shows it."""
    text = README
    for substitution in HOOK["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    return text.replace("$HFPR_VERSION", aiohttp_spry_session.__version__)


def test_no_link_is_relative_on_an_index() -> None:
    """Neither of the text nor of the pictures."""
    targets = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", published())
    links = ["".join(target) for target in targets]
    assert len(links) > 15
    assert [link for link in links if not link.startswith("https://")] == []


def test_relative_links_lead_to_files() -> None:
    """From the checkout."""
    targets = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", README)
    relative = [link for link in ("".join(target) for target in targets) if not link.startswith("https://")]
    assert [link for link in relative if not (ROOT / link.partition("#")[0]).exists()] == []


def test_base_address_is_one() -> None:
    """Where the README's links lead is where the project says that its source is."""
    source = PYPROJECT["project"]["urls"]["Source"]
    for substitution in HOOK["substitutions"]:
        assert substitution["replacement"].count(source) == 1
    assert all(url.startswith(source) for url in PYPROJECT["project"]["urls"].values())


def test_changelog_has_the_version() -> None:
    """The newest release in it is this one, and each version has a date."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(.+?)\](.*)$", text, re.MULTILINE)
    dated = [(version, date) for version, date in releases if version != "Unreleased"]
    assert dated[0][0] == aiohttp_spry_session.__version__
    assert all(re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date) for _, date in dated)


@pytest.mark.parametrize("extra", ["redis", "postgres", "seal", "dbsc", "arrivals", "cli"])
def test_extras_of_users(extra: str) -> None:
    """Each optional part has one, with no more than it imports."""
    assert len(PYPROJECT["project"]["optional-dependencies"][extra]) == 1


def test_classifiers_name_what_is_tested() -> None:
    """Every Python from the lowest on."""
    named = [line.rpartition(" ")[2] for line in PYPROJECT["project"]["classifiers"] if ":: Python :: 3." in line]
    assert named == [f"3.{minor}" for minor in range(11, 16)]
    assert PYPROJECT["project"]["requires-python"] == f">={named[0]}"
