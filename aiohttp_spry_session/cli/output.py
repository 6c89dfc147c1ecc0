"""What the command line prints: tables for people, JSON for programs, plain text where there is no terminal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TextIO

from ..overview import SessionInfo

__all__ = ["Output", "plain"]

pretty: Any
try:
    from . import rich_output as pretty
except ImportError:  # the extra is not installed
    pretty = None

_COLUMNS = ("handle", "created_at", "expires_at", "owner")
_WIDTHS = (64, 19, 19, 0)
_ROWS = 200
"""How many rows are printed together."""


def plain(value: Any) -> str:
    """Return a value as text in which nothing can control a terminal."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class Output:
    """Prints results to one stream, and everything else to another.

    :param as_json: whether programs are to read it.
    :param values: whether the values of sessions are shown.
    """

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool, values: bool) -> None:
        self._out = out
        self._err = err
        self._json = as_json
        self._fields = [field.name for field in fields(SessionInfo) if field.name != "values"]
        self._fields += ["values"] if values else []  # last, since they may be long
        self._columns = [*_COLUMNS, *(["values"] if values else [])]
        self._is_pretty = pretty is not None and not as_json and out.isatty()
        if pretty is None and not as_json and out.isatty():
            self.note('plain text: tables and progress need rich (pip install "aiohttp-spry-session[cli]")')

    def note(self, text: str) -> None:
        """Tell something beside the result."""
        print(f"spry-session: {text}", file=self._err)

    def result(self, text: str, **facts: object) -> None:
        """Print a result: the text for people, the facts for programs."""
        self._print(json.dumps(facts) if self._json else text)

    def session(self, info: SessionInfo) -> None:
        """Print one session with all that is known of it."""
        if self._json:
            self._print(self._object(info))
            return
        rows = [(name.replace("_at", ""), plain(self._shown(info, name))) for name in self._fields]
        if self._is_pretty:
            pretty.print_facts(self._out, rows)
            return
        for name, value in rows:
            self._print(f"{name:<15}{value}")

    async def sessions(self, infos: AsyncIterator[SessionInfo]) -> None:
        """Print sessions as they come."""
        if self._json:
            async for info in infos:
                self._print(self._object(info))
            return
        heads = [name.replace("_at", "") for name in self._columns]
        rows: list[list[str]] = []
        async for info in infos:
            rows.append(self._cells(info))
            if len(rows) == _ROWS:
                self._table(heads, rows)
                heads, rows = [], []
        if heads or rows:
            self._table(heads, rows)

    @contextmanager
    def progress(self, title: str, total: int | None) -> Iterator[Callable[[int], object]]:
        """Show how something gets on, on a terminal; what is given is told how much more is done."""
        if pretty is None or self._json or not self._err.isatty():
            yield lambda more: None
            return
        with pretty.progress(self._err, title, total) as advance:
            yield advance

    @property
    def shows_progress(self) -> bool:
        """Whether :meth:`progress` shows anything, so that it is worth knowing the total."""
        return pretty is not None and not self._json and self._err.isatty()

    def _shown(self, info: SessionInfo, name: str) -> Any:
        value = getattr(info, name)
        return "never" if name == "expires_at" and value is None else value

    def _cells(self, info: SessionInfo) -> list[str]:
        return [plain(self._shown(info, name)) for name in self._columns]

    def _table(self, heads: list[str], rows: list[list[str]]) -> None:
        """Print rows, below their heads or the last rows."""
        if self._is_pretty:
            pretty.print_table(self._out, heads, rows)
            return
        for row in [heads, *rows] if heads else rows:
            self._row(row)

    def _row(self, cells: list[str]) -> None:
        widths = [*_WIDTHS[: len(_COLUMNS) - 1], 20 if len(cells) > len(_COLUMNS) else 0, 0]
        self._print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip())

    def _object(self, info: SessionInfo) -> str:
        return json.dumps({name: getattr(info, name) for name in self._fields}, default=_to_json)

    def _print(self, text: str) -> None:
        print(text, file=self._out)


def _to_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
