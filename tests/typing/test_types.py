"""The public types, as type checkers see them: each agrees with ``checks.py``, and refuses what ``refused.py`` says."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
CHECKERS = {
    "mypy": ["--strict", "--warn-unused-ignores", "--cache-dir", ".mypy_cache"],
    "pyright": ["--pythonpath", sys.executable],
    "ty": ["check", "--output-format", "concise", "--python", sys.executable],
    "pyrefly": ["check", "--output-format", "min-text", "--python-interpreter-path", sys.executable],
}
"""Each with its arguments; what it is set to stands in ``pyproject.toml``."""


@cache
def check(checker: str) -> tuple[int, str]:
    """Return the status of a type checker that reads both files at once, and what it says."""
    program = Path(sys.executable).with_name(checker)
    if not program.exists():
        pytest.skip(f"{checker} is not installed: pip install '.[lint]'")
    files = ((FOLDER / name).relative_to(ROOT) for name in ("checks.py", "refused.py"))
    command = [program, *CHECKERS[checker], *files]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("checker", CHECKERS)
def test_they_agree(checker: str) -> None:
    """Each infers for each use what is asserted of it, and accepts every ordinary one."""
    status, said = check(checker)
    assert status == 1, said  # of the other file it has something to say
    assert not re.search(r"checks\.py:\d+:", said), said


@pytest.mark.parametrize("checker", CHECKERS)
def test_what_they_refuse(checker: str) -> None:
    """Each refuses the lines that say so, and no other."""
    _, said = check(checker)
    lines = (FOLDER / "refused.py").read_text(encoding="utf-8").splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert expected
    assert {int(number) for number in re.findall(r"refused\.py:(\d+):", said)} == expected, said
