"""The plots of the documentation's page, drawn from the stored results; readable on a light and on a dark ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .cases import CASES, OTHERS, VARIANTS, split

STATIC = Path("docs/_static")

LABELS = {
    "bare": "bare aiohttp",
    "empty": "empty middleware",
    "memory": "memory",
    "memory-lazy": "memory, lazy",
    "sqlite": "SQLite",
    "sqlite-lazy": "SQLite, lazy",
    "redis": "Redis",
    "postgres": "PostgreSQL",
    "aiohttp-session-redis": "aiohttp-session, Redis",
    "aiohttp-session-encrypted": "aiohttp-session, encrypted cookie",
}
TITLES = {"untouched": "untouched", "read": "one get", "write": "one set", "ten": "ten operations"}

_INK = "#808080"
_OURS, _THEIRS, _BASE = "#3f8ae0", "#d07a2d", "#8c8c8c"
_STORES = {"memory": "#3f8ae0", "sqlite": "#2e9e77", "redis": "#d0564a", "postgres": "#a36bd0"}

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spry",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    **{f"{part}.color": _INK for part in ("text", "xtick", "ytick", "grid")},
    **{f"axes.{part}color": _INK for part in ("edge", "label", "title")},
}


def draw(results: dict[str, dict[str, Any]]) -> None:
    """Draw a plot of each part that was measured."""
    STATIC.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        if "whole" in results:
            for loop, measured in results["whole"]["loops"].items():
                _draw_whole(loop, measured)
        if "scale" in results:
            _draw_scale(results["scale"]["stores"])
        if "contention" in results:
            _draw_contention(results["contention"]["stores"])


def _draw_whole(loop: str, measured: dict[str, Any]) -> None:
    variants = [variant for variant in VARIANTS[1:] if any(split(name)[0] == variant for name in measured)]
    figure = Figure(figsize=(9, 0.32 * len(variants) + 1.0), layout="constrained")
    panels = figure.subplots(1, len(CASES), sharey=True)
    for case, axes in zip(CASES, panels, strict=True):
        rows = [(row, v, measured[f"{v}-{case}"]) for row, v in enumerate(variants) if f"{v}-{case}" in measured]
        for row, variant, figures in rows:
            ratio = figures["throughput"]
            axes.barh(row, ratio["median"], color=_colour(variant), height=0.7)
            axes.plot([ratio["low"], ratio["high"]], [row, row], color=_INK, linewidth=1)
            axes.text(
                max(ratio["median"], ratio["high"]) + 0.03, row, f"{ratio['median']:.2f}", va="center", fontsize=8
            )
        axes.axvline(1, color=_INK, linewidth=1, linestyle=":")
        axes.set_xlim(0, 1.25)
        axes.set_title(TITLES[case], fontsize=9)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(variants)), [LABELS[variant] for variant in variants])
    panels[0].invert_yaxis()
    figure.supxlabel(f"throughput, as a ratio to bare aiohttp's ({loop})", fontsize=9, color=_INK)
    _save(figure, f"bench-whole-{loop}")


def _draw_scale(stores: dict[str, Any]) -> None:
    figure = Figure(figsize=(8, 3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for operation, axes in zip(("read", "write"), panels, strict=True):
        for name, sizes in stores.items():
            costs = [found["operations"][operation] for found in sizes.values()]
            _line(axes, name, [int(size) for size in sizes], costs)
        _scale(axes, "stored sessions", operation)
    panels[0].set_ylabel("µs a request")
    panels[1].legend(loc="best", labelcolor=_INK)
    _save(figure, "bench-scale")


def _draw_contention(stores: dict[str, Any]) -> None:
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for name, found in stores.items():
        micros = [figures["micros"] for figures in found.values()]
        axes.plot(
            [int(writers) for writers in found], micros, "o-", color=_STORES[name], label=LABELS[name], markersize=4
        )
    _scale(axes, "parallel writers of one session", "")
    ticks = list(next(iter(stores.values())))
    axes.set_xticks([int(writers) for writers in ticks], ticks)
    axes.minorticks_off()
    axes.set_ylabel("µs a commit")
    figure.legend(loc="outside right upper", labelcolor=_INK)
    _save(figure, "bench-contention")


def _line(axes: Axes, name: str, across: list[int], up: list[float]) -> None:
    axes.plot(across, up, "o-", color=_STORES[name], label=LABELS[name], markersize=4)


def _scale(axes: Axes, label: str, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_title(title, fontsize=9)


def _colour(variant: str) -> str:
    if variant == "empty":
        return _BASE
    return _THEIRS if variant in OTHERS else _OURS


def _save(figure: Figure, name: str) -> None:
    figure.savefig(STATIC / f"{name}.svg", transparent=True, metadata={"Date": None, "Creator": None})
