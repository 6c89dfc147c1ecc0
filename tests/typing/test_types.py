"""The public types, as a type checker sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("checks.py")
ROOT = CHECKS.parents[2]


def test_mypy_agrees(tmp_path: Path) -> None:
    """mypy, in strict mode, infers for each use what tests/typing/checks.py asserts, and no ignore is left over."""
    pytest.importorskip("mypy")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--warn-unused-ignores",
            "--cache-dir",
            ROOT / ".mypy_cache",
            CHECKS,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.startswith("Success"), run.stdout + run.stderr
