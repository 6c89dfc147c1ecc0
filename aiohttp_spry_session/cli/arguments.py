"""The arguments of the command line.

By argparse, which every Python has: the command works wherever the package is installed, and costs it no dependency.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn

from .errors import UsageError

__all__ = ["COMMANDS", "read_arguments"]

COMMANDS = ("count", "list", "show", "revoke", "purge", "check", "copy", "schema", "keygen")

_WITHOUT_STORE = "name the store: spry-session URL COMMAND, or the variable SPRY_SESSION_STORE"

_EPILOG = """\
The URL of the store is redis://..., postgresql://..., sqlite:///relative/path or sqlite:////absolute/path; without it
the variable SPRY_SESSION_STORE says it, which other users of the machine do not see. The keys of a sealed store stand
in SPRY_SESSION_KEYS. Tables and bars of progress need rich: pip install "aiohttp-spry-session[cli]".

Exit codes: 0 done; 1 failed, or not found; 2 a wrong command.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (spry-session --help tells more)")


def read_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Return the command with its options, and the ``store`` that it is about.

    :raises UsageError: for a command that is none, or incomplete.
    """
    store, rest = environment.get("SPRY_SESSION_STORE") or None, list(arguments)
    if rest and rest[0] not in COMMANDS and (":" in rest[0] or (rest[1:2] and rest[1] in COMMANDS)):
        store = rest.pop(0)
    options = _parser().parse_args(rest)
    options.store = store
    if store is None and options.command not in ("schema", "keygen"):
        raise UsageError(_WITHOUT_STORE)
    if options.command == "revoke" and bool(options.handles) + bool(options.owner is not None) + options.all != 1:
        raise UsageError("revoke needs handles, or --owner OWNER, or --all: one of these")
    if options.command == "copy":
        options.target = options.target or environment.get("SPRY_SESSION_TARGET")
        if not options.target:
            raise UsageError("name the store to copy to: copy URL, or the variable SPRY_SESSION_TARGET")
    return options


def _parser() -> _Parser:
    """Return the parser; options follow the command."""
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON, one object a line, for programs")
    common.add_argument("--debug", action="store_true", help="show log records, and the traceback of what fails")
    values = _Parser(add_help=False)
    values.add_argument("--values", action="store_true", help="show what the sessions hold, which may be secret")
    parser = _Parser(
        prog="spry-session",
        usage="spry-session [URL] COMMAND [OPTIONS]",
        description="Look after the sessions of a site, whether it runs or not.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def add(name: str, text: str, *parents: _Parser) -> _Parser:
        return commands.add_parser(
            name, help=text, description=text, parents=[common, *parents], prog=f"spry-session [URL] {name}"
        )

    add("count", "print how many live sessions there are")
    sessions = add("list", "list the live sessions", values)
    sessions.add_argument("--owner", help="those of one owner only")
    show = add("show", "show one session", values)
    show.add_argument("handle", metavar="HANDLE", help="the session's handle, as lists and logs have it")
    revoke = add("revoke", "end sessions")
    revoke.add_argument("handles", metavar="HANDLE", nargs="*", help="the handles of the sessions to end")
    revoke.add_argument("--owner", help="end all sessions of one owner")
    revoke.add_argument("--all", action="store_true", help="end everybody's sessions")
    add("purge", "delete expired sessions, for a store that no running site looks after")
    add("check", "ask the store for a sign of life")
    copy = add("copy", "copy all live sessions into another store; may be stopped, and run again")
    copy.add_argument("target", metavar="URL", nargs="?", help="the store to copy to (or SPRY_SESSION_TARGET)")
    schema = add("schema", "print the SQL that makes or migrates a PostgreSQL table")
    schema.add_argument("--table", default="sessions", help="the table's name (default: %(default)s)")
    schema.add_argument("--schema", help="the namespace that it is in (default: what search_path says)")
    schema.add_argument("--since", type=int, default=0, help="the version that is there (default: 0, no table)")
    add("keygen", "print a new key for sealed records, 256 random bits as base64 text; it is stored nowhere")
    return parser
