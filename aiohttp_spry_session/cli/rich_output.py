"""Tables and bars of progress, by rich (extra ``cli``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["print_facts", "print_table", "progress"]

_MIN_WIDTH = 130
"""A handle is to be copied: in a narrow terminal it is wrapped, not cut."""


def _console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False)
    console.width = max(console.width, _MIN_WIDTH)
    return console


def print_table(out: TextIO, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows; without heads they go on below the last ones."""
    table = Table(box=None, show_header=bool(heads), header_style="bold", pad_edge=False)
    for number, head in enumerate(heads or rows[0]):
        handle_or_time = number < 3
        table.add_column(
            head if heads else "",
            style="cyan" if number == 0 else None,
            no_wrap=handle_or_time,
            min_width=(64, 19, 19)[number] if handle_or_time else None,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    _console(out).print(table)


def print_facts(out: TextIO, rows: Sequence[tuple[str, str]]) -> None:
    """Print names with what belongs to them."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    _console(out).print(table)


@contextmanager
def progress(err: TextIO, title: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """Show a bar, and give what moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=err), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda more: bar.advance(task, more)
