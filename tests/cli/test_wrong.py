"""What is wrong is one clear line on standard error, and an exit code; never a traceback, never a password."""

from __future__ import annotations

import asyncio
import io
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from redis import Redis

from aiohttp_spry_session.cli import main
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port
from tests.servers.redis import RedisServer

from .conftest import ROOT, Ran, Run, a_session, put, run_program


def check_line(ran: Ran, code: int, told: str) -> None:
    """One line that says so, and nothing else."""
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1, ran.err
    assert re.fullmatch(rf"spry-session: error: {told}\n", ran.err), ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND .*"),
        (["count"], "name the store: spry-session URL COMMAND, or the variable SPRY_SESSION_STORE"),
        (["mysql://user:secret@host/db", "count"], "the session store's URL must be .*'mysql'"),
        (["sessions.db", "count"], "the session store's URL must be .*"),
        (["redis://:secret@host:port/", "count"], "the URL must be redis://.*"),
        (["memory://", "count"], "sessions in memory are those of one process.*"),
        (["sqlite:///:memory:", "count"], "sessions in memory are those of one process.*"),
        (["sqlite:///s.db", "frobnicate"], "argument COMMAND: invalid choice: 'frobnicate'.*"),
        (["frobnicate"], "argument COMMAND: invalid choice: 'frobnicate'.*"),
        (["sqlite:///s.db"], "the following arguments are required: COMMAND .*"),
        (["sqlite:///s.db", "count", "--frob"], "unrecognized arguments: --frob .*"),
        (["sqlite:///s.db", "count", "more"], "unrecognized arguments: more .*"),
        (["sqlite:///s.db", "show"], "the following arguments are required: HANDLE .*"),
        (["sqlite:///s.db", "revoke"], "revoke needs handles, or --owner OWNER, or --all: one of these"),
        (["sqlite:///s.db", "revoke", "a", "--all"], "revoke needs handles, .*"),
        (["sqlite:///s.db", "revoke", "--owner", "a", "--all"], "revoke needs handles, .*"),
        (["sqlite:///s.db", "copy"], "name the store to copy to: .*"),
        (["sqlite:///s.db", "copy", "sqlite:///s.db"], "the store to copy to is the one to copy from"),
        (["sqlite:///s.db", "copy", "mysql://u:secret@host"], "the session store's URL must be .*"),
        (["schema", "--since", "9"], "since must be a version of the schema, 0 to 2, not 9"),
        (["schema", "--table", ""], "table must be a name .*"),
    ],
)
def test_a_wrong_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    """Exit code 2; nothing is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.db").touch()
    ran = run(*arguments)
    check_line(ran, 2, told)
    assert "secret" not in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["s.db"]
    assert (tmp_path / "s.db").stat().st_size == 0


@pytest.mark.parametrize("command", [["count"], ["list"], ["check"], ["purge"], ["revoke", "--all"], ["show", "a"]])
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_server_that_is_not_there(run: Run, scheme: str, command: list[str]) -> None:
    """Exit code 1, and why."""
    ran = run(f"{scheme}://user:secret@127.0.0.1:{free_port()}/0", *command)
    check_line(ran, 1, r"session store: \w+: .*Connect call failed.*")
    assert "secret" not in ran.err


@pytest.mark.parametrize("command", [["count"], ["copy", "sqlite:///target.db"]])
def test_a_file_that_is_not_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """It is not made, and neither is what would be copied to."""
    monkeypatch.chdir(tmp_path)
    check_line(run("sqlite:///missing.db", *command), 1, r"missing\.db: there is no such file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else(run: Run, tmp_path: Path) -> None:
    """It is left alone."""
    path = tmp_path / "notes.txt"
    path.write_text("something else entirely" * 100)
    check_line(run(f"sqlite:///{path}", "count"), 1, r"session store: open: .*notes\.txt: file is not a database")
    check_line(run(f"sqlite:///{tmp_path}", "count"), 1, "session store: open: .*unable to open database file.*")
    assert path.read_text().startswith("something else")


def test_a_table_that_is_not_there(run: Run, postgres_database: str) -> None:
    """It is not made by a look at it."""
    told = r'session store: open: table "sessions": it does not exist: .*'
    check_line(run(postgres_database, "count"), 1, told)
    check_line(run(postgres_database, "count"), 1, told)


def test_no_rights_in_postgresql(run: Run, request: pytest.FixtureRequest, postgres_server: PostgresServer) -> None:
    """A role that may only read can count; what it may not do fails with the server's words."""
    from .conftest import make_url, nothing, on

    url = make_url("postgres", request)
    on(url, nothing)
    (one,) = put(url, a_session())
    schema = url.rpartition("=")[2]

    async def allow() -> None:
        connection = await asyncpg.connect(postgres_server.dsn)
        await connection.execute(
            f"CREATE ROLE {schema} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {schema}; "
            f"GRANT SELECT ON {schema}.sessions TO {schema}"
        )
        await connection.close()

    asyncio.run(allow())
    reader = url.replace("postgres@", f"{schema}@")
    assert run(reader, "count") == (0, "1\n", "")
    told = r"session store: \w+: failed \(InsufficientPrivilegeError\): permission denied for table sessions"
    check_line(run(reader, "revoke", one), 1, told)
    check_line(run(reader, "revoke", "--all"), 1, told)


