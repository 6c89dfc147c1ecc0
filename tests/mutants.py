"""Mutation testing: each part of the package against the tests that are about it.

``python -m tests.mutants`` changes everything, ``python -m tests.mutants 'aiohttp_spry_session.codec*'`` what mutmut
knows under such names. What is unchanged since the last run is not tried again, unless it is named. A survivor is
looked at in its part's folder: ``cd mutants/values && mutmut show NAME``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

PACKAGE = "aiohttp_spry_session"
NEEDED = (PACKAGE, "tests", "demo", "docs", "README.md")
KILLED = {1, 3, 24, -24, 36, 152, 255}
"""Exit statuses of a test run that failed, or took so long that it was ended."""
ENOUGH = 0.95


@dataclass(frozen=True)
class Part:
    """Modules, without the package's name, and the tests that are to notice what is changed in them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    servers: bool = False

    def files(self) -> list[str]:
        """Return the patterns of the files."""
        return [f"{PACKAGE}/{module.replace('.', '/')}.py" for module in self.modules]

    def holds(self, pattern: str) -> bool:
        """Whether a pattern of mutants' names is about one of the modules."""
        names = [".".join(path.with_suffix("").parts) for file in self.files() for path in Path().glob(file)]
        return any(fnmatchcase(f"{name}.", pattern) or pattern.startswith(f"{name}.") for name in names)


PARTS = {
    "values": Part(
        (
            "__init__",
            "exceptions",
            "facts",
            "codec",
            "keys",
            "events",
            "options",
            "policy",
            "urls",
            "identifiers",
            "cookies",
        ),
        ("tests/unit", "tests/web/test_signals.py"),
    ),
    "core": Part(
        (
            "adapter",
            "answers",
            "carriers",
            "cohort",
            "editing",
            "manager",
            "managers",
            "middleware",
            "overview",
            "record",
            "request.*",
            "request_key",
            "session",
            "store.*",
            "watch.*",
        ),
        ("tests/unit", "tests/web", "tests/adapters/test_memory_contract.py", "tests/testing/test_minimal_adapter.py"),
    ),
    "cli": Part(("__main__", "cli.*"), ("tests/cli",), servers=True),
    "binding": Part(("dbsc.*", "testing.dbsc.*"), ("tests/dbsc",)),
    "integrations": Part(("integrations.*",), ("tests/integrations",)),
    "around": Part(
        ("adapters.wrapping", "adapters.observed", "adapters.migrating.*", "adapters.sealed.*"),
        ("tests/around",),
        servers=True,
    ),
    "embedded": Part(
        ("adapters.__init__", "adapters.memory", "adapters.sqlite.*", "adapters.batching", "adapters.hints"),
        ("tests/adapters", "tests/sqlite"),
    ),
    "redis": Part(("adapters.redis.*",), ("tests/redis",), servers=True),
    "postgres": Part(("adapters.postgres.*", "adapters.postgres_schema"), ("tests/postgres",), servers=True),
    "arrivals": Part(("arrivals.*",), ("tests/arrivals",), servers=True),
    "contract": Part(
        ("testing.contract.*",),
        (
            "tests/adapters/test_memory_contract.py",
            "tests/testing/test_contract_notices.py",
            "tests/testing/test_faulty.py",
            "tests/testing/test_minimal_adapter.py",
        ),
    ),
    "explorer": Part(
        ("testing.explorer.*",),
        ("tests/testing/explorer", "tests/proof/test_explorer.py"),
    ),
    "kit": Part(
        ("testing.__init__", "testing.clock", "testing.faulty", "testing.plugin", "testing.sessions"),
        tuple(f"tests/testing/test_{part}.py" for part in ("clock", "exports", "faulty", "sessions")),
    ),
}


def prepare(part: Part, folder: Path) -> None:
    """Make a copy of the project of which mutmut changes only these modules."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NEEDED:
        if Path(name).is_dir():
            shutil.copytree(name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(name, folder / name)
    options = {"only_mutate": part.files(), "pytest_add_cli_args_test_selection": list(part.tests)}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
    settings = Path("pyproject.toml").read_text().replace("[tool.mutmut]\n", f"[tool.mutmut]\n{lines}")
    (folder / "pyproject.toml").write_text(settings)


def run(name: str, patterns: list[str]) -> dict[str, dict[str, int | None]]:
    """Try the mutants of a part; return the exit status of the tests for each, by module."""
    part, folder = PARTS[name], Path("mutants", name)
    prepare(part, folder)
    command = [str(Path(sys.executable).with_name("mutmut").absolute()), "run"]
    command += ["--max-children", str(os.cpu_count() or 1), *patterns]
    if part.servers:
        command = [sys.executable, "-m", "tests.servers", *command]
    with (folder / "log.txt").open("w") as log:
        failed = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if failed:
        raise SystemExit(f"mutmut failed, see {folder / 'log.txt'}")
    tried: dict[str, dict[str, int | None]] = {}
    for meta in sorted(folder.glob(f"mutants/{PACKAGE}/**/*.meta")):
        statuses = json.loads(meta.read_text())["exit_code_by_key"]
        chosen = {key: status for key, status in statuses.items() if is_chosen(key, patterns)}
        if chosen:
            tried[str(meta.relative_to(folder / "mutants").with_suffix(""))] = chosen
    return tried


def is_chosen(key: str, patterns: list[str]) -> bool:
    """Whether a mutant was asked for."""
    return not patterns or any(fnmatchcase(key, pattern) for pattern in patterns)


def forgotten() -> list[str]:
    """Return the modules that belong to no part."""
    assigned = {path for part in PARTS.values() for file in part.files() for path in Path().glob(file)}
    return sorted(map(str, set(Path(PACKAGE).rglob("*.py")) - assigned))


def main(patterns: list[str]) -> int:
    """Print what was killed and what survived; fail where too much did."""
    if modules := forgotten():
        raise SystemExit(f"these modules belong to no part: {modules}")
    killed = total = 0
    for name, part in PARTS.items():
        wanted = [pattern for pattern in patterns if part.holds(pattern)]
        if patterns and not wanted:
            continue
        for module, statuses in run(name, wanted).items():
            survivors = [key for key, status in statuses.items() if status not in KILLED]
            killed, total = killed + len(statuses) - len(survivors), total + len(statuses)
            print(f"{module}: {len(statuses) - len(survivors)} of {len(statuses)} killed", *survivors, sep="\n    ")
            sys.stdout.flush()
    if not total:
        print(f"no mutant has such a name: {patterns}")
        return 2
    print(f"{killed} of {total} killed, {killed / total:.1%}")
    return 0 if killed >= ENOUGH * total else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
