"""The demo's modules, as a whole."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import demo

FOLDER = Path(demo.__file__).parent


def imported(path: Path) -> set[str]:
    """Return the modules of the demo that one of them imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_imports_go_in_one_direction() -> None:
    """No module imports, by whatever detour, one that imports it."""
    graph = {path.stem: imported(path) for path in FOLDER.glob("*.py")}
    assert graph["pages"] > {"csrf", "recorder"}  # the search finds both ways of importing
    TopologicalSorter(graph).prepare()  # raises CycleError, which shows the circle