def test_no_rights_in_redis(run: Run, redis_server: RedisServer) -> None:
    """A user without the right to scan is told which command that is; one without any is refused at once."""
    address = redis_server.url.removeprefix("redis://")
    with Redis.from_url(redis_server.url) as admin:
        rules = ["on", ">s3cret", "~*", "+@all", "-scan"]
        admin.execute_command("ACL", "SETUSER", "looker", *rules)
        try:
            url = f"redis://looker:s3cret@{address}"
            told = r"session store: count: failed \(NoPermissionError\): .*'scan'.*"
            check_line(run(url, "count"), 1, told)
            assert run(url, "check").code == 0
            wrong = run(f"redis://looker:wr0ng@{address}", "count")
            check_line(wrong, 1, r"session store: open: the server refuses the adapter \(AuthenticationError\).*")
            assert "wr0ng" not in wrong.err
        finally:
            admin.execute_command("ACL", "DELUSER", "looker")


def test_the_real_program(tmp_path: Path) -> None:
    """As above, in a process of its own."""
    ran = run_program("mysql://u:secret@h", "count")
    check_line(ran, 2, "the session store's URL must be .*")
    ran = run_program(f"postgresql://u:secret@127.0.0.1:{free_port()}/db", "count")
    check_line(ran, 1, "session store: open: .*")
    assert "secret" not in ran.err


def test_debug_shows_the_traceback() -> None:
    """And the log records, before the line."""
    ran = run_program(f"redis://:secret@127.0.0.1:{free_port()}", "count", "--debug")
    assert ran.code == 1
    assert "Traceback (most recent call last)" in ran.err
    assert "the session store does not answer yet" in ran.err
    assert ran.err.splitlines()[-1].startswith("spry-session: error: session store: ")
    assert "secret" not in ran.err


@pytest.mark.parametrize(("url", "driver"), [("redis://h", "redis"), ("postgresql://h/db", "asyncpg")])
def test_a_driver_that_is_missing(url: str, driver: str) -> None:
    """The extra is named."""
    program = (
        f"import sys; sys.modules[{driver!r}] = None; "
        f"from aiohttp_spry_session.cli import main; sys.exit(main([{url!r}, 'count']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    extra = "redis" if driver == "redis" else "postgres"
    check_line(Ran(done.returncode, done.stdout, done.stderr), 1, rf".*aiohttp-spry-session\[{extra}\].*")


def test_what_nobody_foresaw(run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of the program's own names its kind, in one line."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError("one\ntwo")

    monkeypatch.setattr("aiohttp_spry_session.cli.program.carry_out", fail)
    check_line(run(sqlite_url, "count"), 1, "ZeroDivisionError: one two")


def test_a_stop_by_hand(run: Run, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no traceback either."""

    async def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aiohttp_spry_session.cli.program.carry_out", interrupt)
    check_line(run(sqlite_url, "count"), 1, "stopped half-way: .*")


def test_a_traceback_for_those_who_ask(run: Run, sqlite_url: str) -> None:
    """Before the line."""
    ran = run(sqlite_url, "show", "a", "--debug")
    assert ran.code == 1
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.splitlines()[-1] == "spry-session: error: no live session has the handle 'a'"


def test_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest goes nowhere, without a word."""

    class Closed(io.StringIO):
        def fileno(self) -> int:
            return 1000

        def flush(self) -> None:
            raise BrokenPipeError

    closed: list[int] = []
    with monkeypatch.context() as context:  # pytest needs the real ones again
        context.setattr("sys.stdout", Closed())
        context.setattr("os.dup2", lambda old, new: (os.close(old), closed.append(new)))
        assert main(["schema"]) == 1
    assert closed == [1000]


def test_many_log_records(run: Run, sqlite_url: str) -> None:
    """The first twenty are enough."""
    _, record = a_session()
    put(sqlite_url, *((f"corrupt {number}", replace(record, payload=b"?")) for number in range(30)))
    code, _, err = run(sqlite_url, "list")
    assert (code, err.count("\n")) == (0, 20)


def test_an_extra_that_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named as the adapter names it."""

    def missing(url: str, **options: object) -> None:
        raise ImportError("needs a driver")

    monkeypatch.setattr("aiohttp_spry_session.cli.stores.adapter_from_url", missing)
    check_line(run("redis://h", "count"), 1, "needs a driver")


@pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")  # by another test of this process
def test_run_as_a_module(monkeypatch, capsys):
    """``python -m aiohttp_spry_session`` is the same program, with the same exit code."""
    monkeypatch.setattr(sys, "argv", ["spry-session"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("aiohttp_spry_session", run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("spry-session: error: ")
