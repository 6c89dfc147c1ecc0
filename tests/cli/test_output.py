"""What is printed: tables on a terminal, plain text elsewhere, JSON for programs; nothing that controls a screen."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from aiohttp_spry_session import SessionInfo
from aiohttp_spry_session.cli import output as output_module
from aiohttp_spry_session.cli.arguments import COMMANDS
from aiohttp_spry_session.cli.output import Output, plain

from .conftest import ROOT, Run, a_session, make_url, put, run_program

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)
EVIL = "[red]\x1b[2J\r\n\u202e\ud800ann"


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True


def info(number: int = 0, owner: str | None = "ann", **values: object) -> SessionInfo:
    """A session."""
    known = {"handle": f"{number:064}", "owner": owner, "created_at": NOW, "values": values}
    return SessionInfo(**{field.name: known.get(field.name) for field in fields(SessionInfo)})


async def several(*infos: SessionInfo) -> AsyncIterator[SessionInfo]:
    """Sessions as they come from a store."""
    for one in infos:
        yield one


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ann", "ann"),
        ("Zoë 🍪", "Zoë 🍪"),
        (EVIL, "[red]\\x1b[2J\\r\\n\\u202e\\ud800ann"),
        (None, "-"),
        (NOW, "2027-01-15 08:00:00"),
        ({"a": ["\x1b"]}, '{"a": ["\\u001b"]}'),
        (True, "true"),
    ],
)
def test_plain(value: object, shown: str) -> None:
    """Whatever an owner or a value holds, it is text in one line."""
    assert plain(value) == shown


@pytest.mark.parametrize("many", [1, 200, 400, 450])
@pytest.mark.parametrize("values", [False, True])
async def test_tables_on_a_terminal(values: bool, many: int) -> None:
    """Heads once, each session in a row with its whole handle, in parts; markup is text."""
    out = Terminal()
    printed = Output(out, io.StringIO(), as_json=False, values=values)
    await printed.sessions(several(*(info(number, "[r]\x1b", n=7) for number in range(many))))
    text = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert text.count("handle") == 1
    assert [handle for handle in (f"{number:064}" for number in range(many)) if handle not in text] == []
    assert text.count("[r]\\x1b") == many
    assert text.count('{"n": 7}') == (many if values else 0)
    assert len(text.splitlines()) == many + 1


async def test_an_empty_table() -> None:
    """Its heads alone, plain or not."""
    for stream in (Terminal(), io.StringIO()):
        await Output(stream, io.StringIO(), as_json=False, values=False).sessions(several())
        assert "handle" in stream.getvalue()
        assert len(stream.getvalue().splitlines()) == 1


def test_one_session_on_a_terminal() -> None:
    """What is known of it, line by line."""
    out = Terminal()
    Output(out, io.StringIO(), as_json=False, values=True).session(info(owner=EVIL, cart=["shoe"]))
    text = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert "[red]\\x1b[2J" in text
    assert re.search(r"expires +never", text)
    assert re.search(r'values +{"cart": \["shoe"\]}', text)


async def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in plain text; a person at a terminal is told what to install, a program is not."""
    monkeypatch.setattr(output_module, "pretty", None)
    told = 'spry-session: plain text: tables and progress need rich (pip install "aiohttp-spry-session[cli]")\n'
    for stream, as_json, expected in (
        (Terminal(), False, told),
        (Terminal(), True, ""),
        (io.StringIO(), False, ""),
    ):
        err = Terminal()
        printed = Output(stream, err, as_json=as_json, values=False)
        assert err.getvalue() == expected
        assert not printed.shows_progress
        with printed.progress("copying", 3) as advance:
            advance(1)
        assert err.getvalue() == expected
        await printed.sessions(several(info()))
        assert "\x1b" not in stream.getvalue()


