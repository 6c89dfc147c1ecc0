"""What the documentation says about names, options, files and commands, compared with the project."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from urllib.parse import unquote

import pytest

import aiohttp_spry_session
from aiohttp_spry_session import SessionManager
from aiohttp_spry_session.cli.arguments import COMMANDS
from aiohttp_spry_session.exceptions import SessionError

from .blocks import ROOT, pages

DOCS = ROOT / "docs"
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))


@pytest.mark.parametrize(
    "module",
    [
        "aiohttp_spry_session",
        "aiohttp_spry_session.arrivals",
        "aiohttp_spry_session.dbsc",
        "aiohttp_spry_session.testing",
        "aiohttp_spry_session.testing.dbsc",
        "aiohttp_spry_session.adapters.redis",
        "aiohttp_spry_session.adapters.postgres",
        "aiohttp_spry_session.adapters.migrating",
        "aiohttp_spry_session.adapters.sealed",
        "aiohttp_spry_session.integrations.aiohttp_security",
    ],
)
def test_every_public_name(module: str) -> None:
    """The reference has every public name, from its docstring."""
    documented = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", REFERENCE, re.MULTILINE))
    missing = {f"{module}.{name}" for name in importlib.import_module(module).__all__} - documented
    assert not missing


def test_documented_names_exist() -> None:
    """The reference has no name that is gone."""
    for path in re.findall(r"^\.\. auto\w+:: ([\w.]+)", REFERENCE, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_options() -> None:
    """The table of options has every option, in order, with its default."""
    text = (DOCS / "reference" / "manager.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", text, re.MULTILINE)
    instead = {"adapter": "MemorySessionAdapter()", "codec": "JSONCodec()", "clock": "time.time"}
    expected = []
    for name, parameter in inspect.signature(SessionManager).parameters.items():
        default = parameter.default
        shown = default.__name__ if inspect.isfunction(default) else repr(default).replace("'", '"')
        expected.append((name, instead.get(name, shown)))
    assert rows == expected


def test_operations() -> None:
    """The reference shows every operation and property of a session."""
    text = (DOCS / "reference" / "session.md").read_text(encoding="utf-8")
    public = {
        name
        for name, member in vars(aiohttp_spry_session.Session).items()
        if not name.startswith("_") and inspect.isfunction(member)
    }
    assert set(re.findall(r"\[`(\w+)`\]\(#", text)) == public


def test_exception_tree() -> None:
    """The tree of exceptions has each of them."""
    text = (DOCS / "reference" / "exceptions.md").read_text(encoding="utf-8")
    tree = set(re.findall(r"^(?:[├└]── )?(\w+Error)\b", text, re.MULTILINE))
    assert tree == {
        "SessionError",
        *(kind.__name__ for kind in SessionError.__subclasses__() if "." in kind.__module__),
    }


def test_log_records() -> None:
    """The table of log records has each one that the package writes."""
    text = (DOCS / "reference" / "signals.md").read_text(encoding="utf-8")
    found = 0
    for module in sorted((ROOT / "aiohttp_spry_session").rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.match(r"logger\.(?!(add|remove)Handler)", ast.unparse(node.func)):
                message = ast.literal_eval(node.args[0])
                longest = max(re.split(r"%[sr]|\(%s\)", message), key=len).strip(" :,()")
                assert longest in text, f"{module.name}: {message}"
                found += 1
    assert found > 5


def test_relative_links() -> None:
    """Every relative link of the README and the changelog leads to a file."""
    for name in ("README.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        targets = re.findall(r"\]\((?!\w+:)([^)#]+)", text) + re.findall(r'(?:src|srcset)="(?!\w+:)([^"#]+)"', text)
        for target in targets:
            assert (ROOT / unquote(target)).exists(), f"{name}: {target}"


def test_make_targets() -> None:
    """Every make target that a page names exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages():
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, page


def test_extras() -> None:
    """The page on installing has every extra that is for users."""
    text = (DOCS / "how-to" / "install.md").read_text(encoding="utf-8")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = {"demo", "test", "e2e", "lint", "docs", "package", "mutants", "bench"}
    assert (
        set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
        == settings["project"]["optional-dependencies"].keys() - ours
    )


def test_versions() -> None:
    """What the README and the page on installing need is what the project says that it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = re.findall(r":: Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    (aiohttp,) = re.findall(r"^aiohttp>=([\d.]+)", "\n".join(project["dependencies"]), re.MULTILINE)
    for page in (ROOT / "README.md", DOCS / "how-to" / "install.md"):
        text = page.read_text(encoding="utf-8")
        assert f"Python {tested[0]} to {tested[-1]}" in text
        assert f"aiohttp {aiohttp} or newer" in text


def test_commands() -> None:
    """The table of the command line has every command."""
    text = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8").partition("| option |")[0]
    assert set(re.findall(r"^\| `(\w+)", text, re.MULTILINE)) == set(COMMANDS)


def test_security_names_its_tests() -> None:
    """Where a requirement is tested, as the page on security says, there are tests."""
    text = (DOCS / "explanation" / "security.md").read_text(encoding="utf-8").partition("| what | tests |")[2]
    named = re.findall(r"`(\w+/(?:test_\w+\.py)?)`", text)
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_every_page_is_reached() -> None:
    """No page is left out of the tables of contents. (The build would warn; this says it without a build.)"""
    listed = {"index"}
    for page in DOCS.rglob("*.md"):
        for entries in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            folder = page.parent.relative_to(DOCS)
            listed |= {str(folder / line) for line in entries.splitlines() if line and not line.startswith(":")}
    found = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md") if "_build" not in page.parts}
    assert found == listed


def test_every_folder_of_tests_has_its_place() -> None:
    """The tests' own page says of each folder what belongs there, and of each marker what it means."""
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    markers = {marker.partition(":")[0] for marker in settings["tool"]["pytest"]["ini_options"]["markers"]}
    assert rows == folders | markers
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target
    for name in re.findall(r"`(\w+\.py)`", text):
        assert list((ROOT / "tests").rglob(name)), name
