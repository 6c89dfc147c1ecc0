"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with its numbers to the right."""
    numbers = "".join(" ---: |" for _ in head[1:])
    lines = ["| " + " | ".join(head) + " |", "| --- |" + numbers, *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"