def test_rich_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module can be imported all the same."""
    monkeypatch.setitem(sys.modules, "aiohttp_spry_session.cli.rich_output", None)
    monkeypatch.delattr("aiohttp_spry_session.cli.rich_output")
    monkeypatch.delitem(sys.modules, output_module.__name__)
    assert import_module(output_module.__name__).pretty is None


@pytest.mark.parametrize("total", [None, 3])
def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, total: int | None) -> None:
    """A bar on standard error, and nothing in the result."""
    monkeypatch.setenv("TERM", "xterm")
    out, err = io.StringIO(), Terminal()
    printed = Output(out, err, as_json=False, values=False)
    assert printed.shows_progress
    with printed.progress("copying", total) as advance:
        advance(2)
        advance(1)
    assert "copying" in err.getvalue()
    assert out.getvalue() == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_no_progress_elsewhere(as_json: bool) -> None:
    """Neither for programs nor in a file."""
    err = Terminal() if as_json else io.StringIO()
    printed = Output(io.StringIO(), err, as_json=as_json, values=False)
    with printed.progress("copying", 3) as advance:
        advance(1)
    assert (err.getvalue(), printed.shows_progress) == ("", False)


@pytest.mark.parametrize("command", [["revoke", "--all"], ["copy"]])
def test_progress_of_a_command(
    run: Run, sqlite_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Where it is shown, the total is known."""
    put(sqlite_url, *(a_session() for _ in range(3)))
    monkeypatch.setattr(Output, "shows_progress", True)
    totals: list[int | None] = []
    progress = Output.progress

    def recorded(self: Output, title: str, total: int | None) -> object:
        totals.append(total)
        return progress(self, title, total)

    monkeypatch.setattr(Output, "progress", recorded)
    assert run(sqlite_url, *command, *([make_url("sqlite", request)] if command == ["copy"] else [])).code == 0
    assert totals == [3]


def test_help(run: Run) -> None:
    """It names every command, the variables and the exit codes."""
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for word in (*COMMANDS, "SPRY_SESSION_STORE", "SPRY_SESSION_KEYS", "Exit codes: 0 done"):
        assert word in out
    assert "usage: spry-session [URL] list" in run("sqlite:///s.db", "list", "--help").out


def test_schema(run: Run) -> None:
    """What the adapter's own function returns, with a store or without."""
    from aiohttp_spry_session.adapters.postgres import schema_sql

    assert run("schema") == (0, schema_sql(), "")
    assert run("postgresql://h/db", "schema", "--table", "t", "--schema", "web", "--since", "1").out == schema_sql(
        "t", "web", since=1
    )
    assert run("schema", "--json").objects == [{"sql": schema_sql()}]
    code, out, err = run("redis://h", "schema")
    assert (code, out) == (1, "")
    assert err.startswith("spry-session: error: only PostgreSQL has a table to make")


def test_store_from_the_environment(run: Run, sqlite_url: str) -> None:
    """So no other user of the machine sees a password; one that is named comes first."""
    put(sqlite_url, a_session())
    assert run("count", SPRY_SESSION_STORE=sqlite_url).out == "1\n"
    assert run(sqlite_url, "count", SPRY_SESSION_STORE="mysql://x").out == "1\n"


def test_the_real_program(sqlite_url: str) -> None:
    """In a process of its own."""
    (ann,) = put(sqlite_url, a_session("ann"))
    assert run_program("count", SPRY_SESSION_STORE=sqlite_url) == (0, "1\n", "")
    assert ann in run_program(sqlite_url, "list").out
    assert run_program(sqlite_url, "list", "--values", PYTHONIOENCODING="ascii").code == 0
    assert run_program(sqlite_url, "count", "--debug") == (0, "1\n", "")


def test_the_real_program_on_a_terminal(sqlite_url: str) -> None:
    """With a table."""
    put(sqlite_url, a_session("ann"))
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "aiohttp_spry_session", sqlite_url, "list"],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    assert program.wait(60) == 0
    os.close(theirs)
    assert b"\x1b[1mhandle" in os.read(ours, 10_000)
    os.close(ours)


def test_a_reader_that_has_seen_enough(sqlite_url: str, tmp_path: Path) -> None:
    """``list | head`` is no failure that anybody is told of."""
    put(sqlite_url, *(a_session("ann") for _ in range(3000)))
    command = f"{sys.executable} -m aiohttp_spry_session {sqlite_url} list | head -2"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.count("\n") == 2
    assert done.stderr == ""


def test_it_is_installed_as_a_command() -> None:
    """The project's settings name the function that is the program."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (module, function) = re.findall(r'^spry-session = "([\w.]+):(\w+)"$', text, re.MULTILINE)[0]
    assert getattr(import_module(module), function)(["schema"]) == 0
