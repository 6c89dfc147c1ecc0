"""Tries what is published, as `docs/how-to/install.md` tells users to get it, and the tests of the unpacked sdist.

In a fresh environment: the wheel, and the folder that has its source, each with the README's program and the command.

``python -m tests.packaged dist`` after ``python -m build``; ``make package`` does both.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["program_in"]

TESTS = (
    "tests/unit/request",
    "tests/unit/test_architecture.py",
    "tests/sqlite/test_contract.py",
    "tests/web/test_setup.py",
    "tests/docs/test_examples.py",
    "tests/test_packaging.py",
)
"""A reduced check of the sdist, once all its tests can be imported: plans, a store, the request cycle, the examples."""

_SECONDS = 30.0


def program_in(readme: str) -> str:
    """Return the README's first program."""
    found = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    if found is None:
        raise ValueError("the README has no program")
    return found[1]


def main(folder: str) -> None:
    """Try the one wheel and the one sdist in a folder; ``CalledProcessError`` or ``AssertionError`` where one fails."""
    dist = Path(folder).resolve()
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as temporary:
        here = Path(temporary)
        with tarfile.open(sdist) as archive:
            archive.extractall(here, filter="data")
        unpacked = here / sdist.name.removesuffix(".tar.gz")
        program = program_in((unpacked / "README.md").read_text(encoding="utf-8"))
        environment = here / "environment"
        venv.create(environment, with_pip=True)
        for kind, source in (("wheel", wheel), ("folder", unpacked)):
            (here / kind).mkdir()
            _try_installed(environment, source, program, here / kind)
        pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long")
        _run(*pytest, "-q", "--assert=plain", "--collect-only", "tests", cwd=unpacked)
        _run(*pytest, *TESTS, cwd=unpacked)


def _try_installed(environment: Path, source: Path, program: str, here: Path) -> None:
    python, command = str(environment / "bin/python"), str(environment / "bin/spry-session")
    # Of the second source the version is the same, so that pip would leave the first one in place.
    _run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "aiohttp-spry-session", cwd=here)
    _run(python, "-m", "pip", "install", "--quiet", str(source), cwd=here)
    (here / "program.py").write_text(program.replace("port=8080", "port=0"), encoding="utf-8")
    server = subprocess.Popen([python, "-u", "program.py"], cwd=here, stdout=subprocess.PIPE, text=True)
    try:
        address = _address_of(server)
        assert _get(address) == "visit 1\n"
        listed = _run(command, "sqlite:///sessions.db", "count", cwd=here)
        assert listed.strip().split()[0] == "1", listed
    finally:
        server.terminate()
        server.wait(_SECONDS)


def _address_of(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        if found is not None:
            return found[0]
    raise AssertionError("the README's program did not say where it listens")


def _get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=_SECONDS) as response:
        return response.read().decode()


def _run(*command: str, cwd: Path) -> str:
    done: Sequence[str] = command
    print("$", *done, flush=True)
    output = subprocess.run(done, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(output, flush=True)
    return output


if __name__ == "__main__":
    main(sys.argv[1])
