"""The shape of the package: where each promise is kept, what the machine may know, and which way imports run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiohttp_spry_session

ROOT = Path(aiohttp_spry_session.__file__).parent
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}
"""The text of each module, by its path in the package."""

PLACES = [
    (1, "middleware.py", "_Cycle.on_response_prepare"),
    (7, "middleware.py", "_Cycle.on_response_prepare"),
    (2, "request/landing.py", "Landing.land"),
    (3, "request/state.py", "SessionState.refreshed"),
    (3, "request/state.py", "SessionState.lost"),
    (3, "store/trails.py", "Trails.end"),
    (4, "request/arrival.py", "judge"),
    (5, "request/state.py", "SessionState.landed"),
    (5, "request/state.py", "SessionState.looked_again"),
    (4, "request/lifecycle.py", "Lifecycle._bind"),
    (5, "request/cookie.py", None),
    (5, "request/plan.py", "next_step"),
    (6, "request/plan.py", "next_step"),
    (6, "middleware.py", "_Cycle.middleware"),
    (8, "middleware.py", "_Cycle._settle"),
    (8, "request/state.py", "SessionState.discard"),
    (9, "store/guard.py", None),
    (9, "request/look_up.py", None),
    (10, "identifiers.py", None),
    (10, "cookies.py", None),
    (10, "codec.py", None),
    (11, "testing/contract/__init__.py", None),
]
"""Where a reader finds each promise: the module, and what of it, unless it is the whole."""

LAYERS = [
    ["exceptions", "options", "cohort"],
    ["facts"],
    ["events", "identifiers", "cookies", "codec", "keys"],
    ["record"],
    ["adapter", "policy", "adapters.hints", "adapters.memory"],
    ["request.view", "request.status", "request.companion"],
    ["request.steps", "request.arrival"],
    ["request.cookie"],
    ["request.state"],
    ["request.plan"],
    ["store.timeouts", "store.turns", "store.trails", "store.outage", "store.sharing", "store.guard"],
    ["watch.table", "watch.watcher", "watch.alive"],
    ["request.landing"],
    ["request.look_up", "request.limit"],
    ["request.lifecycle"],
    ["request.driver"],
    ["session"],
    ["overview"],
    ["editing"],
    ["manager", "request_key"],
    ["managers", "answers", "carriers"],
    ["middleware"],
]
"""The core from the bottom up: a module imports from lower lines, or from its own."""

MACHINE = [f"request/{name}.py" for name in ("arrival", "cookie", "plan", "state", "status", "steps", "view")]
"""What decides, and does no I/O."""


def definitions(module: str) -> Iterator[tuple[str, ast.AST]]:
    """The functions and classes of a module, by their qualified names."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + child.name, child
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    return walk(ast.parse(SOURCES[module]), "")


