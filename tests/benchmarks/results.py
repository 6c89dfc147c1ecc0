"""Figures: summed up, kept as JSON, printed."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sqlite3
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

DIRECTORY = Path("bench-results")

_LIBRARIES = (
    *("aiohttp", "aiosqlite", "msgspec", "redis", "asyncpg", "uvloop", "aiohttp-session", "cryptography"),
    *("starlette", "starsessions", "uvicorn", "httptools", "django", "gunicorn"),
)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median of repeated measurements, and the quartiles as their spread."""
    if len(values) < 2:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def best(values: Sequence[float]) -> float:
    """Return the least of repeated timings: whatever else the machine does can only make them longer."""
    return min(values)


def save(name: str, result: dict[str, Any]) -> None:
    """Store one part's results, with what they were measured on."""
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{name}.json").write_text(json.dumps({"measured_on": machine(), **result}, indent=1) + "\n")


def load(name: str) -> dict[str, Any] | None:
    """Return one part's stored results, or ``None`` where it was not measured."""
    try:
        found: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    return found


def machine() -> dict[str, Any]:
    """Return what decides the figures: the kind of machine and the versions, no names."""
    versions: dict[str, str] = {}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "libraries": versions,
    }


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table for the terminal, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(head), *cells]) for column in range(len(head))]
    for row in [list(head), ["-" * width for width in widths], *cells]:
        first, *rest = (
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
