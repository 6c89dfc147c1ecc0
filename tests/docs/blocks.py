"""Finds the examples of a Markdown page.

A block may be preceded by a comment that says what to do with it:

- ``<!-- example: file NAME -->``: saved under this name, for the blocks after it;
- ``<!-- example: needs redis -->``, ``needs postgres``: run with that server;
- ``<!-- example: needs demo -->``: run against the demo, in place of the page's last program;
- ``<!-- example: by hand, WHY -->``: not run. :mod:`.test_examples` lists all of these.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Block", "pages", "read_blocks"]

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\{?[\w-]*\}?) *(?P<argument>.*)$")
_MARKER = re.compile(r"^ *<!-- example: (?P<what>file|needs|by hand),? *(?P<rest>.*?) *-->$")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language or ``{directive}``, its text, and where it stands."""

    page: Path
    line: int
    language: str
    argument: str
    text: str
    marker: str
    detail: str

    @property
    def place(self) -> str:
        """``page:line``, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return every page that has examples: the README and the documentation."""
    found = sorted(ROOT.glob("docs/**/*.md"))
    return [ROOT / "README.md", *(page for page in found if "_build" not in page.parts)]


def read_blocks(page: Path) -> Iterator[Block]:
    """Return the page's fenced blocks in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    marker, detail = "", ""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _MARKER.match(line):
            marker, detail = found["what"], found["rest"]
        elif fence := _FENCE.match(line):
            first = number
            while number < len(lines) and lines[number].strip() != fence["ticks"]:
                number += 1
            body = textwrap.dedent("\n".join(lines[first:number])) + "\n"
            number += 1
            yield Block(page, first + 1, fence["language"], fence["argument"], body, marker, detail)
            marker, detail = "", ""
        elif line.strip():
            marker, detail = "", ""