def imported(module: str) -> set[str]:
    """What a module imports, anywhere in it: those of the package by their dotted paths, others as ``:name``.

    What is imported for the type checker alone does not count.
    """
    package = module.removesuffix(".py").split("/")[:-1]
    found: set[str] = set()
    tree = ast.parse(SOURCES[module])
    unseen = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            found |= {f":{alias.name.partition('.')[0]}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(f":{(node.module or '').partition('.')[0]}")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            if node.module:
                found.add(".".join([*base, node.module]))
            else:
                found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def rank(module: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if module in layer)


@pytest.mark.parametrize("promise", range(1, 12))
def test_every_promise_has_its_tag(promise: int) -> None:
    """Whoever looks for the place that keeps a promise finds it by its number."""
    assert any(f"(promise {promise})" in source for source in SOURCES.values())


def test_no_tag_without_a_promise() -> None:
    """There are eleven."""
    tags = {int(tag) for source in SOURCES.values() for tag in re.findall(r"\bpromise (\d+)", source)}
    assert tags == set(range(1, 12))


@pytest.mark.parametrize(
    ("promise", "module", "name"), PLACES, ids=[f"{promise}-{name or module}" for promise, module, name in PLACES]
)
def test_place_that_keeps_a_promise_says_so(promise: int, module: str, name: str | None) -> None:
    """The tag is there, and not somewhere near."""
    source = SOURCES[module]
    if name is not None:
        node = dict(definitions(module))[name]
        source = ast.get_source_segment(source, node) or ""
    assert re.search(rf"\(promise {promise}\)", source)


@pytest.mark.parametrize("module", MACHINE)
def test_machine_does_no_io(module: str) -> None:
    """It awaits nothing, reads no clock, and knows neither store nor HTTP: its rules need no event loop."""
    waiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    assert not [node for node in ast.walk(ast.parse(SOURCES[module])) if isinstance(node, waiting)]
    names = imported(module)
    assert not names & {":asyncio", ":time", ":aiohttp", ":aiosignal", ":secrets", ":random"}
    assert not [name for name in names if name.startswith(("store", "adapter", "middleware", "manager", "session"))]


@pytest.mark.parametrize("module", [module for layer in LAYERS for module in layer])
def test_imports_of_the_core_run_one_way(module: str) -> None:
    """What is lower knows nothing of what is higher; no lower module is imported from a package's ``__init__``."""
    path = f"{module.replace('.', '/')}.py"
    own = [name for name in imported(path) if not name.startswith(":")]
    assert [name for name in own if not any(name in layer for layer in LAYERS)] == []
    assert [name for name in own if rank(name) > rank(module)] == []


@pytest.mark.parametrize("module", [path for path in SOURCES if not path.startswith("cli/") and path != "__main__.py"])
def test_nothing_imports_the_command_line(module: str) -> None:
    """A site that runs does not pay for its operators' program."""
    assert not [name for name in imported(module) if name.split(".")[0] == "cli"]
    assert not imported(module) & {":rich"}


def test_imports_of_the_core_make_no_circle() -> None:
    """Within a line of the list as well."""
    ways = {
        module: {name for name in imported(f"{module.replace('.', '/')}.py") if not name.startswith(":")}
        for layer in LAYERS
        for module in layer
    }
    while ways:
        lowest = [module for module, names in ways.items() if not names & set(ways)]
        assert lowest, f"a circle among {sorted(ways)}"
        for module in lowest:
            del ways[module]


def test_whole_core_is_in_the_list() -> None:
    """A new module of the core gets its place."""
    outside = ("adapters/", "integrations/", "testing/", "dbsc/", "arrivals/", "cli/")
    known = {f"{module.replace('.', '/')}.py" for layer in LAYERS for module in layer}
    optional = {
        "__init__.py",
        "__main__.py",
        "urls.py",
        "request/__init__.py",
        "store/__init__.py",
        "watch/__init__.py",
    }
    assert {path for path in SOURCES if not path.startswith(outside)} - optional == known - {
        "adapters/hints.py",
        "adapters/memory.py",
    }


@pytest.mark.parametrize("module", [path for path in SOURCES if path.startswith("adapters/")])
def test_adapters_know_no_requests(module: str) -> None:
    """No policy, no cookies, no codec: they import the contract, and what an adapter is made of."""
    own = [name for name in imported(module) if not name.startswith((":", "adapters"))]
    allowed = {"adapter", "record", "exceptions", "events", "options", "codec"}
    allowed |= {"store.sharing"}  # what is wrapped may have other users
    assert set(own) <= allowed, set(own) - allowed


def test_nothing_imports_what_is_optional() -> None:
    """Neither the core nor an adapter of a store knows of adapters around adapters, or of what joins other packages."""
    optional = (
        "adapters.wrapping",
        "adapters.observed",
        "adapters.sealed",
        "adapters.migrating",
        "integrations",
        "dbsc",
        "arrivals",
    )
    own = (*(name.replace(".", "/") for name in optional), "testing/dbsc", "testing/plugin")  # a fixture, when used
    knowing = {
        path for path in SOURCES if not path.startswith(own) and any(n.startswith(optional) for n in imported(path))
    }
    # The command line opens sealed stores, and copies what is on its way as the session that it is.
    assert knowing == {"__init__.py", "cli/commands.py", "cli/copying.py"}
    assert {name for name in imported("__init__.py") if name.startswith(optional)} == {"adapters.observed"}


def test_only_the_request_cycle_knows_aiohttp_web() -> None:
    """``middleware`` alone, with what it answers, reads and writes, and the key that requests are asked with."""
    outside = ("testing/", "integrations/")
    knowing = {path for path in SOURCES if ":aiohttp" in imported(path) and not path.startswith(outside)}
    binding = {"dbsc/devices.py", "dbsc/endpoints.py", "dbsc/visit.py"}
    arriving = {"arrivals/setting_up.py", "arrivals/visitors.py"}
    assert knowing == {
        "answers.py",
        "carriers.py",
        "managers.py",
        "middleware.py",
        "request_key.py",
        *binding,
        *arriving,
    }


def test_what_is_long_says_its_rule() -> None:
    """Every function of more than twenty lines has a docstring."""
    silent = [
        f"{module}:{node.lineno} {name}"
        for module in SOURCES
        for name, node in definitions(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 20
        and ast.get_docstring(node) is None
        and not name.endswith(".__init__")  # told of by its class
    ]
    assert silent == []


def test_every_module_says_what_it_is() -> None:
    """One concept a file, named in its first line."""
    assert [module for module, source in SOURCES.items() if ast.get_docstring(ast.parse(source)) is None] == []
