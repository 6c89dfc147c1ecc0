"""Every example of the README and of the documentation, run as a reader would run it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ..servers.process import absent
from .blocks import ROOT, pages, read_blocks
from .runner import DATA, PageRunner
from .transcript import differs, read_commands

BY_HAND = {
    "README.md": 2,
    "docs/how-to/install.md": 3,
    "docs/tutorial.md": 2,
}
"""How many blocks of a page are not run; each says why, in its marker."""

WRITTEN = {
    "redis": "redis://127.0.0.1:6379/0",
    "postgres": "postgresql://app@127.0.0.1/app",
}
"""The addresses that stand in the documentation; the real servers' take their place."""


@pytest.fixture(params=pages(), ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def servers(page: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The written address of each server that the page needs, and its real one."""
    if shutil.which("curl") is None and "$ curl" in page.read_text(encoding="utf-8"):
        absent("curl", "curl")
    found: dict[str, str] = {}
    needed = {name for block in read_blocks(page) if block.marker == "needs" for name in block.detail.split()}
    if "redis" in needed:
        found[WRITTEN["redis"]] = request.getfixturevalue("redis_server").url
    if "postgres" in needed:
        found[WRITTEN["postgres"]] = request.getfixturevalue("postgres_database")
    return found


async def test_page(page: Path, servers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's examples do what the page says, one after the other."""
    monkeypatch.chdir(tmp_path)
    async with PageRunner(tmp_path, servers) as runner:
        for block in read_blocks(page):
            await runner.run(block)


def test_by_hand() -> None:
    """Only the blocks that are known to need a person are left out, and each says why."""
    left_out: dict[str, int] = {}
    for page in pages():
        for block in read_blocks(page):
            if block.marker == "by hand":
                assert block.detail, f"{block.place} does not say why it is not run"
                assert block.language == "sh", f"{block.place}: only installing and starting may be left out"
                name = str(page.relative_to(ROOT))
                left_out[name] = left_out.get(name, 0) + 1
    assert left_out == BY_HAND


def test_nothing_to_run_is_passed_off_as_data() -> None:
    """A command or a program does not hide in a block whose language is never run."""
    for page in pages():
        for block in read_blocks(page):
            if block.language in DATA:
                assert not re.search(r"^(\$|pip|python|make|import|from) ", block.text, re.MULTILINE), block.place


def test_there_are_examples() -> None:
    """The collector sees the examples: an empty run is no success."""
    blocks = [block for page in pages() for block in read_blocks(page)]
    assert sum(block.language == "python" for block in blocks) > 30
    assert sum(block.language == "console" for block in blocks) > 8


@pytest.mark.parametrize(
    ("expected", "printed", "different"),
    [
        (["visit 1"], ["visit 1"], False),
        (["visit 1"], ["visit 2"], True),
        (["a", "...", "d"], ["a", "b", "c", "d"], False),
        (["a", "...", "d"], ["a", "b"], True),
        (["id=" + "x" * 43], ["id=" + "y" * 43], False),
        (["id=" + "x" * 43], ["id=" + "y" * 42], True),
        (["a"], ["a", "b"], True),
    ],
)
def test_comparison(expected: list[str], printed: list[str], different: bool) -> None:
    """Only identifiers, handles, times and versions may differ from what a page shows."""
    assert differs(expected, printed) is different


def test_commands() -> None:
    """A shell session is split at its prompts; a command may go on after a backslash."""
    first, second = read_commands("$ one \\\n>   more\nprinted\n$ two\n")
    assert (first.text, first.expected) == ("one \\\n  more", ["printed"])
    assert (second.text, second.expected) == ("two", [])
