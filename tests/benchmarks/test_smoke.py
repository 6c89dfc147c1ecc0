"""The benchmarks run, and their figures make a page; what the figures are does not matter here."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import __main__, cohort, contention, load, micro, results, scale, steps, whole
from .peers import measure as peers
from .peers import table


@pytest.fixture(autouse=True)
def results_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the results of real measurements."""
    monkeypatch.setattr(results, "DIRECTORY", tmp_path / "results")
    return tmp_path / "results"


def test_whole_servers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers answer the load, and are compared with bare aiohttp."""
    monkeypatch.setattr(load.shutil, "which", lambda program: None)
    found = whole.run(["bare", "memory-read", "sqlite-write"], loops=["asyncio"], rounds=1, seconds=0.1)
    measured = found["loops"]["asyncio"]
    assert list(measured) == ["bare", "memory-read", "sqlite-write"]
    assert all(figures["rate"]["median"] > 0 for figures in measured.values())
    assert results.load("whole") is not None


def test_turn_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without, beside bare aiohttp; once also with a handler that waits for a database of its own."""
    monkeypatch.setattr(load.shutil, "which", lambda program: None)
    found = cohort.run(rounds=1, seconds=0.1, places={"asyncio": [("memory", 4), ("memory", load.CONNECTIONS)]})
    assert [(place["store"], place["connections"], place["case"]) for place in found["places"]] == [
        ("memory", 4, "read"),
        ("memory", 4, "write"),
        ("memory", load.CONNECTIONS, "read"),
        ("memory", load.CONNECTIONS, "write"),
        ("memory", load.CONNECTIONS, "own"),
    ]
    assert results.load("cohort") is not None


def test_peers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each beside the bare server of its own framework."""
    for module in ("starlette", "starsessions", "uvicorn", "httptools"):
        pytest.importorskip(module, reason="peers need the extra 'bench'")
    monkeypatch.setattr(load.shutil, "which", lambda program: None)
    found = peers.run(rounds=1, seconds=0.1, frameworks=["Starlette"])
    assert list(found["bare"]) == ["Starlette"]
    assert [(peer["library"], peer["store"]) for peer in found["peers"]] == [("starsessions", "memory")]
    assert results.load("peers") is not None


def test_peers_that_cannot_run_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without node measures the others."""
    monkeypatch.setattr(table.shutil, "which", lambda program: None)
    assert peers.run(rounds=1, seconds=0.1, frameworks=["Express"])["peers"] == []
    assert "left out: express-session on memory, since this machine lacks node and npm" in capsys.readouterr().out


def test_other_parts_make_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps, operations, scale and contention are measured, and a page and plots are drawn of them."""
    assert set(steps.run(rounds=1, passes=1)["micros"]) == set(steps.STEPS)
    micro.run(rounds=1, memory_runs=5, sqlite_runs=2)
    scale.run(sizes=(10,), stores=("memory", "sqlite"))
    contention.run(rounds=1, commits=64, stores=("memory", "sqlite"))
    pytest.importorskip("matplotlib", reason="the plots need the extra 'bench'")
    from . import page, plots

    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(plots, "STATIC", tmp_path)
    page.report()
    assert {file.name for file in tmp_path.glob("*.svg")} == {"bench-scale.svg", "bench-contention.svg"}
    assert {"## Where the time goes", "## A million sessions"} <= set(page.PAGE.read_text().splitlines())


def test_unknown_measurements_are_named() -> None:
    """A name that matches no measurement ends the program."""
    with pytest.raises(SystemExit, match="nonsense"):
        __main__.main(["whole", "--only", "bare,nonsense"])
