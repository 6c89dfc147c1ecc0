"""What goes wrong on the command line: each is one line on standard error, and an exit code."""

from __future__ import annotations

from ..exceptions import SessionError

__all__ = ["CommandError", "UsageError", "line_of"]


class CommandError(Exception):
    """Something failed, or was not found."""

    code = 1


class UsageError(CommandError):
    """The command itself is wrong."""

    code = 2


_OF_OURS = (CommandError, SessionError, NotImplementedError)
"""What says in its own words what is wrong."""


def line_of(error: BaseException) -> str:
    """Return what an exception says, with its cause, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped half-way: what was done is done, and the same command goes on from there"
    said = str(error) if isinstance(error, _OF_OURS) else f"{type(error).__name__}: {error}"
    cause = str(error.__cause__ or "")
    if cause not in said:
        said = f"{said}: {cause}"
    return " ".join(said.split())
